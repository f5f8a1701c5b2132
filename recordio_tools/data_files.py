"""Which files a PATH on the command line means."""
from __future__ import annotations

from pathlib import Path

from common.errors import UserError


def data_files(path: Path) -> list[Path]:
    """The `.rec` and `.bin` files that a path means; UserError where there are none."""
    if path.is_dir():
        found = sorted(path.glob("*.rec")) + sorted(path.glob("*.bin"))
        if not found:
            raise UserError(f"{path}: holds neither a .rec nor a .bin")
        return found
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder")
    if path.suffix not in (".rec", ".bin"):
        raise UserError(f"{path}: is neither a folder nor a .rec nor a .bin")
    return [path]

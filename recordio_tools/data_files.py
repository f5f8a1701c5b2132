"""Which files a PATH on the command line means."""
from __future__ import annotations

from pathlib import Path

from common.errors import UserError
from recordio_tools.parts import find_set, list_sets


def data_files(path: Path) -> list[Path]:
    """The `.rec` and `.bin` files that a path means, and the names of sets in parts; UserError where there are none."""
    if path.is_dir():
        found = list_sets(path) + sorted(path.glob("*.bin"))
        if not found:
            raise UserError(f"{path}: holds neither a .rec nor a .bin")
        return found
    name, files = find_set(path)
    if len(files) == 1 and not (path.suffix in (".rec", ".bin") or ".rec.part" in path.name):
        raise UserError(f"{path}: is neither a folder nor a .rec nor a .bin")
    return [name]


def one_data_file(path: Path) -> Path:
    """The one set that a path means: itself where it is a `.bin`, else what `find_set` calls it."""
    return path if path.suffix == ".bin" and path.is_file() else find_set(path)[0]

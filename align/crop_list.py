"""Records which files in OUT are crops of this command: any other file is never overwritten."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Sequence

from common.errors import UserError
from common.files import read_regular, write_atomic

NAME = "align-crops.txt"
MOST_BYTES = 1 << 32


class CropList:
    """OUT/align-crops.txt: a line for each crop without a row in the table of landmarks, written before the crop is.

    At the end of a run it keeps the crops without a row in the table, which are of photographs without a face; a run
    that is killed leaves what it started; an empty list is removed. UserError where the list is a link or not a file.
    """

    def __init__(self, out: Path) -> None:
        self._out, self._path = out, out / NAME
        path = self._path
        self._known: set[str] | None = set()
        try:
            if os.path.lexists(path):
                if path.is_symlink():
                    raise ValueError("is a link")
                lines = read_regular(path, MOST_BYTES).decode("utf-8", "replace").split("\n")
                self._known.update(filter(None, map(_name, lines)))
            elif _centre_crops(out / "align-report.json"):  # of a version that kept no such list
                self._known = None
        except ValueError as error:
            raise UserError(f"{path}: {error}; remove it, or name another OUT") from None
        out.mkdir(parents=True, exist_ok=True)
        self._made = not os.path.lexists(path)  # of another run that goes on it is not removed
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    @property
    def known(self) -> set[str]:
        """The names of all crops in it."""
        return set(self._known or ())

    def holds(self, name: str) -> bool:
        """Whether the crop of this name, below OUT, was started."""
        return self._known is None or name in self._known

    def add(self, target: str) -> None:
        """Record the path of a crop that is about to be written; from any thread."""
        name = os.path.relpath(target, self._out)
        if self._known is None or name not in self._known:
            os.write(self._handle, b"\n" + json.dumps(name).encode() + b"\n")

    def close(self) -> None:
        """Close; the list stays unchanged, an empty one is removed."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            if self._made and not os.fstat(handle).st_size:
                self._path.unlink(missing_ok=True)
            os.close(handle)

    def __del__(self) -> None:  # where the table of landmarks cannot be opened
        if hasattr(self, "_handle"):
            self.close()

    def settle(self, rest: Sequence[str]) -> None:
        """Keep these names alone: every other crop has a row in the table now."""
        if rest:
            write_atomic(self._path, "".join(json.dumps(name) + "\n" for name in rest), named=False)
        else:
            self._path.unlink(missing_ok=True)


def _centre_crops(report: Path) -> int:
    """How many crops of photographs without a face a run made, by its report."""
    try:
        told = json.loads(read_regular(report, MOST_BYTES))
        return int(told.get("centre_crops", 0))
    except (AttributeError, OSError, OverflowError, RecursionError, TypeError, ValueError):
        return 0


def _name(line: str) -> str | None:
    """The path in a line; None for a truncated one."""
    try:
        name = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return name if isinstance(name, str) else None

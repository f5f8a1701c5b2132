"""Paths of a list that was written on Windows, as paths below a folder here."""
from __future__ import annotations

import logging
import os
import re
import unicodedata
from typing import Callable

from common.errors import UserError
from common.files import PathLike
from common.foreign import shown

log = logging.getLogger(__name__)
FRONT = re.compile(r"(?:[A-Za-z]:(?=[\\/])|[\\/]{2}[^\\/]+)?[\\/]*")  # a drive, \\server, or \ alone


def is_windows_path(path: str) -> bool:
    """Whether a path has backslashes, and is not an absolute one here, or begins with a drive."""
    return path[1:3] == ":/" and path[0].isalpha() or "\\" in path and (path[0] != "/" or path[1:2] in ("/", "\\"))


def parts_of(path: str) -> list[str]:
    """The names in a path, separated by either mark."""
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


class WindowsPaths:
    """The Windows paths of one list, below the folder `root`; listed_in: the list, for messages.

    All of them lose the same beginning, the one by which the first that fits has its file below `root`: behind a drive
    or a server any folders, the fewest that will do; in front of a relative path none, or those that `root` itself ends
    with (train\\ below .../train). A path that begins otherwise is of other images, which may have the same names.
    """

    def __init__(self, root: PathLike, listed_in: PathLike = "") -> None:
        self._root, self._list = os.path.abspath(root), listed_in
        self._names = list(map(_folded, parts_of(self._root)))
        self._lost: tuple[str, list[str]] | None = None

    def below(self, path: str, fits: Callable[[str], bool]) -> str | None:
        """The path below `root`, with slashes; None for one that begins otherwise, or where none has fitted so far.

        fits: whether there is a file of such a path. UserError where the paths seem to be of another folder's files.
        """
        front = FRONT.match(path)[0]  # type: ignore[index]
        parts = parts_of(path[len(front):])
        drive = front.replace("\\", "/").rstrip("/").lower() or front[:1] and "/"
        for count in range(len(parts)) if self._lost is None else [len(self._lost[1])]:
            lost = list(map(_folded, parts[:count]))
            rest = "/".join(parts[count:])
            if self._lost is not None:
                return rest if self._lost == (drive, lost) and rest else None
            if (drive or lost == self._names[len(self._names) - count:]) and fits(rest):
                self._check(path[:len(front)], parts[:count])
                self._lost = drive, lost
                return rest
        return None

    def _check(self, front: str, lost: list[str]) -> None:
        """UserError where a folder here fits better what the paths lose; a warning where `root` has another name."""
        same = 0
        while same < min(len(lost), len(self._names)) and _folded(lost[-1 - same]) == self._names[-1 - same]:
            same += 1
        beginning = shown(front + "\\".join(lost))
        prefix = f"{self._list}: its paths" if self._list else "paths"
        if same == len(lost):
            return
        above = self._root
        for _ in range(same + 1):
            above = os.path.dirname(above)
        other = os.path.join(above, *lost[len(lost) - same - 1:])
        if os.path.isdir(other) and not os.path.samefile(other, self._root):
            raise UserError(f"{prefix} begin with {beginning}, and {self._root} is given, but there is {other} too; "
                            f"give that folder, or for images of {self._root} take {beginning} off the paths")
        if not same:
            log.warning("%s begin with %s; what follows is taken below %s", prefix, beginning, self._root)


def _folded(name: str) -> str:
    """Equal for names that are equal on Windows."""
    return unicodedata.normalize("NFC", name).casefold()

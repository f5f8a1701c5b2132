"""Paths of a list that was written on Windows, or on another machine, as paths below a folder here."""
from __future__ import annotations

import logging
import os
import re
from typing import Callable

from common.errors import UserError
from common.files import PathLike
from common.foreign import shown
from common.name_forms import folded

log = logging.getLogger(__name__)
FRONT = re.compile(r"(?:[A-Za-z]:(?=[\\/])|[\\/]{2}[^\\/]+)?[\\/]*")  # a drive, \\server, or \ alone


def is_windows_path(path: str) -> bool:
    """Whether a path has backslashes, and is not an absolute one here, or begins with a drive."""
    return path[1:3] == ":/" and path[0].isalpha() or "\\" in path and (path[0] != "/" or path[1:2] in ("/", "\\"))


def is_foreign(path: str) -> bool:
    """Whether a path is Windows' or may be another machine's: absolute, and not here."""
    return is_windows_path(path) or os.path.isabs(path) and not os.path.lexists(path)


def parts_of(path: str) -> list[str]:
    """The names in a path, separated by either mark."""
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


class ForeignPaths:
    """The Windows paths of one list, or another machine's absolute ones, below the folder `root`.

    listed_in: the list, for messages. All of them lose the same beginning, the one by which the first that fits has its
    file below `root`: behind a drive, a server or / any folders that are not here, the fewest that will do; in front of
    a relative path none, or those that `root` itself ends with (train\\ below .../train). A path that begins otherwise
    is of other images, which may have the same names. of_others: the list may be of other folders' images alone, so
    that what is lost has to end as `root` does, and nothing is said of the others.
    """

    def __init__(self, root: PathLike, listed_in: PathLike = "", of_others: bool = False) -> None:
        self._root, self._list, self._of_others = os.path.abspath(root), listed_in, of_others
        self._names = list(map(folded, parts_of(self._root)))
        self._lost: tuple[str, list[str]] | None = None
        self._beginning, self._told = "", of_others

    def below(self, path: str, fits: Callable[[str], bool]) -> str | None:
        """The path below `root`, with slashes; None for one that begins otherwise, or where none has fitted so far.

        fits: whether there is a file of such a path. UserError where the paths seem to be of another folder's files.
        """
        front = FRONT.match(path)[0]  # type: ignore[index]
        parts = parts_of(path[len(front):])
        drive = front.replace("\\", "/").rstrip("/").lower() or front[:1] and "/"
        if self._lost is not None:
            lost, rest = list(map(folded, parts[:len(self._lost[1])])), "/".join(parts[len(self._lost[1]):])
            if self._lost == (drive, lost) and rest:
                return rest
            self._tell("%s begin with %s, but %s does not: it counts as missing, as do all that begin otherwise, since "
                       "they may be other images of the same names; make the paths begin alike, or relative to %s",
                       self._whose(), self._beginning, shown(path), self._root)
            return None
        mark = "\\" if "\\" in path else "/"
        for count in range(len(parts)):
            lost, rest = list(map(folded, parts[:count])), "/".join(parts[count:])
            if not fits(rest) or drive == mark == "/" and count and os.path.isdir("/" + "/".join(parts[:count])):
                continue  # such a folder is here, so another one is not meant
            beginning = shown(path[:len(front)] + mark.join(parts[:count]))
            if drive or lost == self._names[len(self._names) - count:]:
                if not self._is_meant(beginning, parts[:count]):
                    return None
                self._lost, self._beginning = (drive, lost), beginning
                return rest
            self._tell("%s: there is no %s below %s, but there is %s; take %s off the paths if these are the images",
                       self._list or "paths", shown(path), self._root, shown(rest), beginning + mark)
        return None

    def _whose(self) -> str:
        return f"{self._list}: its paths" if self._list else "paths"

    def _tell(self, text: str, *words: object) -> None:
        """Warn, once."""
        if not self._told:
            self._told = True
            log.warning(text, *words)

    def _is_meant(self, beginning: str, lost: list[str]) -> bool:
        """Whether `root` is; UserError where a folder here fits better what the paths lose, a warning where `root` has
        another name."""
        same = 0
        while same < min(len(lost), len(self._names)) and folded(lost[-1 - same]) == self._names[-1 - same]:
            same += 1
        if same == len(lost):
            return True
        if self._of_others and not same:
            return False
        above = self._root
        for _ in range(same + 1):
            above = os.path.dirname(above)
        other = os.path.join(above, *lost[len(lost) - same - 1:])
        if os.path.isdir(other) and not os.path.samefile(other, self._root):
            if self._of_others:
                return False
            raise UserError(f"{self._whose()} begin with {beginning}, and {self._root} is given, but there is {other} "
                            f"too; give that folder, or for images of {self._root} take {beginning} off the paths")
        if not same:
            log.warning("%s begin with %s; what follows is taken below %s", self._whose(), beginning, self._root)
        return True

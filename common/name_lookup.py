"""Files whose names in a list differ from those on the disk: in Unicode form or encoding, in the extension's case, in
blanks around a name, as Windows writes paths, or in the folders of another machine in front."""
from __future__ import annotations

import os
from typing import Iterable

from common.files import PathLike
from common.foreign_paths import FRONT, ForeignPaths, is_windows_path
from common.name_forms import composed


def canonical(name: str) -> str:
    """A file's name as `composed`, without blanks around it, which tables do not keep, its ending in small letters;
    equal for names that look equal."""
    stem, dot, ending = composed(name).strip().rpartition(".")
    return f"{stem}.{ending.lower()}" if dot else ending


def canonical_path(path: str) -> str:
    """The same of every part of a path, its separators as here; a drive in front goes."""
    if "\\" in path or is_windows_path(path):
        path = FRONT.sub("", path, count=1).replace("\\", "/")
    return "/".join(canonical(part) for part in path.split("/") if part not in ("", "."))


def by_canonical_path(paths: Iterable[str]) -> dict[str, list[str]]:
    """The paths of each canonical form, in order: those that a list's path could mean."""
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(canonical_path(path), []).append(path)
    return found


class NameLookup:
    """Finds the one file or folder that differs from a name in these ways only; listings are read once.

    listed_in: the list that the names are of, for messages.
    """

    def __init__(self, listed_in: PathLike = "") -> None:
        self._list = listed_in
        self._listed: dict[str, dict[str, list[str]]] = {}
        self._foreign: dict[str, ForeignPaths] = {}
        self._absent: set[tuple[str, str]] = set()  # folders that are not there
        self._here = False  # whether an absolute path of the list was: then all of them are this machine's

    def find(self, path: PathLike, root: PathLike = "") -> str | None:
        """The path on the disk that `path`, relative to `root`, means; None where there is none, or more than one.

        Of a Windows path (C:\\data\\faces\\0001\\1.jpg), or another machine's absolute one, the end counts that is
        below `root`: see `ForeignPaths`.
        """
        path, root = os.fspath(path), os.fspath(root)
        if self._is_there(path, root):
            return os.path.join(root, path)
        found = self._walk("", os.path.join(root, path))
        if found is not None or not self._is_foreign(path, root):
            return found
        below = self._below(path, root)
        return None if below is None else self._walk(root, below)

    def place(self, path: str, root: str) -> str:
        """A list's path relative to `root`, as paths are here, whether there is such a file or not; as it is where it
        is no Windows path or another machine's, or none that fits."""
        if not self._is_foreign(path, root) or self._is_there(path, root):
            return path
        below = self._below(path, root)
        return path if below is None else below

    def _is_there(self, path: str, root: str) -> bool:
        there = os.path.lexists(os.path.join(root, path))
        self._here = self._here or there and os.path.isabs(path)
        return there

    def _is_foreign(self, path: str, root: str) -> bool:
        """Whether a path may be Windows' or another machine's."""
        if "\\" in path or is_windows_path(path):
            return True
        below = path.startswith(os.path.join(os.path.abspath(root), ""))
        return root != "" and os.path.isabs(path) and not self._here and not below

    def _below(self, path: str, root: str) -> str | None:
        if not is_windows_path(path) and "\\" in path:
            return path.replace("\\", "/")  # absolute here
        if root not in self._foreign:
            self._foreign[root] = ForeignPaths(root, self._list)
        return self._foreign[root].below(path, lambda below: self._fits(root, below))

    def _fits(self, root: str, below: str) -> bool:
        top = below.partition("/")[0]
        if (root, top) in self._absent:
            return False
        if self._walk(root, below) is not None:
            return True
        if top != below and self._walk(root, top) is None:  # names of files would be too many to keep
            self._absent.add((root, top))
        return False

    def _walk(self, root: str, path: str) -> str | None:
        place = "/" if path.startswith("/") else root or "."
        for part in path.split("/"):
            if part in ("", "."):
                continue
            exact = os.path.join(place, part)
            if part != ".." and not os.path.lexists(exact):
                alike = self._names(place).get(canonical(part), [])
                if len(alike) != 1:
                    return None
                exact = os.path.join(place, alike[0])
            place = exact
        return place

    def _names(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._listed:
            found: dict[str, list[str]] = {}
            self._listed[folder] = found
            try:
                for name in os.listdir(folder):
                    found.setdefault(canonical(name), []).append(name)
            except (OSError, ValueError):
                pass
        return self._listed[folder]

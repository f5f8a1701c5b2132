"""Files whose names in a list differ from those on the disk: in Unicode form or encoding, in the extension's case, or
as Windows writes paths."""
from __future__ import annotations

import os
import re
import unicodedata

from common.files import PathLike

DRIVE = re.compile(r"^(?:[A-Za-z]:|\\\\[^\\]+\\[^\\]+)?[\\/]*")


def as_text(name: str) -> str:
    """A name whose bytes are not UTF-8 (surrogates, in Python) read as Windows' code page 1252, as lists are written
    there; every other name as it is."""
    if name.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in name):
        return name
    return name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def canonical(name: str) -> str:
    """A file's name in one Unicode form (NFC), its ending in small letters; equal for names that look equal."""
    stem, dot, ending = unicodedata.normalize("NFC", as_text(name)).rpartition(".")
    return f"{stem}.{ending.lower()}" if dot else ending


def canonical_path(path: str) -> str:
    """The same of every part of a path, its separators as here; a drive in front goes."""
    if "\\" in path:
        path = DRIVE.sub("", path, count=1).replace("\\", "/")
    return "/".join(canonical(part) for part in path.split("/") if part not in ("", "."))


class NameLookup:
    """Finds the one file or folder that differs from a name in these ways only; listings are read once."""

    def __init__(self) -> None:
        self._listed: dict[str, dict[str, list[str]]] = {}

    def find(self, path: PathLike) -> str | None:
        """The path on the disk that `path` means; None where there is none, or more than one.

        Backslashes are taken for separators. Of a Windows path behind a folder, as FOLDER/C:\\data\\faces\\0001\\1.jpg,
        the longest end counts that is in that folder.
        """
        path = os.fspath(path)
        if os.path.lexists(path):
            return path
        if "\\" not in path:
            return self._walk("", path)
        root, _, listed = path[:path.index("\\")].rpartition("/")
        listed += path[path.index("\\"):]
        parts = [part for part in DRIVE.sub("", listed, count=1).replace("\\", "/").split("/") if part not in ("", ".")]
        for first in range(len(parts)):
            found = self._walk(root, "/".join(parts[first:]))
            if found is not None:
                return found
        return None

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

"""Finds the images of a labelled set that a list means: their paths may differ in Unicode form, the extension's case,
separators, a `./` or the set's folder, or the end of its path, or another machine's folders, in front."""
from __future__ import annotations

import os
import re
from typing import Callable, Iterable, Sequence

from common.errors import UserError
from common.foreign import shown
from common.foreign_paths import FRONT, ForeignPaths, is_foreign, is_windows_path, parts_of
from common.name_lookup import by_canonical_path, canonical, canonical_path

ABSOLUTE = re.compile(r"[\\/]|[A-Za-z]:[\\/]")


class ListedImages:
    """names: of the set's images, below its folder `root`; source: the list, as errors name it; of_others: it may be of
    other sets alone."""

    def __init__(self, names: Sequence[str], root: str, source: str, of_others: bool = False) -> None:
        self._known, self._source = set(names), source
        self._alike = by_canonical_path(names)
        self._people = {path.partition("/")[0] for path in self._alike}
        self._foreign = ForeignPaths(root, source, of_others)
        whole = _canonical(os.path.abspath(root)) if root else []
        self._absolute = [whole, _canonical(os.path.realpath(root))] if root else []
        self._relative = [_canonical(root), *(whole[first:] for first in range(len(whole)))]

    def find(self, listed: str) -> str | None:
        """The name of the image; None where the set has none. An image of exactly this name goes before others;
        UserError where several others could be meant."""
        parts = _parts(listed)
        for name in (listed, "/".join(parts)):
            if name in self._known:
                return name
        for path in self._candidates(listed, parts):
            found = self._alike.get(canonical_path(path), [])
            if len(found) > 1:
                raise UserError(f"{self._source}: {shown(listed)} could be {shown(found[0])} or {shown(found[1])}; "
                                "name it as it is below the set's folder")
            if found:
                return found[0]
        return None

    def below(self, listed: str) -> str | None:
        """The path below the set's folder of an image that is not in the set; None where it is elsewhere."""
        parts = _parts(listed)
        found = self._end(listed, parts, lambda path: "/" in path
                          and canonical(path.partition("/")[0]) in self._people)
        if found:
            return found
        absolute = bool(ABSOLUTE.match(listed))
        if absolute or parts and canonical(parts[0]) not in self._people:
            inside = _inside(parts, self._absolute if absolute else self._relative)
            if inside or absolute:
                return inside
        return "/".join(parts) if parts and parts[0] != ".." else None

    def match(self, listed: Iterable[str]) -> dict[str, str]:
        """By the listed names of images that are in the set, the set's names."""
        found = ((name, self.find(name)) for name in listed)
        return {name: known for name, known in found if known is not None}

    def _candidates(self, listed: str, parts: Sequence[str]) -> list[str]:
        """The paths that may be meant."""
        inside = _inside(parts, [*self._absolute, *self._relative])
        lower = self._end(listed, parts, lambda path: canonical_path(path) in self._alike)
        return ["/".join(parts), *filter(None, (inside, lower))]

    def _end(self, listed: str, parts: Sequence[str], fits: Callable[[str], bool]) -> str | None:
        """What of a Windows path or another machine's is below the set's folder."""
        foreign = is_foreign(listed) and not _inside(parts, self._absolute)
        return self._foreign.below(listed, fits) if foreign else None


def _inside(parts: Sequence[str], roots: Sequence[Sequence[str]]) -> str | None:
    """What follows one of the folders, None where none is in front."""
    plain = [canonical(part) for part in parts]
    return next(("/".join(parts[len(root):]) for root in roots
                 if root and len(root) < len(parts) and plain[:len(root)] == root), None)


def _parts(path: str) -> list[str]:
    return parts_of(FRONT.sub("", path, count=1)) if is_windows_path(path) else [
        part for part in path.split("/") if part not in ("", ".")]


def _canonical(path: str) -> list[str]:
    return [canonical(part) for part in _parts(path)]

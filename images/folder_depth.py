"""Which folders are those of identities, by what lies in them and by the pairs that are made of their images."""
from __future__ import annotations

import logging
import os
from typing import NamedTuple, Sequence

import numpy as np

from common.errors import UserError
from common.files import PathLike
from common.foreign import listed, shown

log = logging.getLogger(__name__)
SPLITS = frozenset(["train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval", "gallery",
                    "probe", "images", "faces", "data"])  # names of folders of identities, not of an identity
NEARLY_ALL = 0.95  # of the images in folders inside the identities': a few stray files do not make these identities


class Inside(NamedTuple):
    """images: of an identity; direct: those that lie in its own folder; folders: that hold the others. way: the folders
    down to where these are several, as of FaceScrub's actors/faces/<identity>; `direct` is counted there."""

    images: int
    direct: int
    folders: set[bytes]
    way: Sequence[bytes]

    @staticmethod
    def of(paths: Sequence[bytes]) -> Inside:
        """Of an identity's images, whose paths begin with a slash behind its name."""
        folders = [path.split(b"/")[1:-1] for path in paths]
        way = os.path.commonprefix(folders)
        if max(map(len, folders)) == len(way):  # all are in one folder
            way = []
        below = [names[len(way)] for names in folders if len(names) > len(way)]
        return Inside(len(paths), len(paths) - len(below), set(below), way)


def check_depth(folder: str, names: Sequence[str], inside: Sequence[Inside], first: Sequence[bytes]) -> None:
    """UserError, or a warning where it is less certain, for a parent of the folder with the identities: nearly all
    images are in folders inside its folders. CFP's are too, but few such folders, the same of every identity.

    names, inside: of the identities; first: the paths of the first one's images.
    """
    if sum(one.direct for one in inside) > (1 - NEARLY_ALL) * sum(one.images for one in inside):
        return
    if len(names) == 1:
        way, folders = _below_one(first)
        below = "/".join(shown(os.fsdecode(name)) for name in [os.fsencode(names[0]), *way])
        if len(folders) > 2:
            raise UserError(f"{folder}: every identity there holds only folders of images "
                            f"({below}/{shown(os.fsdecode(min(folders)))}/...); if those are the identities, give "
                            f"{shown(os.path.join(folder, below))} instead")
        return
    inner = set().union(*(one.folders for one in inside))
    parents = [os.path.join(name, *map(os.fsdecode, one.way)) for name, one in zip(names, inside) if one.folders]
    one_of = next(min(one.folders) for one in inside if one.folders)
    hint = (f"{folder}: every identity there holds only folders of images ({shown(parents[0])}/"
            f"{shown(os.fsdecode(one_of))}/...); if those are the identities, give "
            f"{shown(os.path.join(folder, parents[0]))} instead, or pack {listed(parents, 3)} each and merge the sets, "
            "with merge's --same-name join where they have people in common")
    if {name.lower() for name in names} <= SPLITS:
        raise UserError(hint)
    if len(inner) > len(names):
        log.warning("%s", hint)


def _below_one(paths: Sequence[bytes]) -> tuple[list[bytes], set[bytes]]:
    """The names of the single folders on the way down, and those of the folders at its end."""
    folders = [path.split(b"/")[1:-1] for path in paths]
    way: list[bytes] = []
    while True:
        inner = [names[len(way)] for names in folders if len(names) > len(way)]
        if len(inner) < NEARLY_ALL * len(folders):
            return way, set()
        if len(set(inner)) != 1:
            return way, set(inner)
        way.append(inner[0])


def count_unlike_folders(pairs: Sequence[tuple[PathLike, PathLike]], same: Sequence[bool]) -> tuple[int, int]:
    """How many same pairs are of two identities' folders, and different ones of one, where images lie in such folders.

    An identity's folder may lie below others (train/0001) or hold some (0001/frontal), or be in several (train/0001 and
    val/0001): that reading counts by which the fewest pairs contradict. (0, 0) where images lie in one folder, or half
    of the pairs contradict by any reading.
    """
    sides = [(os.path.abspath(left), os.path.abspath(right)) for left, right in pairs]
    top = os.path.commonpath([path for both in sides for path in both])
    parts = [tuple(os.path.relpath(path, top).split(os.sep)[:-1] for path in both) for both in sides]
    if not all(folders for both in parts for folders in both):
        return 0, 0
    marked = np.array(same, bool)
    depth = max(len(folders) for both in parts for folders in both)
    readings = [slice(0, level) for level in range(1, depth + 1)] + [slice(-1, None)]
    counts = []
    for reading in readings:
        alike = np.array([left[reading] == right[reading] for left, right in parts])
        counts.append((int((marked & ~alike).sum()), int((~marked & alike).sum())))
    fewest = min(counts, key=sum)
    return fewest if 2 * sum(fewest) < len(pairs) else (0, 0)

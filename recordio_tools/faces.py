"""Images by identity from any source: a packed set, a folder of folders, or the same pairs of a `.bin`."""
from __future__ import annotations

import contextlib
import errno
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Sequence

import numpy as np

from common.errors import UserError
from common.files import read_regular
from common.name_forms import name_key
from common.union_find import UnionFind
from images.folder_names import folder_names
from images.sources import from_folder
from recordio_tools.bins.binfile import is_bin, read_bin
from recordio_tools.records.copying import Copied, copy_images
from recordio_tools.records.dataset import FaceDataset, open_dataset
from recordio_tools.records.identities import names_beside
from recordio_tools.records.parts import list_sets
from recordio_tools.unpack.unpacking import RESERVED


@dataclass(frozen=True)
class Faces:
    """path: as it was given. names: one an identity, "" for none. labels: their numbers there. images: for each
    identity the numbers of its images, int64, that `read` takes (record keys, of a packed set). read: number to the
    image file's bytes. where: number to its name in messages. folders: what `unpack` calls the folder of
    each identity of a packed set; () of others."""

    path: str
    names: Sequence[str]
    labels: Sequence[int]
    images: Sequence[np.ndarray]
    read: Callable[[int], bytes]
    where: Callable[[int], str]
    folders: Sequence[str]

    @property
    def count(self) -> int:
        """All images."""
        return sum(map(len, self.images))


@dataclass(frozen=True)
class PackedFaces(Faces):
    """The faces of a packed set; copy: record keys, int64, to their records."""

    copy: Callable[[np.ndarray], Copied]


@contextlib.contextmanager
def open_faces(path: Path) -> Iterator[Faces]:
    """The faces of a data folder, a `.rec`, a set in parts, a folder of image folders or a `.bin`; UserError for
    anything else, and for sets that are not sound enough to train on."""
    if is_bin(path):
        yield faces_of_pairs(path)
    elif path.is_dir() and not list_sets(path):
        yield faces_in_folders(path)
    else:
        dataset = open_dataset(path, fewest=1)
        with dataset.record_file:
            yield packed_faces(str(path), dataset)


def packed_faces(path: str, dataset: FaceDataset) -> PackedFaces:
    """The faces of an open set, without labels that have no image."""
    record_file = dataset.record_file
    order = np.argsort(dataset.labels, kind="stable")
    found, first, counts = np.unique(dataset.labels[order], return_index=True, return_counts=True)
    labels = found.tolist()
    names = names_beside(record_file.rec_path, labels, counts.tolist())
    return PackedFaces(path, names, labels, np.split(dataset.keys[order], first[1:]),
                       lambda key: record_file.read(key).content, lambda key: f"{record_file.rec_path}: record {key}",
                       folder_names(labels, names, RESERVED), functools.partial(copy_images, record_file))


def faces_in_folders(path: Path) -> Faces:
    """`path/<identity>/*.jpg` and the like."""
    source = from_folder(path)
    first = np.cumsum([0] + [source.count(identity) for identity in range(len(source.names))])

    def place(number: int) -> tuple[int, int]:
        identity = int(np.searchsorted(first, number, "right")) - 1
        return identity, number - int(first[identity])

    def read(number: int) -> bytes:
        try:
            return read_regular(os.fsdecode(source.entry(*place(number))))
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from None

    return Faces(str(path), source.names, range(len(source.names)),
                 [np.arange(start, end) for start, end in zip(first, first[1:])], read,
                 lambda number: os.fsdecode(source.entry(*place(number))), ())


def faces_of_pairs(path: Path) -> Faces:
    """The identities of a `.bin`: images connected by same pairs are one identity, every other image its own."""
    sides, same = read_bin(path)
    places: dict[bytes, int] = {}
    order = [places.setdefault(image, len(places)) for image in sides]
    images, groups = list(places), UnionFind(len(places))
    for pair in np.flatnonzero(same).tolist():
        groups.union(order[2 * pair], order[2 * pair + 1])
    people = [np.array(members, np.int64) for members in groups.members()]
    return Faces(str(path), [""] * len(people), range(len(people)), people, images.__getitem__,
                 lambda number: f"{path}: image {order.index(number)} (from 0)", ())


def names_in(path: Path) -> list[str]:
    """The names of a set's identities, without opening an image; UserError where it has none."""
    with open_faces(path) as faces:
        names = list(filter(None, faces.names))
    if not any(map(name_key, names)):
        raise UserError(f"{path}: has {'only numbers for names' if names else 'no identities.csv beside it'}, so its "
                        "identities have no names to compare; give a folder of folders named by identity, or compare "
                        "by similarity (`overlap_with` and `model`)")
    return names

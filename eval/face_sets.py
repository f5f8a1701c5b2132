"""A labelled set of faces for evaluation: a packed set or a folder by identity, image by image, with groups."""
from __future__ import annotations

import array
import contextlib
import hashlib
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, Mapping

import numpy as np

from common.environment import usable_cores
from common.errors import DataError, UserError
from common.foreign import shown
from common.tables import header, read_table
from common.workers import ordered_map
from eval.batches import stacked
from eval.listed_images import ListedImages
from images.codec import ImageError, decode
from recordio_tools.bins.binfile import is_bin
from recordio_tools.faces import PackedFaces, open_faces

log = logging.getLogger(__name__)
COLUMNS = {"path": ("key", "image", "file"), "group": ()}
GROUPS_FORM = "the columns path (or key) and group"


@dataclass(frozen=True)
class FaceSet:
    """names: of each image, its path below the folder or its key; labels: (N,) the identity, from 0; people: their
    names, their label's number where they have none; folders: (N,) the folder of each image inside its identity's, ""
    for none; read: index of an image to its file; nameless: the people who have no name; hashes: 64 bits of the sha256
    of each image's bytes, of the last pass over them."""

    path: str
    names: list[str]
    labels: np.ndarray
    people: list[str]
    folders: np.ndarray
    read: Callable[[int], bytes]
    nameless: frozenset[str] = frozenset()
    hashes: array.array = field(default_factory=lambda: array.array("Q"), repr=False, compare=False)

    def batches(self, size: int, image_size: tuple[int, int], digest: hashlib._Hash) -> Iterator[np.ndarray]:
        """(n, H, W, 3) uint8 RGB, n up to `size`, in order; `digest` is updated with names, labels and bytes.

        DataError for an image that does not decode or has another size.
        """
        return stacked(self._images(image_size, digest), size)

    def digest(self, step: Callable[[int], object] = lambda images: None) -> str:
        """sha256 over every image's name, label and the sha256 of its bytes, as `batches` updates it; step: called for
        each image that was read."""
        digest = hashlib.sha256()
        contents = ordered_map(lambda number: hashlib.sha256(self.read(number)).digest(), range(len(self.names)),
                               usable_cores())
        del self.hashes[:]
        for number, content in enumerate(contents):
            digest.update(self._entry(number, content))
            self.hashes.frombytes(content[:8])
            step(1)
        return digest.hexdigest()

    def _entry(self, number: int, content: bytes) -> bytes:
        return f"{self.names[number]}\0{self.labels[number]}\0".encode("utf-8", "surrogateescape") + content

    def _images(self, image_size: tuple[int, int], digest: hashlib._Hash) -> Iterator[np.ndarray]:
        def one(number: int) -> tuple[bytes, np.ndarray]:
            data = self.read(number)
            try:
                return hashlib.sha256(data).digest(), decode(data)
            except ImageError as error:
                raise DataError(f"{self.path}: {self.names[number]} {error}") from None

        del self.hashes[:]
        for number, (content, image) in enumerate(ordered_map(one, range(len(self.names)), usable_cores())):
            if image.shape[:2] != image_size:
                raise DataError(f"{self.path}: {self.names[number]} is {image.shape[0]}x{image.shape[1]}, the model "
                                f"takes {image_size[0]}x{image_size[1]}; align crops faces from photographs")
            digest.update(self._entry(number, content))
            self.hashes.frombytes(content[:8])
            yield image


@contextlib.contextmanager
def open_face_set(path: Path, of_pairs: bool = False) -> Iterator[FaceSet]:
    """The set at `path`; UserError where it is not one. of_pairs: a `.bin` may be one, in which images of a person that
    are in no same pair together are of several identities."""
    if not of_pairs and is_bin(path):
        raise UserError(f"{path}: is a set of pairs, which does not say whose its images are; `eval verify --bins` "
                        "scores it, here a packed set or a folder by identity is needed")
    with open_faces(path) as faces:
        numbers = np.concatenate([np.asarray(images) for images in faces.images])
        labels = np.repeat(np.arange(len(faces.images)), [len(images) for images in faces.images])
        names, folders = [], []
        root = os.path.normpath(path).rstrip("/") + "/"  # as the paths of `faces.where` begin
        for number in numbers.tolist():
            place = str(number) if isinstance(faces, PackedFaces) else faces.where(number)  # a record's key, or a file
            names.append(place[len(root):] if place.startswith(root) else place)
            folders.append("/".join(names[-1].split("/")[1:-1]))
        people = [name or str(label) for name, label in zip(faces.names, faces.labels)]
        yield FaceSet(str(path), names, labels, people, np.array(folders),
                      lambda place: faces.read(int(numbers[place])),
                      frozenset(person for person, name in zip(people, faces.names) if not name))


def group_table(path: Path) -> dict[str, str]:
    """The group of each image that a CSV of `path` or `key` and `group` names; UserError where it is not such a table,
    or gives an image two groups."""
    if header(path, COLUMNS, GROUPS_FORM) != set(COLUMNS):
        raise UserError(f"{path}: expected {GROUPS_FORM}")
    given: dict[str, str] = {}
    for row in read_table(path, COLUMNS, GROUPS_FORM):
        if given.setdefault(row["path"], row["group"]) != row["group"]:
            raise UserError(f"{row.where}: {shown(row['path'])} is of the group {shown(given[row['path']])} above, and "
                            f"here of {shown(row['group'])}")
    return given


def read_groups(path: Path, names: list[str], root: str = "") -> np.ndarray:
    """`groups_of` the table at `path`; UserError where it is invalid."""
    return groups_of(group_table(path), path, names, root)


def groups_of(given: Mapping[str, str], path: Path, names: list[str], root: str = "") -> np.ndarray:
    """(N,) the group of each image by the table `given`, which is that at `path`; "" where it has none. root: the set's
    folder, which the table's paths may begin with.

    UserError where it names no image of the set. Rows of other images, and images without a row, are logged in a line
    each.
    """
    matched = ListedImages(names, root, str(path)).match(given)
    groups = match_groups(given, matched, path, names)
    if not (groups != "").any():
        raise UserError(f"{path}: names none of the set's images; its first is {names[0]}")
    others, without = [name for name in given if name not in matched], int((groups == "").sum())
    if others:
        log.warning("%s: %d of its %d images are not in the set, %s the first; they are ignored", path, len(others),
                    len(given), others[0])
    if without:
        log.warning("%s: %d of the set's %d images have no group, %s the first", path, without, len(names),
                    names[int(np.argmax(groups == ""))])
    return groups


def match_groups(given: Mapping[str, str], matched: Mapping[str, str], path: Path, names: list[str]) -> np.ndarray:
    """(N,) the group of each image; matched: by the table's names the set's. A row of exactly an image's name goes
    before others; UserError where others give it two groups."""
    rows: dict[str, str] = {name: name for name in matched.values() if name in given}
    for listed, name in matched.items():
        other = rows.setdefault(name, listed)
        if other != name and given[listed] != given[other]:
            raise UserError(f"{path}: {shown(other)} and {shown(listed)} are the same image, of the groups "
                            f"{shown(given[other])} and {shown(given[listed])}; leave one out")
    return np.array([given[rows[name]] if name in rows else "" for name in names])

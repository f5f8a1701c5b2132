"""Opens SRC: image files, a folder of them, a packed set or a `.bin`, as indexed images with names."""
from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, Sequence

import numpy as np

from align.photographs import list_photographs
from common.errors import DataError, UserError
from common.foreign import shown
from images.prepare import Unusable, read_file
from images.sources import Source, from_folder, holds_image, is_image_name
from recordio_tools.bins.binfile import is_bin, read_bin
from recordio_tools.faces import packed_faces
from recordio_tools.records.dataset import FaceDataset, open_dataset
from recordio_tools.records.parts import list_sets
from recordio_tools.records.raw import is_rec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageSet:
    """path: as it was given. names: of each image: its path below the folder, its key in a packed set, its number in a
    `.bin`, a file's path as given. labels: (N,) int64 the identity, from 0, None where not known. people: their names.
    read: index of an image to its content, `Unusable` where it is not available; thread-safe. size: (H, W) in a packed
    set's `property`."""

    path: str
    names: list[str]
    read: Callable[[int], bytes]
    labels: np.ndarray | None = None
    people: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def identity(self, number: int) -> bytes:
        """Name and label of an image, as they enter the digest of a set."""
        label = "" if self.labels is None else self.labels[number]
        return f"{self.names[number]}\0{label}\0".encode("utf-8", "surrogateescape")


@contextlib.contextmanager
def open_images(paths: Sequence[str], labelled: bool = True) -> Iterator[ImageSet]:
    """The images of one folder, packed set or `.bin`, or of some image files; UserError for anything else.

    A folder of folders is one by identity: labels follow its folders in natural order. A folder that holds images
    itself, or any where `labelled` is false, gives all images below it without labels.
    """
    path = Path(paths[0])
    if len(paths) > 1 and any(Path(one).is_dir() or Path(one).suffix.lower() in (".rec", ".bin") for one in paths):
        raise UserError(f"{paths[1]}: give one folder or set, or several image files")
    if path.is_dir() and not list_sets(path):
        yield _folder(path, labelled)
    elif is_bin(path):
        yield _pairs(path)
    elif path.is_file() and not is_rec(path) and (is_image_name(path.name) or holds_image(os.fsencode(path))):
        yield image_files(paths)
    else:
        if not path.is_dir() and not is_rec(path) and ".rec.part" not in path.name:
            what = "is neither an image, a folder, a .rec nor a .bin" if path.exists() else "there is no such file"
            raise UserError(f"{path}: {what}")
        dataset = open_dataset(path, fewest=1)
        with dataset.record_file:
            yield _packed(path, dataset, labelled)


def image_files(paths: Sequence[str]) -> ImageSet:
    """Some image files; UserError where one of them does not exist."""
    for path in paths:
        if not os.path.exists(path):
            raise UserError(f"{path}: there is no such file")
        if os.path.isdir(path):
            raise UserError(f"{path}: is a folder; expected an image")
    return ImageSet(str(paths[0]), [shown(path) for path in paths], lambda number: read_file(paths[number]))


def _folder(path: Path, labelled: bool) -> ImageSet:
    loose = any(is_image_name(entry.name) and entry.is_file() and not entry.name.startswith(".")
                for entry in os.scandir(path))
    if labelled and not loose:
        return _by_identity(os.path.normpath(path), _identities(path))
    listing = list_photographs(path, path / ".none")
    if labelled and any("/" in name for name in listing.images):
        log.warning("%s: holds images beside its folders, so identities are unknown: no labels are written", path)
    for blocked in listing.unreadable_folders[:3]:
        log.warning("%s", blocked)
    return ImageSet(str(path), [shown(name) for name in listing.images],
                    lambda number: read_file(os.path.join(path, listing.images[number])))


def _identities(path: Path) -> Source:
    try:
        return from_folder(path)
    except UserError as error:
        list_photographs(path, path / ".none")  # without any image that is the error
        raise UserError(f"{error}; `no_labels` uses every image below it, without labels") from None


def _by_identity(path: str, source: Source) -> ImageSet:
    counts = [source.count(identity) for identity in range(len(source.names))]
    first = np.cumsum([0, *counts])
    root = path.rstrip("/") + "/"

    def place(number: int) -> tuple[int, int]:
        identity = int(np.searchsorted(first, number, "right")) - 1
        return identity, number - int(first[identity])

    for kind in ("unreadable_folders", "folders_without_images"):
        for name in source.notes[kind][:3]:
            log.warning("%s: %s", kind.replace("_", " "), name)
    files = (source.file(*place(number)) for number in range(int(first[-1])))
    names = [name[len(root):] if name.startswith(root) else name for name in files]
    return ImageSet(path, names, lambda number: read_file(os.fsdecode(source.entry(*place(number)))),
                    np.repeat(np.arange(len(counts)), counts), [shown(name) for name in source.names])


def _packed(path: Path, dataset: FaceDataset, labelled: bool) -> ImageSet:
    faces = packed_faces(str(path), dataset)
    keys = np.concatenate([np.asarray(images) for images in faces.images])
    labels = np.repeat(np.arange(len(faces.images)), [len(images) for images in faces.images])

    def read(number: int) -> bytes:
        try:
            return faces.read(int(keys[number]))
        except DataError:
            raise Unusable("damaged record") from None

    people = [shown(name) if name else str(label) for name, label in zip(faces.names, faces.labels)]
    return ImageSet(str(path), [str(key) for key in keys.tolist()], read, labels if labelled else None,
                    people if labelled else [], (dataset.height, dataset.width))


def _pairs(path: Path) -> ImageSet:
    images, _ = read_bin(path)
    return ImageSet(str(path), [str(number) for number in range(len(images))], images.__getitem__)

"""A packed training set: its image records, their labels, and the checks that must pass before training.

It reads InsightFace's layout (record 0 a header, image records, one header record an identity; labels one or two
numbers wide), what `pack` writes, and plain `im2rec` files with neither headers nor `property`, also in several parts.
"""
from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import DataError
from common.files import PathLike
from images.codec import ImageError, decode
from recordio_tools.records import framing
from recordio_tools.records.framing import EXACT, is_range
from recordio_tools.records.index_gaps import check_index, index_warnings
from recordio_tools.records.parts import Records, open_records
from recordio_tools.records.property import Property, read_property
from recordio_tools.records.raw import Heads

log = logging.getLogger(__name__)
CHECK = "python -m recordio_tools check lists all faults"
TRIES = 20  # images that are decoded to find the size


@dataclass(frozen=True)
class FaceDataset:
    """keys, labels: int64 (N,), of the image records in the index's order; height, width in pixels.

    sizes: int32 (N,), the bytes of each record in its file (of the first part, where it has several).
    """

    record_file: Records
    keys: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    num_classes: int
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.keys)


def open_dataset(path: PathLike, fewest: int = 2) -> FaceDataset:
    """Open a data folder, a `.rec` or a set in parts and check it; UserError, one line, where it cannot be trained on.

    Reads the head of every record and decodes up to TRIES images; the others are for `check` to decode. fewest:
    smallest number of identities, two for a classifier.
    """
    record_file = open_records(path)
    try:
        return _checked(record_file, record_file.rec_path.with_name("property"), fewest)
    except BaseException:
        record_file.close()
        raise


def _checked(record_file: Records, property_path: Path, fewest: int) -> FaceDataset:
    heads = record_file.heads()
    check_index(record_file)  # first: what else an incomplete index looks like does not name the way out
    check_frames(record_file, heads)
    has_header = _check_headers(record_file, heads)
    for warning in index_warnings(record_file, heads):
        log.warning("%s", warning)
    images = np.flatnonzero(heads.has_image)
    if not len(images):
        raise DataError(f"{record_file.rec_path}: is empty, it holds no image records")
    keys, labels = record_file.keys[images], heads.label[images, 0]
    told = read_property(property_path) if property_path.is_file() else None
    headers = int((~heads.has_image).sum()) - 1 if has_header else None
    labels = _check_labels(record_file, keys, labels, told.num_classes if told else None)
    classes = int(labels.max()) + 1  # of the image records: whatever the headers contain, these are used in training
    if headers is not None and headers > classes and (not told or told.num_classes == headers):
        classes = headers  # the last identities have no image left
    height, width = _image_size(record_file, keys, told)
    if told and told.num_classes != classes:
        raise DataError(f"{property_path}: says {told.num_classes} identities, the records have {classes}; "
                        f"write {classes},{height},{width} there, or give the property that belongs to this set")
    if told and told.images not in (None, len(images)):
        log.warning("%s: its second line says %d images, the records have %d; images are missing, or it is another "
                    "set's: correct that line, or remove it", property_path, told.images, len(images))
    if len(np.unique(labels)) < fewest:
        raise DataError(f"{record_file.rec_path}: holds one identity only; a classifier needs at least two")
    sizes = (heads.end[images] - record_file.offsets[images]).astype(np.int32)
    return FaceDataset(record_file, keys, labels, sizes, classes, height, width)


def check_frames(record_file: Records, heads: Heads) -> None:
    """Every index entry must point to the beginning of a record that ends inside the file."""
    limits = np.broadcast_to(record_file.limits, len(record_file))
    faulty = np.flatnonzero(~heads.readable)
    if len(faulty):
        position = int(faulty[0])
        where, limit = f"{record_file.place(position)}:", limits[position]
        if record_file.offsets[position] + framing.FRAME.size + framing.HEADER.size > limit:
            raise DataError(f"{where} the file ends before, at byte {limit}; it is truncated, or its index is that of "
                            f"another rec; {CHECK}")
        raise DataError(f"{where} no image record begins there; the index is that of another rec, or the file is "
                        f"damaged; {CHECK}")
    cut = np.flatnonzero(heads.end > limits + 3)
    if len(cut):
        position = int(cut[0])
        raise DataError(f"{record_file.place(position)}: is truncated, it goes to byte {heads.end[position]} and the "
                        f"file has {limits[position]}; {CHECK}")


def _check_headers(record_file: Records, heads: Heads) -> bool:
    """Whether there is InsightFace's record 0; DataError where it does not agree with the index."""
    bare = ~heads.has_image
    if bare.any() and len(record_file.parts) > 1:
        raise DataError(f"{record_file.place(int(np.flatnonzero(bare)[0]))}: holds no image, as the header records of "
                        "whole sets do; sets are joined by python -m recordio_tools merge OUT IN...")
    zero = np.flatnonzero(bare & (record_file.keys == 0) & (heads.flag == 2))
    if not len(zero):
        odd = np.flatnonzero(bare & (heads.flag != 2))
        if len(odd):
            raise DataError(f"{record_file.place(int(odd[0]))}: holds no image; {CHECK}")
        return False
    identities = np.sort(record_file.keys[bare])[1:]
    first, last = heads.label[zero[0]].tolist()
    if 0 < first <= last < EXACT and not is_range(identities, first, last):
        raise DataError(f"{record_file.rec_path}: record 0 at byte {record_file.offsets[zero[0]]}: says that records "
                        f"{first:.0f} to {last - 1:.0f} are the identities' headers, the index lists {len(identities)} "
                        f"such records; the index is that of another rec, or images are missing; {CHECK}")
    return True


def _check_labels(record_file: Records, keys: np.ndarray, labels: np.ndarray, classes: int | None) -> np.ndarray:
    bound = np.inf if classes is None else classes
    with np.errstate(invalid="ignore"):
        odd = np.flatnonzero(~((labels >= 0) & (labels < min(bound, EXACT)) & (labels == np.floor(labels))))
    if len(odd):
        key = int(keys[odd[0]])
        limit = f"a whole number from 0 to {EXACT - 1}" if classes is None else f"one of 0 to {classes - 1}"
        raise DataError(f"{record_file.rec_path}: record {key}: its label is {labels[odd[0]]:g}, not {limit} "
                        f"(num_classes in `property`); {CHECK}")
    return labels.astype(np.int64)


def _image_size(record_file: Records, keys: np.ndarray, told: Property | None) -> tuple[int, int]:
    """(height, width) of most of a sample of the images."""
    tried = keys[np.linspace(0, len(keys) - 1, min(TRIES, len(keys))).astype(int)].tolist()
    found: dict[tuple[int, int], list[int]] = {}
    for key in tried:
        with contextlib.suppress(ImageError, DataError):
            height, width = decode(record_file.read(key).content).shape[:2]
            found.setdefault((height, width), []).append(key)
    if not found:
        raise DataError(f"{record_file.rec_path}: none of {len(tried)} image records sampled from the file holds an "
                        f"image that decodes; {CHECK}")
    height, width = max(found, key=lambda size: len(found[size]))
    if told and (height, width) != (told.height, told.width):
        raise DataError(f"{record_file.rec_path}: record {found[height, width][0]} is {height}x{width}, `property` "
                        f"says {told.height}x{told.width} (height x width); fix the property, or pack the images "
                        "again with `image_size` and `resize`")
    return height, width

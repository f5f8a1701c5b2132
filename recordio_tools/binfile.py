"""Verification sets, InsightFace's `.bin`: a pickle of (encoded images, same), two images a pair."""
from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from common.files import PathLike, atomic_path
from recordio_tools import safe_pickle
from recordio_tools.errors import DataError
from recordio_tools.pickled_arrays import Array, Refused


def write_bin(path: PathLike, images: Sequence[bytes], same: Sequence[bool]) -> None:
    """Write a verification set, whole or not at all.

    images: encoded images, left, right, left, ... of the pairs; same: one truth value a pair. Protocol 2, so that
    Python 2 reads it, and Python 3 with and without encoding='bytes'. ValueError where the counts do not fit.
    """
    if len(images) != 2 * len(same):
        raise ValueError(f"{len(images)} images are not two for each of {len(same)} pairs")
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        pickle.dump(([bytes(image) for image in images], [bool(value) for value in same]), file, protocol=2)


def read_bin(path: PathLike) -> tuple[list[bytes], np.ndarray]:
    """Read a verification set, without running anything that its pickle asks to run.

    Returns the encoded images (left, right, left, ...) and a bool array with one value a pair. DataError, in one line,
    where the file is missing, cut off, asks for anything but data, or is no pairs of images.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not content:
        raise DataError(f"{path}: is empty")
    try:
        found = safe_pickle.load(content)
    except Refused as error:
        raise DataError(f"{path}: {error}") from None
    if type(found) not in (tuple, list) or len(found) != 2 or type(found[0]) not in (tuple, list):
        raise DataError(f"{path}: is no verification set; expected a pickle of (list of images, list of bool)")
    images = [_image(path, number, value) for number, value in enumerate(found[0])]
    same = _same(path, found[1])
    if len(images) != 2 * len(same):
        odd = "an odd number of images, " if len(images) % 2 else ""
        raise DataError(f"{path}: holds {odd}{len(images)} for {len(same)} pairs; a pair has two")
    if not images:
        raise DataError(f"{path}: holds no pairs")
    return images, same


def _image(path: Path, number: int, value: Any) -> bytes:
    if type(value) is Array:
        # cv2.imencode gave (n, 1) for years; a picture's own (H, W, 3) is not encoded.
        if value.dtype != "u1" or max(value.shape, default=0) != len(value.data):
            raise DataError(f"{path}: image {number} (from 0) is a numpy array of shape {value.shape}; expected the "
                            "bytes of an encoded image")
        value = bytes(value.data)
    if type(value) is not bytes:
        raise DataError(f"{path}: image {number} (from 0) is of type {type(value).__name__}; expected the bytes of an "
                        "encoded image")
    if not value:
        raise DataError(f"{path}: image {number} (from 0) is empty")
    return value


def _same(path: Path, values: Any) -> np.ndarray:
    if type(values) is Array:
        values = list(values.data) if len(values.shape) == 1 else None
    if type(values) not in (tuple, list):
        raise DataError(f"{path}: is no verification set; expected a list of bool after the images")
    for number, value in enumerate(values):
        if type(value) not in (bool, int) or value not in (0, 1):
            raise DataError(f"{path}: pair {number} (from 0) is marked neither same nor different; expected a bool")
    return np.array(values, dtype=bool)

"""Verification sets, InsightFace's `.bin`: a pickle of (encoded images, same), two images a pair."""
from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from common import safe_pickle
from common.errors import DataError
from common.files import PathLike, atomic_path, open_regular, read_regular
from common.foreign import shown
from common.foreign_files import HEAD, PICKLE, foreign_kind
from common.pickled_arrays import Array, Refused, listed, numbers
from images.formats import kind_of
from recordio_tools.records.framing import MAGIC_BYTES

MSGPACK = re.compile(rb"\x92[\x80-\x9f\xdc-\xdf]")  # a list of two whose first is a list or a map
PICKLE_STARTS = (b"\x80", b"(", b"]", b"c")  # of a tuple or list in every protocol, and of what asks to be run
EXPECTED = "a verification set (a pickle of list of images, list of bool)"


def write_bin(path: PathLike, images: Sequence[bytes], same: Sequence[bool], replace: bool = True) -> None:
    """Write a verification set atomically.

    images: encoded images, left, right, left, ... of the pairs; same: one bool a pair. Protocol 2, so that
    Python 2 reads it, and Python 3 with and without encoding='bytes'. ValueError where the counts do not fit.
    replace: otherwise UserError where `path` is there already.
    """
    if len(images) != 2 * len(same):
        raise ValueError(f"{len(images)} images are not two for each of {len(same)} pairs")
    with atomic_path(path, replace) as temporary, open(temporary, "wb") as file:
        pickle.dump(([bytes(image) for image in images], [bool(value) for value in same]), file, protocol=2)


def is_bin(path: Path) -> bool:
    """Whether a file is to be read as a verification set: by its name, or where that is no `.rec`'s by its first
    bytes."""
    if path.suffix.lower() in (".bin", ".rec") or ".rec.part" in path.name:
        return path.suffix.lower() == ".bin" and path.is_file()
    try:
        with open_regular(path) as file:
            return bool(PICKLE.match(file.read(4)))
    except (OSError, ValueError):
        return False


class BinFault(DataError):
    """A file that is not a verification set; byte: where in the file, or 0."""

    def __init__(self, message: str, byte: int) -> None:
        super().__init__(message)
        self.byte = byte


def read_bin(path: PathLike) -> tuple[list[bytes], np.ndarray]:
    """Read a verification set, without executing its pickle.

    Returns the encoded images (left, right, left, ...) and a bool array with one value a pair. DataError, in one line,
    where the file is missing, truncated, contains anything but data, or does not hold image pairs.
    """
    path = Path(path)
    values, same = read_values(path)
    images = []
    for number, value in enumerate(values):
        image = image_bytes(value)
        if isinstance(image, str):
            raise DataError(f"{path}: image {number} (from 0) {image}")
        images.append(image)
    if len(images) != 2 * len(same):
        raise DataError(f"{path}: holds {count_fault(len(images), len(same))}")
    if not images:
        raise DataError(f"{path}: holds no pairs")
    return images, same


def read_values(path: Path) -> tuple[list[Any], np.ndarray]:
    """(the unpickled images, for `image_bytes`; a bool array), whatever their counts; DataError, BinFault."""
    try:
        content = read_regular(path)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not content:
        raise BinFault(f"{path}: is empty", 0)
    other = _other_kind(content)
    if other:
        raise BinFault(f"{path}: is {other}", 0)
    try:
        found = listed(safe_pickle.load(content))
    except Refused as error:
        raise BinFault(f"{path}: {error}", error.at) from None
    images, same = map(listed, found) if type(found) in (tuple, list) and len(found) == 2 else (None, None)
    if type(images) not in (tuple, list):
        raise BinFault(f"{path}: is not a verification set; expected a pickle of (list of images, list of bool)", 0)
    return list(images), _same(path, same)


def _other_kind(content: bytes) -> str:
    """What a file is that cannot be a pickle, or ""."""
    kind = kind_of(content)
    if kind and not content.startswith(b"BM"):  # which may be a pickle's opcodes too
        return f"an image ({kind}), not {EXPECTED}"
    if content.startswith(MAGIC_BYTES):
        return f"a .rec file, not {EXPECTED}"
    if MSGPACK.match(content):
        return f"msgpack data, not {EXPECTED}"
    other = foreign_kind(content[:HEAD], EXPECTED, content[:1] not in PICKLE_STARTS)  # letters are opcodes, too
    return other or ("" if content[0] in safe_pickle.OPCODE_NAMES else f"not a pickle; expected {EXPECTED}")


def count_fault(images: int, pairs: int) -> str:
    """The message for numbers of images and pairs that do not match."""
    if images == pairs:
        return f"{images} images and as many values of same, which has one for each pair of images"
    odd = "an odd number of images, " if images % 2 else ""
    return f"{odd}{images}{'' if odd else ' images'} for {pairs} pairs; a pair has two"


def image_bytes(value: Any) -> bytes | str:
    """The bytes of an encoded image; a str is the reason why it is not one."""
    if type(value) is Array:
        # cv2.imencode returned (n, 1) for years; (H, W, 3) is a decoded image.
        if value.dtype != "u1" or max(value.shape, default=0) != len(value.data):
            return f"is a numpy array of {value.dtype!r}, shape {value.shape}; expected the bytes of an encoded image"
        value = bytes(value.data)
    if type(value) is not bytes:
        return f"is of type {type(value).__name__}; expected the bytes of an encoded image"
    return value or "is empty"


def _same(path: Path, values: Any) -> np.ndarray:
    if type(values) is Array:  # (n,), or the (n, 1) of a column
        values = numbers(values) if values.data and max(values.shape, default=0) * int(
            values.dtype[1:]) == len(values.data) else None
    if type(values) not in (tuple, list):
        raise BinFault(f"{path}: is not a verification set; expected a list of bool after the images", 0)
    values = list(map(_truth, values))
    for number, value in enumerate(values):
        if type(value) not in (bool, int, float) or value not in (0, 1):
            raise BinFault(f"{path}: pair {number} (from 0) is marked {_found(value)}, neither same nor different; "
                           "expected a bool, or 0 or 1", 0)
    return np.array(values, dtype=bool)


def _truth(value: Any) -> Any:
    """The boolean of a value: itself, or the only element of a list or of an array."""
    value = listed(value)
    if type(value) in (tuple, list) and len(value) == 1:
        value = value[0]
    if type(value) is Array and len(value.data) == int(value.dtype[1:]):  # numpy.array(True)
        return numbers(value)[0]
    return value


def _found(value: Any) -> str:
    """A value's description, for a message."""
    if value is None or type(value) in (bool, int, float):
        return repr(value)[:30]
    if type(value) in (str, bytes):
        return f"'{shown(value[:20] if type(value) is str else value[:20].decode('latin-1'))}' (text)"
    return "by an array" if type(value) is Array else f"by a {type(value).__name__}"

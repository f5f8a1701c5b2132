"""One image file to a record's bytes: copied where possible, else decoded, resized and encoded."""
from __future__ import annotations

import errno
import math
import os
import stat
from dataclasses import dataclass

import cv2
import numpy as np

from common.environment import MAX_PIXELS
from common.errors import UserError
from common.files import PathLike
from common.name_lookup import NameLookup
from images.alignment import align, misfit
from images.codec import ImageError, decode_bgr, encode_bgr
from images.formats import UNREADABLE, Description, describe, has_many_scans, is_cut_off, unlike_in_mxnet

BLOCK = 1 << 16
MOST_BYTES = 1 << 28  # of an image file
STRIP = 8  # an image of an extreme aspect ratio is cropped to its middle before it is scaled
MOST_GROWN = 8  # largest factor by which --resize enlarges an image: 112 pixels from 14 show nothing recognisable
BOX_FORM = "(expected: left, top, right, bottom in pixels)"
MARGIN = 44  # pixels that InsightFace adds to a box, half of them on each side
NAMES = {errno.ENOENT: "missing", errno.EISDIR: "a folder", errno.ELOOP: "broken link", errno.ENXIO: "no regular file"}
WAYS_OUT = "align the faces first, or give `resize` or `image_size`"


class WrongSize(UserError):
    """An image whose size is not accepted."""


class Unusable(ValueError):
    """A file that gives no image; the message is the reason, the same for all such files."""


@dataclass(frozen=True)
class Wanted:
    """height, width in pixels; quality of JPEGs made here; resize: scale other sizes instead of refusing them;
    any_kind: copy PNG, BMP and TIFF of the right size too, not only plain JPEGs."""

    height: int
    width: int
    quality: int = 95
    resize: bool = False
    any_kind: bool = False


@dataclass(frozen=True)
class Prepared:
    """image: the encoded bytes; change: what was done to it; kind and odd: as `formats.Description` has them."""

    image: bytes
    change: str = "copied"
    kind: str = "JPEG"
    odd: tuple[str, ...] = ()


def prepare(path: PathLike, wanted: Wanted) -> Prepared:
    """Read one file; Unusable, or WrongSize for an image of another size where that is refused.

    A JPEG of the right size is copied byte for byte, unless it is CMYK or rotated by EXIF, which not every reader of a
    `.rec` understands, or is many times as large as its pixels.
    """
    try:
        return treat(read_file(path), wanted)
    except WrongSize as error:
        raise WrongSize(f"{path}: {error}; {WAYS_OUT}") from None


def read_file(path: PathLike | bytes, lookup: NameLookup | None = None) -> bytes:
    """The bytes of a regular file, of MOST_BYTES at most; Unusable for anything else. Never waits for a pipe.

    lookup: finds a file that does not have exactly this name.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        found = lookup.find(os.fsdecode(path)) if lookup is not None and isinstance(error, FileNotFoundError) else None
        if found is not None and not os.path.islink(path):
            return read_file(found)
        number = getattr(error, "errno", 0)
        if number == errno.ENOENT and os.path.islink(path):
            raise Unusable("broken link") from None
        raise Unusable(NAMES.get(number) or f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        data = os.read(handle, BLOCK)
        return data if 0 < len(data) < BLOCK else _read_on(handle, data)
    except OSError as error:
        raise Unusable(NAMES.get(error.errno) or f"cannot be read ({error.strerror})") from None
    finally:
        os.close(handle)


def _read_on(handle: int, data: bytes) -> bytes:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise Unusable("no regular file")
    if not data:
        raise Unusable("empty")
    if status.st_size > MOST_BYTES:
        raise Unusable("too large")
    blocks = [data]
    while data:
        data = os.read(handle, 1 << 20)
        blocks.append(data)
    return b"".join(blocks)


def treat(data: bytes, wanted: Wanted, face: list[float] | None = None) -> Prepared:
    """Make the record's image of a file's bytes. Unusable; WrongSize, without the path, where another size is refused.

    face: where it is, for an image that is not aligned: a box x1, y1, x2, y2, then perhaps the landmarks, x1 to x5 and
    y1 to y5; [] where that is not known. With landmarks it is warped to the template, with a box cut out as InsightFace
    does.
    """
    told = examine(data)
    try:
        image = decode_bgr(data)
    except ImageError:
        raise Unusable("damaged") from None  # the header could be read
    odd = told.odd if face is None else (*told.odd, "not aligned")
    if face:
        image, change = _cut_face(image, face, wanted)
    elif image.shape[:2] == (wanted.height, wanted.width):
        if _can_be_copied(data, told, wanted):
            return Prepared(data, "copied", told.kind, odd)
        change = "converted"
    elif wanted.resize:
        grown = max(wanted.height / image.shape[0], wanted.width / image.shape[1])
        if grown > MOST_GROWN:
            raise Unusable("too small to be a face")
        odd = (*odd, "enlarged more than twice") if grown > 2 else odd
        image, change = fit(image, wanted.height, wanted.width), "resized"
    else:
        raise WrongSize(f"is {image.shape[0]}x{image.shape[1]} (height x width), not {wanted.height}x{wanted.width}")
    return Prepared(encode_bgr(image, wanted.quality), change, told.kind, odd)


def examine(data: bytes) -> Description:
    """The header's information of an image that may be decoded; Unusable for any other bytes."""
    told = describe(data)
    if told is None or not told.height * told.width:
        raise Unusable("no image" if told is None or told.kind not in UNREADABLE else f"{told.kind}, which is not read")
    if told.kind in UNREADABLE:
        raise Unusable(f"{told.kind}, which is not read")
    if told.height * told.width > MAX_PIXELS or told.kind == "JPEG" and has_many_scans(data):
        raise Unusable("too large")
    if is_cut_off(data):
        raise Unusable("truncated")
    return told


def _can_be_copied(data: bytes, told: Description, wanted: Wanted) -> bool:
    if wanted.any_kind and told.kind in ("PNG", "BMP", "TIFF"):  # mx.image.imdecode decodes them without rotating them
        return "rotated by EXIF" not in told.odd and not unlike_in_mxnet(data)
    return (told.kind == "JPEG" and not set(told.odd) - {"grayscale"}
            and len(data) <= 4 * (1 << 16) + 6 * wanted.height * wanted.width)


def _cut_face(image: np.ndarray, face: list[float], wanted: Wanted) -> tuple[np.ndarray, str]:
    height, width = image.shape[:2]
    if len(face) == 14:
        points = np.array(face[4:]).reshape(2, 5).T
        fault = misfit(points)
        middle = points.mean(axis=0)
        if not fault and not ((middle >= 0) & (middle < (width, height))).all():
            fault = "landmarks outside the image"
        if fault:
            raise Unusable(fault)
        try:
            return align(image, points, wanted.height, wanted.width), "warped by landmarks"
        except ValueError:
            raise Unusable("landmarks of no face") from None
    left, top, right, bottom = (int(value) if abs(value) < 1 << 30 else -1 for value in face)  # as cv2 counts pixels
    half = MARGIN // 2
    box = image[max(top - half, 0):max(bottom + half, 0), max(left - half, 0):max(right + half, 0)]
    fault = _box_form(face, height, width)
    if not fault and (right <= left or bottom <= top or not box.size):
        fault = "box outside the image"
    if fault:
        raise Unusable(f"{fault} {BOX_FORM}")
    return cv2.resize(box, (wanted.width, wanted.height), interpolation=cv2.INTER_LINEAR), "cut out by its box"


def _box_form(face: list[float], height: int, width: int) -> str:
    """What a box is that cannot be left, top, right, bottom in pixels, where its numbers show it; else ""."""
    if not all(map(math.isfinite, face)):
        return "box that is not numbers"
    first, second, third, fourth = face
    if min(face) >= 0 and 0 < max(face) <= 1:
        return "box in fractions of the image"
    inside = 0 <= first <= first + third <= width + 1 and 0 <= second <= second + fourth <= height + 1
    if inside and min(third, fourth) > 0 and (third <= first or fourth <= second):
        return "box like x, y, width, height"
    return ""


def fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale (H, W, 3) uint8, proportions kept, so that it covers height x width, and crop the rest evenly."""
    image = _middle(image, -(-image.shape[1] * height * STRIP // width), -(-image.shape[0] * width * STRIP // height))
    scale = max(height / image.shape[0], width / image.shape[1])
    size = max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.ascontiguousarray(_middle(scaled, height, width))


def _middle(image: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = max(image.shape[0] - height, 0) // 2, max(image.shape[1] - width, 0) // 2
    return image[top:top + height, left:left + width]

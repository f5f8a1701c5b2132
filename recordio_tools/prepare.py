"""One image file to the bytes that a record holds: copied where it can be, else decoded, scaled and encoded again."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from common.errors import UserError
from common.files import PathLike
from recordio_tools.formats import is_cut_off, kind_of, read_header
from recordio_tools.images import ImageError, decode, encode_jpeg


@dataclass(frozen=True)
class Wanted:
    """height, width in pixels; quality of JPEGs made here; resize: scale other sizes instead of refusing them;
    any_kind: copy every image of the right size, not only plain JPEGs."""

    height: int
    width: int
    quality: int = 95
    resize: bool = False
    any_kind: bool = False


@dataclass(frozen=True)
class Prepared:
    """image: the encoded bytes, or None with the reason why the file cannot be used; change: what was done to it."""

    image: bytes | None
    reason: str = ""
    change: str = "copied"


def prepare(path: PathLike, wanted: Wanted) -> Prepared:
    """Read one file; UserError for an image of another size where that is refused.

    A JPEG of the right size is taken as it is, byte for byte, unless it is CMYK or rotated by EXIF, which not every
    reader of a `.rec` understands.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        return Prepared(None, f"cannot be read ({error.strerror})")
    if not data:
        return Prepared(None, "empty")
    try:
        image = decode(data)
    except ImageError:
        return Prepared(None, "no image")
    if is_cut_off(data):
        return Prepared(None, "truncated")
    if image.shape[:2] != (wanted.height, wanted.width):
        if not wanted.resize:
            raise UserError(f"{path}: is {image.shape[0]}x{image.shape[1]} (height x width), not "
                            f"{wanted.height}x{wanted.width}; align the faces first, or give --resize or --image-size")
        return Prepared(encode_jpeg(fit(image, wanted.height, wanted.width), wanted.quality), change="resized")
    if wanted.any_kind:
        return Prepared(data)
    if kind_of(data) == "JPEG":
        header = read_header(data)
        if header.components in (1, 3) and header.orientation == 1:
            return Prepared(data)
    return Prepared(encode_jpeg(image, wanted.quality), change="converted")


def fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale (H, W, 3) uint8, proportions kept, so that it covers height x width, and cut what stands over evenly."""
    scale = max(height / image.shape[0], width / image.shape[1])
    size = max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return np.ascontiguousarray(scaled[top:top + height, left:left + width])

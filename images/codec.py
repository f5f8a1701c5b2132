"""Decodes and encodes image files with OpenCV, as MXNet's own readers do."""
from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from images.formats import MOST_SCANS, has_many_scans, is_cut_off, orientation_of, unscaled_maximum


class ImageError(ValueError):
    """Bytes that are not a readable image; the message says why."""


class Examined(NamedTuple):
    """kind: one of IMAGE_KINDS; size: (height, width) in pixels or None; message: what is wrong."""

    kind: str
    size: tuple[int, int] | None
    message: str


IMAGE_KINDS = ("", "undecodable", "cut-off-image")
REDUCED = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4,
           8: cv2.IMREAD_REDUCED_COLOR_8}


def decode(data: bytes, reduced: int = 1) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an encoded image; ImageError where it cannot be decoded.

    Grayscale and CMYK become RGB, 16-bit values keep their upper eight bits, an alpha channel is dropped: the same
    pixels as `mx.image.imdecode` and `ImageRecordIter` see, but that an EXIF orientation is applied here (of JPEG, PNG,
    TIFF and WebP), and is not there. reduced: 2, 4 or 8 for a JPEG decoded at that fraction of its size, rounded up, in
    a half to a quarter of the time.
    """
    return cv2.cvtColor(decode_bgr(data, reduced), cv2.COLOR_BGR2RGB)


def decode_bgr(data: bytes, reduced: int = 1) -> np.ndarray:
    """The same with the channels in OpenCV's order, which saves a copy."""
    if not data:
        raise ImageError("is empty")
    if data.startswith(b"\xff\xd8") and has_many_scans(data):
        raise ImageError(f"has more than {MOST_SCANS} scans, each of which takes as long as an image")
    # OpenCV turns a TIFF, a JPEG whose first APP1 segment is its EXIF, a PNG if the chunk comes early, no WebP.
    ours = data[:4] in (b"RIFF", b"\x89PNG") or data[:2] == b"\xff\xd8"
    turned = orientation_of(data) if ours else 1
    white = unscaled_maximum(data)
    flags = REDUCED[reduced] | (cv2.IMREAD_IGNORE_ORIENTATION if ours else cv2.IMREAD_ANYDEPTH if white else 0)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"does not decode ({getattr(error, 'err', error)})") from None
    if image is None:
        raise ImageError("is not an image that OpenCV reads")
    if white:
        image = cv2.convertScaleAbs(image, alpha=255 / white)
    return upright(image, turned) if turned != 1 else image


def examine_image(data: bytes) -> Examined:
    """Decode an encoded image, and check whether it is truncated."""
    try:
        height, width = decode_bgr(data).shape[:2]
    except ImageError as error:
        return Examined("undecodable", None, str(error))
    if is_cut_off(data):
        return Examined("cut-off-image", (height, width), "the image file is truncated")
    return Examined("", (height, width), "")


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) upright, from pixels stored with an EXIF orientation from 1 to 8."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """The JPEG file of (H, W, 3) uint8 RGB; the same bytes for the same pixels."""
    return encode_bgr(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)


def encode_bgr(image: np.ndarray, quality: int = 95) -> bytes:
    """The same of channels in OpenCV's order."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError("does not encode")
    return data.tobytes()

"""What can be told of an image file without decoding it: its kind, whether its end is there, a JPEG's header."""
from __future__ import annotations

import struct
from dataclasses import dataclass

SIGNATURES = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"BM", "BMP"), (b"II*\0", "TIFF"),
              (b"MM\0*", "TIFF"), (b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"GIF8", "GIF"))
NO_CONTENT = frozenset([0x01, *range(0xd0, 0xd8)])
FRAMES = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}


@dataclass(frozen=True)
class JpegHeader:
    """height, width in pixels as stored; components 1 (gray), 3 or 4 (CMYK); EXIF orientation 1 (upright) to 8.

    scan is the offset of the first compressed data, or -1 where the file ends before it.
    """

    height: int
    width: int
    components: int
    orientation: int
    scan: int


def kind_of(data: bytes) -> str | None:
    """'JPEG', 'PNG', 'WebP', ... by the first bytes; None for anything unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return next((kind for signature, kind in SIGNATURES if data.startswith(signature)), None)


def is_cut_off(data: bytes) -> bool:
    """Whether a JPEG, PNG, WebP or BMP lacks its end; decoders fill the missing part with gray and say nothing."""
    kind = kind_of(data)
    if kind == "JPEG":
        return data.rfind(b"\xff\xd9") < max(read_header(data).scan, 2)
    if kind == "PNG":
        return b"IEND" not in data
    if kind == "WebP":
        return struct.unpack_from("<I", data, 4)[0] + 8 > len(data)
    if kind == "BMP" and len(data) >= 6:
        return struct.unpack_from("<I", data, 2)[0] > len(data)
    return False


def read_header(data: bytes) -> JpegHeader:
    """The header of a JPEG; what its segments do not tell is 0, -1 or orientation 1."""
    height = width = components = 0
    orientation, at = 1, 2
    while at + 4 <= len(data):
        if data[at] != 0xff:
            break
        marker = data[at + 1]
        if marker == 0xff:  # a fill byte
            at += 1
            continue
        if marker in NO_CONTENT:
            at += 2
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker in FRAMES and at + 10 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, at + 5)
        elif marker == 0xe1 and data[at + 4:at + 10] == b"Exif\0\0":
            orientation = _orientation(data[at + 10:at + 2 + length])
        elif marker == 0xda:
            return JpegHeader(height, width, components, orientation, at + 2 + length)
        elif marker == 0xd9:
            break
        at += 2 + max(length, 2)
    return JpegHeader(height, width, components, orientation, -1)


def _orientation(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    at = struct.unpack_from(order + "I", tiff, 4)[0]
    if at + 2 > len(tiff):
        return 1
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from(order + "H", tiff, at)[0], 12):
        if entry + 10 > len(tiff):
            break
        tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == 0x0112:
            return value if 1 <= value <= 8 else 1
    return 1

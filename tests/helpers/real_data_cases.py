"""What tests of several files use of real data."""
from __future__ import annotations

import struct

import cv2
import numpy as np
from recordio_cases import picture

from images.codec import upright

TIFF = {"<": b"II*\0\x08\0\0\0\x01\0", ">": b"MM\0*\0\0\0\x08\0\x01"}


def exif(orientation, order="<"):
    return TIFF[order] + struct.pack(order + "HHIHH", 0x112, 3, 1, orientation, 0) + b"\0\0\0\0"


def stored(orientation, ending, order="<", late=False):
    """An image file of `picture` stored sideways by an EXIF orientation, losslessly."""
    image = picture(3, 40, 56)
    turns = {1: [], 2: [1], 3: [0, 1], 4: [0], 5: ["t"], 6: ["t", 0], 7: ["t", 0, 1], 8: ["t", 1]}[orientation]
    for turn in turns:  # what undoes `upright`, written out
        image = image.transpose(1, 0, 2) if turn == "t" else np.flip(image, turn)
    image = np.ascontiguousarray(image)
    assert np.array_equal(upright(image, orientation), picture(3, 40, 56))
    if ending == "webp":
        data = cv2.imencode(".webp", image[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
        height, width = image.shape[:2]
        extended = bytes([8, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        tags = exif(orientation, order)
        body = b"VP8X" + struct.pack("<I", 10) + extended + data[12:] + b"EXIF" + struct.pack("<I", len(tags)) + tags
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    import zlib
    data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    tags = exif(orientation, order)
    chunk = struct.pack(">I", len(tags)) + b"eXIf" + tags + struct.pack(">I", zlib.crc32(b"eXIf" + tags))
    place = data.index(b"IEND") - 4 if late else 33
    return data[:place] + chunk + data[place:]

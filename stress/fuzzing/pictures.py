"""Image files of many formats, and wrong headers."""
from __future__ import annotations

import io
import random
import struct
import zlib

import cv2
import numpy as np

from stress.fuzzing.mutations import NUMBERS, mutate

SIDES = (0, 1, 2, 3, 112, 5000, 8192, 16384, 32767, 65500, 65535)
ENDINGS = (".jpg", ".png", ".webp", ".bmp", ".tiff", ".jp2", ".ppm", ".pgm", ".ras", ".hdr", ".pfm")


def draw(seed: int, height: int = 112, width: int = 112) -> np.ndarray:
    """A smooth (H, W, 3) uint8 image."""
    small = np.random.RandomState(seed).randint(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def kinds() -> list[bytes]:
    """One file of each kind that OpenCV, or Pillow where it is there, writes."""
    image, found = draw(3), []
    for ending in ENDINGS:
        try:
            pixels = image.astype(np.float32) / 255 if ending in (".hdr", ".pfm") else image
            found.append(cv2.imencode(ending, pixels)[1].tobytes())
        except cv2.error:  # not in this build
            continue
    found += [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
              cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[1].tobytes(),
              cv2.imencode(".jpg", image[..., 0])[1].tobytes(),
              cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(),  # above 100: lossless
              cv2.imencode(".png", image.astype(np.uint16) * 257)[1].tobytes(),
              cv2.imencode(".png", np.dstack([image, image[..., 0]]))[1].tobytes(),
              cv2.imencode(".png", (image[..., 0] > 99).astype(np.uint8), [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()]
    return found + _pillow(image)


def _pillow(image: np.ndarray) -> list[bytes]:
    try:
        from PIL import Image
    except ImportError:
        return []
    picture, found = Image.fromarray(image), []
    exif = Image.Exif()
    exif[0x0112] = 6
    for form, mode, options in (("JPEG", "CMYK", {}), ("JPEG", "RGB", {"exif": exif}), ("GIF", "P", {}),
                                ("PNG", "P", {}), ("TIFF", "RGB", {"compression": "tiff_lzw"})):
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, form, **options)
        found.append(buffer.getvalue())
    return found


def mutate_image(data: bytes, chance: random.Random) -> bytes:
    """A wrong size, damage of the header, or of anything."""
    way = chance.randrange(6)
    if way <= 1:
        data = _lie(bytearray(data), chance)
    if way == 2:
        head = min(len(data), 700)
        data = mutate(data[:head], chance, 3) + data[head:]
    if way >= 3 or chance.random() < 0.3:
        data = mutate(data, chance)
    return data


def _lie_in_tags(data: bytearray, chance: random.Random, size: tuple[int, int]) -> None:
    """Give a TIFF another size, or other numbers of bits, strips or bytes."""
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", data, 4)[0]
    for entry in range(struct.unpack_from(order + "H", data, at)[0]):
        place = at + 2 + 12 * entry
        tag = struct.unpack_from(order + "H", data, place)[0]
        if tag in (256, 257):
            side = size[tag - 256] * chance.choice((1, 1, 60_000))
            data[place + 2:place + 12] = struct.pack(order + "HII", 4, 1, side)
        elif chance.random() < 0.1:
            place += chance.choice((2, 4, 8))
            data[place:place + 4] = struct.pack(order + "I", chance.choice(NUMBERS))


def _lie(data: bytearray, chance: random.Random) -> bytes:
    """Give another height and width, in the place that the kind of file has for them."""
    height, width = chance.choice(SIDES), chance.choice(SIDES)
    frames = [at for at in range(len(data) - 9) if data[at] == 0xff and data[at + 1] in (0xc0, 0xc1, 0xc2)]
    if data[:2] == b"\xff\xd8" and frames:
        at = frames[0]
        data[at + 5:at + 9] = struct.pack(">HH", height, width)
        if chance.random() < 0.3:
            data[at + 9] = chance.randrange(6)  # components
        if chance.random() < 0.2:  # many scans
            scan = data.find(b"\xff\xda")
            data[scan:scan] = bytes(data[scan:scan + 14]) * chance.choice((3, 100, 3000))
    elif data[:4] == b"\x89PNG":
        data[16:24] = struct.pack(">II", height * chance.choice((1, 1000)), width)
        if chance.random() < 0.5:
            data[24:26] = bytes([chance.choice((1, 2, 4, 8, 16)), chance.choice((0, 2, 3, 4, 6))])
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif data[:2] == b"BM":
        data[18:26] = struct.pack("<ii", width - chance.choice((0, 70000)), height - chance.choice((0, 70000)))
        if chance.random() < 0.5:
            data[28:34] = struct.pack("<HI", chance.choice((1, 4, 8, 16, 24, 32)), chance.choice((0, 1, 2, 3)))
    elif data[:4] == b"RIFF" and data[12:16] == b"VP8L":
        data[21:25] = struct.pack("<I", (width & 0x3fff) | (height & 0x3fff) << 14)
    elif data[:4] == b"RIFF" and data[12:16] == b"VP8X":
        data[24:30] = struct.pack("<I", width << 8)[1:] + struct.pack("<I", height << 8)[1:]
    elif data[:4] == b"RIFF":
        data[26:30] = struct.pack("<HH", width & 0x3fff, height & 0x3fff)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        _lie_in_tags(data, chance, (width, height))
    elif data[:2] in (b"P5", b"P6"):
        numbers = width, height * chance.choice((1, 4000)), chance.choice((1, 255, 65535))
        return bytes(data[:3]) + b"%d %d\n%d\n" % numbers + bytes(data[15:])
    else:
        at = chance.randrange(0, min(len(data), 200), 2)
        data[at:at + 4] = struct.pack(chance.choice("<>") + "I", chance.choice(NUMBERS + SIDES))
    return bytes(data)

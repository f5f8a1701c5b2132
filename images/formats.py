"""Properties of an image file without decoding it: format, size, channels, and whether it is truncated."""
from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Callable

SIGNATURES = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"BM", "BMP"), (b"II*\0", "TIFF"),
              (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"), (b"\0\0\0\x0cjP  ", "JPEG 2000"),
              (b"\xff\x4f\xff\x51", "JPEG 2000"),
              (b"GIF8", "GIF"), (b"\xff\x0a", "JPEG XL"), (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"))
AVIF = frozenset([b"avif", b"avis"])
HEIF = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"miaf"])
ANIMATED = "animated WebP"
RAW = "camera raw"  # a TIFF that begins with a thumbnail, which OpenCV would take for the photograph
DEEP = "TIFF of more than 16 bits"
UNREADABLE = frozenset(["GIF", "HEIC", "AVIF", "JPEG XL", ANIMATED, RAW, DEEP])  # recognised but not read
ORIENTATION, COMPRESSION, SUBFILE = 0x0112, 0x0103, 0x00fe  # tags of EXIF and TIFF
LOGLUV = frozenset([34676, 34677])  # compressions of light, not of pixels
PLAIN_TIFF = frozenset([1, 2, 3, 4, 5, 32773])  # compressions that MXNet decodes: none, fax, LZW, PackBits
COMPRESSIONS = {6: "JPEG", 7: "JPEG", 8: "deflate", 32946: "deflate"}
MOST_CHUNKS = 1000  # of a PNG or WebP that are searched for its EXIF
NO_CONTENT = frozenset([0x01, *range(0xd0, 0xd8)])
FRAMES = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}
SCAN = b"\xff\xda"  # the marker that begins one
MOST_SCANS = 100  # of a JPEG: a progressive one has about ten; thousands only keep a decoder busy


@dataclass(frozen=True)
class JpegHeader:
    """height, width in pixels as stored; components 1 (gray), 3 or 4 (CMYK); EXIF orientation 1 (upright) to 8.

    scan is the offset of the first compressed data, or -1 where the file ends before it; frame the last byte of the
    frame's marker: 0xc0 for a baseline JPEG, 0 without one.
    """

    height: int
    width: int
    components: int
    orientation: int
    scan: int
    frame: int = 0


@dataclass(frozen=True)
class Description:
    """kind; height, width in pixels as stored, 0 where the header does not show it; odd: what matters for training, of
    'grayscale', 'CMYK', 'alpha', '16-bit', 'rotated by EXIF'."""

    kind: str
    height: int = 0
    width: int = 0
    odd: tuple[str, ...] = ()


def kind_of(data: bytes) -> str | None:
    """'JPEG', 'PNG', 'WebP', ... by the first bytes; None for anything unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp" and (data[8:12] in AVIF or data[8:12] in HEIF):
        brands = {data[at:at + 4] for at in range(8, min(int.from_bytes(data[:4], "big"), 256, len(data)), 4)}
        return "AVIF" if brands & AVIF else "HEIC"
    if re.match(rb"P[1-6][\s#]", data):
        return "PNM"
    return next((kind for signature, kind in SIGNATURES if data.startswith(signature)), None)


def describe(data: bytes) -> Description | None:
    """The header's information; None for an unknown image format."""
    kind = kind_of(data)
    if kind is None:
        return None
    describer = DESCRIBERS.get(kind)
    try:
        return describer(data) if describer else Description(kind)
    except (struct.error, IndexError):  # the header is truncated
        return Description(kind)


def is_cut_off(data: bytes) -> bool:
    """Whether a JPEG, PNG, WebP or BMP is truncated; decoders leave the missing part uninitialised or gray, without an
    error."""
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


def unlike_in_mxnet(data: bytes) -> str:
    """How mx.image.imdecode and MXNet's iterators would misread an image, or ""."""
    kind = kind_of(data)
    if kind not in ("JPEG", "PNG", "BMP", "TIFF", None):
        return f"{kind}, which MXNet's own readers do not decode"
    if kind == "TIFF" and b"+" in data[2:4]:
        return "BigTIFF, which MXNet's own readers do not decode"
    tags = _tags(data) if kind == "TIFF" else {}
    packed = tags.get(COMPRESSION, 1)
    if packed not in PLAIN_TIFF:
        return f"TIFF with {COMPRESSIONS.get(packed, 'unusual')} compression, which MXNet's own readers do not decode"
    if orientation_of(data) != 1 or tags.get(ORIENTATION, 1) > 4:  # it does mirror a TIFF
        return "MXNet's own readers ignore its EXIF orientation"
    return ""


def unscaled_maximum(data: bytes) -> int:
    """What is white in a PNM whose values OpenCV does not scale to all 8 or 16 bits; 0 for anything else."""
    kind, _, _, white = _pnm_header(data) or (b"1", 0, 0, 0)
    return 0 if kind in b"14" or kind in b"23" and white < 256 or white in (255, 65535) else white


def has_many_scans(data: bytes, begin: int = 0, end: int | None = None) -> bool:
    """Whether data[begin:end], a JPEG, may have more than MOST_SCANS scans, by the markers in it."""
    return data.count(SCAN, begin, end) > MOST_SCANS


def read_header(data: bytes) -> JpegHeader:
    """The header of a JPEG; what its segments do not contain is 0, -1 or orientation 1."""
    height = width = components = frame = orientation = 0
    at = 2
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
            frame = marker
        elif marker == 0xe1 and not orientation and data[at + 4:at + 10] == b"Exif\0\0":  # of several the first counts
            orientation = _orientation(data[at + 10:at + 2 + length])
        elif marker == 0xda:
            return JpegHeader(height, width, components, orientation or 1, at + 2 + length, frame)
        elif marker == 0xd9:
            break
        at += 2 + max(length, 2)
    return JpegHeader(height, width, components, orientation or 1, -1, frame)


def orientation_of(data: bytes) -> int:
    """The EXIF orientation, 1 (upright) to 8, of a JPEG, PNG or WebP; 1 for anything else."""
    kind = kind_of(data)
    if kind == "JPEG":
        return read_header(data).orientation
    if kind == "PNG":
        return _orientation(_chunk(data, 8, b"eXIf", ">I4s", 12, 1))
    if kind == "WebP" and data[12:16] == b"VP8X" and data[20:21] and data[20] & 0x08:
        exif = _chunk(data, 12, b"EXIF", "<4sI", 8, 2)
        return _orientation(exif[6:] if exif.startswith(b"Exif\0\0") else exif)
    return 1


def _chunk(data: bytes, at: int, name: bytes, form: str, frame: int, even: int) -> bytes:
    """The content of the first chunk of a name: `form` has its length and name, `frame` bytes are not content."""
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(data):
            break
        length, found = sorted(struct.unpack_from(form, data, at), key=lambda part: isinstance(part, bytes))
        if found == name:
            return data[at + 8:at + 8 + length]
        at += frame + length + (length % even if even > 1 else 0)
    return b""


def _orientation(tiff: bytes) -> int:
    value = _tags(tiff).get(ORIENTATION, 1)
    return value if 1 <= value <= 8 else 1


def _tags(tiff: bytes) -> dict[int, int]:
    """The first value of each numerical tag in the first directory of a TIFF or BigTIFF, of a thousand tags at most."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    big = b"+" in tiff[2:4]
    if order is None or len(tiff) < (16 if big else 8):
        return {}
    # BigTIFF: offsets and the counts of values have 8 bytes, the count of tags too
    offset, few, many, head = ("Q", "Q", 20, 12) if big else ("I", "H", 12, 8)
    at = struct.unpack_from(order + offset, tiff, struct.calcsize(offset))[0]
    first = at + struct.calcsize(few)
    if first > len(tiff):
        return {}
    found = {}
    for entry in range(first, first + many * min(struct.unpack_from(order + few, tiff, at)[0], 1000), many):
        if entry + many > len(tiff):
            break
        tag, form, count = struct.unpack_from(f"{order}HH{offset}", tiff, entry)
        short = form == 3
        place = entry + head
        if count > (many - head) // (2 if short else 4):  # the values stand elsewhere
            place = struct.unpack_from(order + offset, tiff, place)[0]
        if form in (3, 4) and place + 4 <= len(tiff):
            found[tag] = struct.unpack_from(order + ("H" if short else "I"), tiff, place)[0]
    return found


def _pnm_header(data: bytes) -> tuple[bytes, int, int, int] | None:
    """The digit of its kind, height, width and the value that is white, of a PNM."""
    found = re.match(rb"P([1-6])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:(?:\s|#[^\n]*\n)+(\d{1,9}))?",
                     data[:4096])
    if not found:
        return None
    kind, width, height, most = found.groups()
    return kind, int(height), int(width), 1 if kind in b"14" else int(most or 255)


def _odd(gray: bool = False, cmyk: bool = False, alpha: bool = False, deep: bool = False, turned: bool = False
         ) -> tuple[str, ...]:
    marks = {"grayscale": gray, "CMYK": cmyk, "alpha": alpha, "16-bit": deep, "rotated by EXIF": turned}
    return tuple(name for name, holds in marks.items() if holds)


def _jpeg(data: bytes) -> Description:
    header = read_header(data)
    odd = _odd(gray=header.components == 1, cmyk=header.components == 4, turned=header.orientation != 1)
    return Description("JPEG", header.height, header.width, odd)


def _png(data: bytes) -> Description:
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    alpha = colour in (4, 6) or b"tRNS" in data[:4096]
    return Description("PNG", height, width, _odd(gray=colour in (0, 4), alpha=alpha, deep=depth == 16,
                                                  turned=orientation_of(data) != 1))


def _bmp(data: bytes) -> Description:
    size = struct.unpack_from("<I", data, 14)[0]
    if size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return Description("BMP", height, width)
    width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    palette = data[14 + size:struct.unpack_from("<I", data, 10)[0]] if bits <= 8 else b""
    gray = bool(palette) and palette[::4] == palette[1::4] == palette[2::4]
    alpha = bits == 32 and (size < 56 or struct.unpack_from("<I", data, 66)[0] != 0)  # older headers do not have it
    return Description("BMP", abs(height), abs(width), _odd(gray=gray, alpha=alpha))


def _webp(data: bytes) -> Description:
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = (1 + int.from_bytes(data[at:at + 3], "little") for at in (24, 27))
        return Description(ANIMATED if data[20] & 0x02 else "WebP", height, width,
                           _odd(alpha=bool(data[20] & 0x10), turned=orientation_of(data) != 1))
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return Description("WebP", 1 + (bits >> 14 & 0x3fff), 1 + (bits & 0x3fff), _odd(alpha=bool(bits >> 28 & 1)))
    width, height = struct.unpack_from("<HH", data, 26)
    return Description("WebP", height & 0x3fff, width & 0x3fff)


def _tiff(data: bytes) -> Description:
    tags = _tags(data)
    odd = _odd(gray=tags.get(262, 2) < 2, cmyk=tags.get(262) == 5, alpha=338 in tags, deep=tags.get(258, 8) > 8,
               turned=tags.get(ORIENTATION, 1) != 1)
    raw = tags.get(SUBFILE, 0) & 1 or data[8:11] == b"CR\2"
    deep = tags.get(258, 8) > 16 or tags.get(COMPRESSION) in LOGLUV
    return Description(RAW if raw else DEEP if deep else "TIFF", tags.get(257, 0), tags.get(256, 0), odd)


def _jpeg2000(data: bytes) -> Description:
    box = data[:4096].find(b"ihdr")
    if box >= 0:
        height, width, components, bits = struct.unpack_from(">IIHB", data, box + 4)
        return Description("JPEG 2000", height, width,
                           _odd(gray=components < 3, alpha=components in (2, 4), deep=bits & 0x7f > 7))
    right, bottom, left, top = struct.unpack_from(">IIII", data, 8)
    return Description("JPEG 2000", max(bottom - top, 0), max(right - left, 0))


def _pnm(data: bytes) -> Description:
    kind, height, width, white = _pnm_header(data) or (b"3", 0, 0, 0)
    return Description("PNM", height, width, _odd(gray=kind not in b"36", deep=white > 255))


DESCRIBERS: dict[str, Callable[[bytes], Description]] = {
    "JPEG": _jpeg, "PNG": _png, "BMP": _bmp, "WebP": _webp, "TIFF": _tiff, "JPEG 2000": _jpeg2000, "PNM": _pnm}

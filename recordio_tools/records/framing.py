"""The bytes of a `.rec`: records between magic words (dmlc's recordio), in each an image header (MXNet's IRHeader).

A record is one or more parts; a part is

    uint32 magic 0xced7230a | uint32 (flag << 29 | length) | `length` bytes | zeros up to a multiple of four

with flag 0 for a whole record, and 1, 2, 3 for the first, a middle and the last part of one whose content holds the
magic word at a multiple of four: there the word itself is left out, and a reader puts it back between the parts.
The content is `uint32 flag | float32 label | uint64 id | uint64 id2`, then, where flag > 0, that many float32 labels
(which replace the one in the header), then the image file. All little endian.
"""
from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Sequence

import numpy as np

MAGIC = 0xced7230a
MAGIC_BYTES = struct.pack("<I", MAGIC)
MAX_LENGTH = (1 << 29) - 1
EXACT = 1 << 24  # up to here float32, as labels and the numbers in header records are, is exact
FRAME = struct.Struct("<II")
HEADER = struct.Struct("<IfQQ")
BEGINNING = struct.Struct("<III")  # the frame, and the flag of the header
WHOLE, FIRST, MIDDLE, LAST = 0, 1, 2, 3


class FramingError(ValueError):
    """Bytes that are not a record; `at` is the offset of the fault inside the bytes examined.

    cut_off: the only fault is that the bytes end too early.
    """

    def __init__(self, message: str, at: int = 0, cut_off: bool = False) -> None:
        super().__init__(message)
        self.at, self.cut_off = at, cut_off


@dataclass(frozen=True)
class Content:
    """An unpacked record: IRHeader's flag, the labels as float32 (n,), its two ids, and the image file's bytes."""

    flag: int
    label: np.ndarray
    id: int
    id2: int
    image: bytes


def padded(length: int) -> int:
    """`length` rounded up to a multiple of four."""
    return (length + 3) & ~3


def pack(label: float | np.ndarray | Sequence[float], identifier: int, image: bytes = b"") -> bytes:
    """The content of a record: IRHeader, labels, image; one number gives flag 0, an array its length as flag."""
    if np.ndim(label) == 0:
        return HEADER.pack(0, float(np.asarray(label)), identifier, 0) + image
    labels = np.asarray(label, "<f4")
    return HEADER.pack(labels.size, 0.0, identifier, 0) + labels.tobytes() + image


def unpack(content: bytes) -> Content:
    """The inverse of `pack`; FramingError where the content is shorter than its header declares."""
    if len(content) < HEADER.size:
        raise FramingError(f"holds {len(content)} bytes, an image header alone has {HEADER.size}")
    flag, label, identifier, second = HEADER.unpack_from(content)
    if flag == 0:
        return Content(0, np.array([label], np.float32), identifier, second, content[HEADER.size:])
    end = HEADER.size + 4 * flag
    if end > len(content):
        raise FramingError(f"its header declares {flag} labels, but it holds {len(content)} bytes")
    return Content(flag, np.frombuffer(content[HEADER.size:end], "<f4"), identifier, second, content[end:])


def is_range(keys: np.ndarray, first: float, last: float) -> bool:
    """Whether the keys, int64, sorted, are first, first + 1, ..., last - 1, as a header record says; without allocating
    what a file only claims."""
    return last - first == len(keys) and np.array_equal(keys, np.arange(len(keys)) + first)


def image_in(data: bytes) -> tuple[int, int]:
    """Begin and end of the image file in the bytes of a record that is one whole part, possibly followed by padding or
    more.

    (0, 0) for all else: a record in parts, without an image, truncated, damaged; `part` and `unpack` distinguish these.
    """
    if len(data) < BEGINNING.size:
        return 0, 0
    magic, length, labels = BEGINNING.unpack_from(data)  # a part's flag would make `length` longer than any record
    begin, end = FRAME.size + HEADER.size + 4 * labels, FRAME.size + length
    return (begin, end) if magic == MAGIC and begin < end <= len(data) else (0, 0)


def frame(content: bytes) -> bytes:
    """One record's bytes in the file, as dmlc's writer writes them."""
    if len(content) > MAX_LENGTH:
        raise ValueError(f"a record holds at most {MAX_LENGTH} bytes, not {len(content)}")
    pieces = _split(content)
    if len(pieces) == 1:
        flags = [WHOLE]
    else:
        flags = [FIRST] + [MIDDLE] * (len(pieces) - 2) + [LAST]
    out = []
    for flag, piece in zip(flags, pieces):
        out += [FRAME.pack(MAGIC, flag << 29 | len(piece)), piece]
    out.append(bytes(-len(content) & 3))
    return b"".join(out)


def _split(content: bytes) -> list[bytes]:
    pieces: list[bytes] = []
    start = search = 0
    while True:
        found = content.find(MAGIC_BYTES, search)
        if found < 0:
            return [*pieces, content[start:]]
        if found % 4 == 0:
            pieces.append(content[start:found])
            start = search = found + 4
        else:
            search = found + 1


def part(data: bytes, at: int = 0) -> tuple[int, int]:
    """(flag, length) of the part that begins at data[at]; FramingError where none does."""
    if at + FRAME.size > len(data):
        raise FramingError("the file ends here", at, cut_off=True)
    magic, word = FRAME.unpack_from(data, at)
    if magic != MAGIC:
        raise FramingError(f"no record begins here (found {magic:#010x} instead of {MAGIC:#010x})", at)
    return word >> 29, word & MAX_LENGTH


def follows(previous: int | None, flag: int) -> bool:
    """Whether a part of `flag` may come after a part of flag `previous` (None: at the start of a record)."""
    return flag in ((WHOLE, FIRST) if previous is None else (MIDDLE, LAST))

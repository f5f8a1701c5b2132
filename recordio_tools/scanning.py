"""Every record that a `.rec` really holds, found from its first byte to its last, past damage."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recordio_tools import framing
from recordio_tools.faults import FileReport
from recordio_tools.framing import FramingError
from recordio_tools.raw import RawFile

BLOCK = 1 << 20


class Scan(NamedTuple):
    """offsets, int64 (N,), of the sound records in the file's order, and the ids in their image headers."""

    offsets: np.ndarray
    ids: list[int]


def scan(raw: RawFile, known: set[int], report: FileReport) -> Scan:
    """Read all frames; after damage go on at the next magic word, which content never holds on a multiple of four.

    known: the offsets that the index gives, which tell a damaged length from a damaged successor.
    """
    offsets, ids, offset = [], [], 0
    while offset < raw.size:
        try:
            identifier, end = raw.skip(offset)
        except FramingError as error:
            end = find_magic(raw, offset + 4)
            _damage(report, raw, offset, end, error)
            offset = end
            continue
        if end < raw.size and end not in known and not _begins(raw, end):
            following = find_magic(raw, offset + 4)
            if known:
                report.add("bad-length", f"goes to byte {end}, where no record begins; the next begins at {following}",
                           offset)
                offset = following
                continue
        offsets.append(offset)
        ids.append(identifier)
        offset = end
    return Scan(np.array(offsets, np.int64), ids)


def _damage(report: FileReport, raw: RawFile, offset: int, following: int, error: FramingError) -> None:
    if not error.cut_off:
        report.add("bad-magic", f"{error}; the next record begins at byte {following}", error.at)
    elif following < raw.size:
        report.add("bad-length", f"goes beyond the end of the file; the next record begins at byte {following}", offset)
    else:
        report.add("truncated", str(error), offset)


def _begins(raw: RawFile, offset: int) -> bool:
    try:
        raw.skip(offset)
    except FramingError as error:
        return error.at > offset or error.cut_off
    return True


def find_magic(raw: RawFile, start: int) -> int:
    """The first multiple of four from `start` on where a record may begin, or the size of the file."""
    start = (start + 3) & ~3
    while start < raw.size:
        block = raw.bytes_at(start, BLOCK)
        words = np.flatnonzero(np.frombuffer(block[:len(block) & ~3], "<u4") == framing.MAGIC)
        for at in (start + 4 * words).tolist():
            frame = raw.bytes_at(at, framing.FRAME.size)
            if len(frame) == framing.FRAME.size and framing.part(frame)[0] in (framing.WHOLE, framing.FIRST):
                return at
        start += BLOCK
    return raw.size

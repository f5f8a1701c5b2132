"""Image records from one `.rec` to another, byte for byte but for their labels and ids, many at a time.

Reading, packing and framing records one by one takes four times as long, nearly all of it in Python.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, NamedTuple

import numpy as np

from recordio_tools.records import framing
from recordio_tools.records.framing import FRAME, HEADER
from recordio_tools.records.parts import Records
from recordio_tools.records.raw import FIRST_READ
from recordio_tools.records.recordio import RecordFile

BLOCK = 1 << 20
FEW = 4  # up to so many records are read one by one, which is faster
HEAD_WORDS = (FRAME.size + HEADER.size) // 4
LABEL, ID = 3, 4  # the words of a record's head that hold them


@dataclass
class Copied:
    """Framed records, concatenated, with label and id 0 and no further labels; lengths: bytes of each."""

    framed: bytearray
    lengths: np.ndarray

    def stamp(self, labels: np.ndarray, first: int) -> None:
        """Give the records these labels, and the ids first, first + 1, ..."""
        if not len(self.lengths):
            return
        words = np.frombuffer(self.framed, "<u4")
        start = (np.cumsum(self.lengths) - self.lengths) // 4
        ids = np.arange(first, first + len(start), dtype="<u8").view("<u4").reshape(-1, 2)
        words[start + LABEL] = labels.astype("<f4").view("<u4")
        words[start + ID], words[start + ID + 1] = ids.T

    def pieces(self) -> list[memoryview]:
        """Each record's bytes."""
        ends = np.cumsum(self.lengths).tolist()
        return [memoryview(self.framed)[start:end] for start, end in zip([0, *ends], ends)]


def read_images(file: Records, keys: np.ndarray) -> Iterator[bytes | memoryview]:
    """The image of each of the records of `keys`, int64, in their order; DataError names a record that is unsound."""
    for run in _runs(file, keys):
        if isinstance(run, bytes):
            yield run
        else:
            for start, end in zip(run.start.tolist(), run.end.tolist()):
                yield run.data[start:end]


def copy_images(file: Records, keys: np.ndarray) -> Copied:
    """The image records of `keys`, int64; the bytes that reading, packing and framing one by one would give.

    DataError names a record that is unsound.
    """
    pieces: list[bytes | memoryview] = []
    lengths = [np.empty(0, np.int64)]
    for run in _runs(file, keys):
        if isinstance(run, bytes):
            framed = framing.frame(framing.pack(0.0, 0, run))
            pieces.append(framed)
            lengths.append(np.array([len(framed)]))
            continue
        size = run.end - run.start
        padded = (size + 3) & ~3
        heads = np.zeros((len(size), HEAD_WORDS), "<u4")
        heads[:, 0], heads[:, 1] = framing.MAGIC, HEADER.size + size
        for head, start, end in zip(heads, run.start.tolist(), (run.start + padded).tolist()):
            pieces += head, run.data[start:end]
        lengths.append(4 * HEAD_WORDS + padded)
    return Copied(bytearray().join(pieces), np.concatenate(lengths))


class _Run(NamedTuple):
    """A block of a file and the offsets of images in it; each begins at a multiple of four, zeros follow up to the
    next, and none holds the magic word where it would have to be escaped."""

    data: memoryview
    start: np.ndarray
    end: np.ndarray


def _runs(file: Records, keys: np.ndarray) -> Iterator[_Run | bytes]:
    """The images of the keys, in order: many at a time, and those not stored contiguously one by one."""
    if not isinstance(file, RecordFile):
        for part, there in file.split(keys):
            yield from _runs(part, there)
        return
    offsets, at = file.offsets_of(keys), 0
    while at < len(keys):
        run = _run(file, offsets[at:]) if len(keys) - at >= FEW else None
        if run is None:
            yield file.read(int(keys[at])).content
            at += 1
        else:
            yield run
            at += len(run.start)


def _run(file: RecordFile, offsets: np.ndarray) -> _Run | None:
    """The records at the first offsets that are in one block and contiguous; None where the first one is not."""
    steps = offsets - offsets[0]
    back = np.flatnonzero((steps[1:] <= steps[:-1]) | (steps[1:] >= BLOCK))
    steps = steps[:back[0] + 1] if len(back) else steps
    data = file.bytes_at(int(offsets[0]), min(int(steps[-1]) + FIRST_READ, BLOCK))
    words = np.frombuffer(data, "<u4", len(data) // 4)
    place = steps // 4
    place = place[place + HEAD_WORDS <= len(words)]
    if not len(place):
        return None
    word, flag = words[place + 1], words[place + 2].astype(np.int64)
    length = (word & framing.MAX_LENGTH).astype(np.int64)
    end = place + (FRAME.size + length + 3) // 4
    magic = np.flatnonzero(words == framing.MAGIC)
    last = words[np.minimum(end, len(words)) - 1].astype(np.int64)
    padding = -length & 3
    plain = ((steps[:len(place)] % 4 == 0) & (words[place] == framing.MAGIC) & (word >> 29 == framing.WHOLE)
             & (length > HEADER.size + 4 * flag) & (end <= len(words))
             & (np.searchsorted(magic, end) - np.searchsorted(magic, place) == 1)
             & (last >> np.where(padding, 8 * (4 - padding), 32) == 0))
    count = len(place) if plain.all() else int(np.argmin(plain))
    start = 4 * (place + HEAD_WORDS + flag)[:count]
    return _Run(memoryview(data), start, (4 * place + FRAME.size + length)[:count]) if count else None

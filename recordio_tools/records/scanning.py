"""Scans a `.rec` for every record, from its first byte to its last, past damage, in one pass over the file.

The file is read in blocks of megabytes. dmlc's writer never leaves the magic word on a multiple of four inside a
record, so where every magic word of a block directly follows the record before it, all of them are records, which numpy
finds at once. Only where that does not hold, records are examined one by one (`stepping`). Work is proportional to the
file's size whatever the damage, and memory to a block.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

import numpy as np

from recordio_tools.records import framing
from recordio_tools.records.faults import FileReport
from recordio_tools.records.framing import FRAME, HEADER
from recordio_tools.records.raw import RawFile
from recordio_tools.records.stepping import FoundRecord, Stepper

BLOCK = 1 << 22
HEAD = np.dtype([("flag", "<u4"), ("single", "<f4"), ("id", "<u8"), ("id2", "<u8"), ("label", "<f4", (2,))])
APART = -1  # in Block.start: the content is not contiguous in the block


@dataclass(frozen=True)
class Block:
    """The sound records of one section of a file, up to its byte `end`: arrays with one entry a record, in order.

    offset int64, of the record in the file; start, length int64: the content is data[start:start + length], or, where
    start is APART, has to be read from the file. From the content's head: readable (it is as long as it declares), flag
    uint32, label float32 (N, 2), the second 0 where there is one, id uint64; undefined where not readable.
    """

    data: bytes
    end: int
    offset: np.ndarray
    start: np.ndarray
    length: np.ndarray
    readable: np.ndarray
    flag: np.ndarray
    label: np.ndarray
    id: np.ndarray

    @property
    def has_image(self) -> np.ndarray:
        """Where bytes follow the labels (a header record of InsightFace's layout has none)."""
        return self.readable & (self.length > HEADER.size + 4 * self.flag.astype(np.int64))

    def __len__(self) -> int:
        return len(self.offset)


def blocks(raw: RawFile, known: np.ndarray | None, report: FileReport, size: int = BLOCK) -> Iterator[Block]:
    """Read the file through; after damage, which goes to `report`, continue at the next magic word.

    known: the offsets that the index gives, int64, sorted, which distinguish a damaged length from a damaged successor.
    """
    stepper = Stepper(raw, known, report)
    base = 0
    while base < raw.size:
        data = raw.bytes_at(base, size)
        if not data:
            return  # the file was truncated meanwhile
        block, base = _block(data, base, stepper)
        yield block


def _block(data: bytes, base: int, stepper: Stepper) -> tuple[Block, int]:
    """The records that begin in `data`, which is the file from `base` on, and where the next block begins."""
    words = np.frombuffer(data, "<u4", len(data) // 4)
    at = np.flatnonzero(words[:-1] == framing.MAGIC)
    word = words[at + 1]
    proper = word >> 29 <= framing.LAST
    at, word = 4 * at[proper], word[proper]
    length = (word & framing.MAX_LENGTH).astype(np.int64)
    end = at + FRAME.size + ((length + 3) & ~3)
    stops = np.flatnonzero((word[:-1] >> 29 != framing.WHOLE) | (end[:-1] != at[1:]))
    stops = np.append(stops, len(at) - 1)  # whether the last one is sound is decided with the next block
    complete = base + len(data) >= stepper.raw.size
    runs, apart, here = [np.empty(0, np.int64)], [], 0
    while here < len(data):
        need = here + FRAME.size
        place = int(np.searchsorted(at, here))
        if place < len(at) and at[place] == here:
            stop = int(stops[np.searchsorted(stops, place)])
            runs.append(np.arange(place, stop))
            here, need = int(at[stop]), int(end[stop]) + FRAME.size
        if here > 0 and need > len(data) and not complete:
            break
        found, following = stepper.step(base + here)
        apart += [found] if found else []
        here = following - base
    inside = np.concatenate(runs)
    return _gather(data, base, base + here, words, at[inside] + FRAME.size, length[inside], apart), base + here


def _gather(data: bytes, base: int, stop: int, words: np.ndarray, start: np.ndarray, length: np.ndarray,
            apart: list[FoundRecord]) -> Block:
    """The block of the records whose contents are at `start` in the data, and of those found one by one."""
    places = start[:, None] // 4 + np.arange(HEAD.itemsize // 4)
    heads = words[np.minimum(places, len(words) - 1)].view(HEAD).reshape(-1)  # a short content's is not believed below
    offset = base + start - FRAME.size
    if apart:
        heads = np.concatenate([heads, np.frombuffer(b"".join(found.head for found in apart), HEAD)])
        offset = np.append(offset, [found.offset for found in apart])
        length = np.append(length, [found.length for found in apart])
        order = np.argsort(offset)
        start = np.append(start, np.full(len(apart), APART))[order]
        heads, offset, length = heads[order], offset[order], length[order]
    flag = heads["flag"]
    label = heads["label"].copy()
    label[flag == 0, 0] = heads["single"][flag == 0]
    label[flag < 2, 1] = 0
    return Block(data, stop, offset, start, length, length >= HEADER.size + 4 * flag.astype(np.int64), flag, label,
                 heads["id"].copy())

"""Record-by-record scan where a `.rec` is irregular: past damage, over records in parts and very long ones."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recordio_tools.records import framing
from recordio_tools.records.faults import FileReport
from recordio_tools.records.framing import FRAME, FramingError, padded
from recordio_tools.records.raw import RawFile

SEARCH = 1 << 20
HEAD_BYTES = framing.HEADER.size + 8


class FoundRecord(NamedTuple):
    """A sound record: its offset, its content's length, and the content's first 32 bytes, zero-padded."""

    offset: int
    length: int
    head: bytes


class Stepper:
    """Steps over an open file; offsets never go back, and no byte is searched twice.

    known: the offsets that the index gives, int64, sorted, or None. Damage goes to `report`.
    """

    def __init__(self, raw: RawFile, known: np.ndarray | None, report: FileReport) -> None:
        self.raw, self.report = raw, report
        self.known = np.empty(0, np.int64) if known is None else known
        self._window, self._magics = (0, 0), np.empty(0, np.int64)  # where it searched last, and what it found there

    def step(self, offset: int) -> tuple[FoundRecord | None, int]:
        """The record at `offset`, where one should begin, and the offset at which to continue."""
        try:
            found, end = self._record(offset)
        except FramingError as error:
            following = self.next_magic(max(error.at, offset + 4))
            self._damage(offset, following, error)
            return None, following
        if end < self.raw.size and self._length_lies(offset, end):
            following = self.next_magic(offset + 4)
            self.report.add("bad-length", f"goes to byte {end}, where the next record does not begin; that begins at "
                            f"{following}" if following < self.raw.size else
                            f"goes to byte {end}, where no record begins, nor anywhere after it", offset)
            return None, following
        return found, end

    def _record(self, offset: int) -> tuple[FoundRecord, int]:
        """The record at `offset` and the offset after it; FramingError, whose `at` is where to continue the search."""
        start, last, previous, length = offset, offset, None, 0
        while True:
            try:
                flag, size = framing.part(self.raw.bytes_at(start, FRAME.size))
                if not framing.follows(previous, flag):
                    raise FramingError(f"a part of kind {flag} is where it cannot be")
            except FramingError as error:
                if previous is None:
                    raise FramingError(str(error), offset + 4, error.cut_off) from None
                ended = start >= self.raw.size
                raise FramingError(f"the record lacks a part at byte {start}: {error}", last + 4, ended) from None
            length += size
            if length > framing.MAX_LENGTH:
                raise FramingError("its parts add up to more than a record may hold", start + 4)
            if start + FRAME.size + size > self.raw.size:
                raise FramingError(f"is truncated: it needs {start + FRAME.size + size - self.raw.size} bytes more "
                                   "than the file has", start + 4, cut_off=True)
            last, start, previous = start, start + FRAME.size + padded(size), flag
            if flag in (framing.WHOLE, framing.LAST):
                break
            length += len(framing.MAGIC_BYTES)
        if flag == framing.WHOLE:
            content = self.raw.bytes_at(offset + FRAME.size, min(length, HEAD_BYTES))
        else:
            content = self.raw.content_at(offset)[0][:HEAD_BYTES]
        return FoundRecord(offset, length, content.ljust(HEAD_BYTES, b"\0")), start

    def _length_lies(self, offset: int, end: int) -> bool:
        """Whether a record cannot extend to `end`: it overlaps another, or no record follows there although the index
        has one."""
        told = self._is_known(offset)
        inside = self.next_magic(offset + 4)
        if inside < end and (self._is_known(inside) if told else self._leads_on(inside)):
            return True
        if self._begins(end):
            return False
        if told:  # the next one is damaged where the index has it, unless bytes are missing and another follows before
            return not self._is_known(end) and offset < self.known[-1] or inside < end and self._leads_on(inside)
        return inside < end

    def _is_known(self, offset: int) -> bool:
        if not len(self.known):
            return False
        return self.known[min(int(np.searchsorted(self.known, offset)), len(self.known) - 1)] == offset

    def _leads_on(self, offset: int) -> bool:
        try:
            end = self._record(offset)[1]
        except FramingError:
            return False
        return end >= self.raw.size or self._begins(end)

    def _begins(self, offset: int) -> bool:
        try:
            return framing.part(self.raw.bytes_at(offset, FRAME.size))[0] <= framing.LAST
        except FramingError:
            return False

    def next_magic(self, start: int) -> int:
        """The first multiple of four from `start` on where a record may begin, or the size of the file."""
        start = (start + 3) & ~3
        while start + FRAME.size <= self.raw.size:
            if not self._window[0] <= start < self._window[1]:
                self._search(start)
            place = int(np.searchsorted(self._magics, start))
            if place < len(self._magics):
                return int(self._magics[place])
            start = self._window[1]
        return self.raw.size

    def _search(self, start: int) -> None:
        data = self.raw.bytes_at(start, SEARCH + 4)
        words = np.frombuffer(data, "<u4", len(data) // 4)
        places = np.flatnonzero(words[:-1] == framing.MAGIC)
        places = places[np.isin(words[places + 1] >> 29, (framing.WHOLE, framing.FIRST))]
        self._window, self._magics = (start, start + SEARCH), start + 4 * places

    def _damage(self, offset: int, following: int, error: FramingError) -> None:
        goes_on = f"; the next record begins at byte {following}"
        if not error.cut_off:
            kind = "bad-magic" if not self._begins(offset) else "bad-parts"
            self.report.add(kind, f"{error}{goes_on if following < self.raw.size else '; none follows'}", offset)
        elif following < self.raw.size:
            self.report.add("bad-length", f"goes beyond the end of the file{goes_on}", offset)
        else:
            self.report.add("truncated", str(error), offset)

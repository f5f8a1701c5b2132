"""Buffers one identity's files until it is known which become records, and reports the others."""
from __future__ import annotations

import itertools
from typing import Sequence

from common.content_hashes import ContentHashes
from common.errors import UserError
from common.name_lookup import NameLookup
from images.prepare import Unusable, read_file
from images.selection import Selection
from images.sources import Source
from recordio_tools.pack.batches import WRONG_SIZE, PreparedFiles, put_headers
from recordio_tools.pack.report import PackReport
from recordio_tools.records.writer import RecordWriter

WRONG = 100  # images of another size after which the flags are evidently wrong


class IdentityWriter:
    """One identity while it is packed: its images wait until there are enough of them."""

    def __init__(self, source: Source, identity: int, label: int, writer: RecordWriter, selection: Selection,
                 report: PackReport) -> None:
        self._source, self._identity, self._label = source, identity, label
        self._writer, self._selection, self._report = writer, selection, report
        self._first = writer.count
        self._waiting: list[tuple[memoryview, list[int]]] = []
        self._notes: list[str] = []
        self._positions: list[int] = []
        self._hashes: list[int] = []
        self._seen: dict[int, int] = {}
        self._again: list[tuple[int, int]] = []

    def add(self, batch: PreparedFiles, start: int, end: int, at: int, positions: Sequence[int]) -> None:
        """Add files [start, end) of a batch, whose records begin at `at`; positions: theirs in the identity's list."""
        lengths, hashes, notes = batch.lengths[start:end], batch.hashes[start:end], batch.notes[start:end]
        records = batch.framed.data[at:at + sum(lengths)]
        fresh = dict(zip(hashes, positions))
        if len(fresh) == len(hashes) and 0 not in lengths and self._seen.keys().isdisjoint(fresh):
            self._seen.update(fresh)
        else:
            kept = self._sift(batch, start, hashes, positions)
            records = _cut(records, lengths, kept)
            lengths, hashes, positions = (list(itertools.compress(values, kept))
                                          for values in (lengths, hashes, positions))
            notes = list(itertools.compress(notes, kept))
        put_headers(records, lengths, self._label, self._first + len(self._positions))
        self._positions += positions
        self._hashes += hashes
        self._notes += notes
        if self._refused:
            self._waiting.clear()
        elif len(self._positions) < self._selection.min_images:
            self._waiting.append((memoryview(bytes(records)), lengths))  # their place is needed for the next batch
        else:
            for framed, sizes in (*self._waiting, (records, lengths)):
                self._writer.extend(framed, sizes)
            self._waiting.clear()

    def _sift(self, batch: PreparedFiles, start: int, hashes: list[int], positions: Sequence[int]) -> list[bool]:
        """Which files become records, where some are unusable or repeated; those are reported."""
        kept = []
        for index, number, position in zip(range(start, start + len(hashes)), hashes, positions):
            usable = batch.lengths[index] > 0
            if not usable:
                self._skip(batch, index, position)
            elif self._seen.setdefault(number, position) != position and self._is_again(number, position):
                usable = not self._selection.drop_duplicates
            kept.append(usable)
        return kept

    def finish(self, hashes: ContentHashes) -> None:
        """Report the identity: as one of the set, or as too small."""
        count, report = len(self._positions), self._report
        if self._selection.drop_duplicates:
            report.dropped += len(self._again)
        for place in self._again:
            report.duplicates.add(1, [self._source.file(self._identity, position) for position in place])
        name = self._source.names[self._identity]
        if count < max(self._selection.min_images, 1):
            report.small.append((name, count))
            return
        report.identities.append((name, count))
        report.counts.update(self._notes)
        hashes.add(self._identity, self._hashes, self._positions)

    @property
    def _refused(self) -> bool:
        return not self._selection.skip_wrong_size and self._report.skipped[WRONG_SIZE] > 0

    def _is_again(self, number: int, position: int) -> bool:
        """Report a file whose content occurred before in this identity."""
        first = self._seen[number]
        if same_file(self._source, (self._identity, first), (self._identity, position)):
            self._again.append((first, position))
            return True
        return False

    def _skip(self, batch: PreparedFiles, index: int, position: int) -> None:
        file = self._source.file(self._identity, position)
        if index in batch.wrong and not self._report.skipped[WRONG_SIZE]:
            self._report.first_wrong = f"{file}: {batch.wrong[index]}"
        self._report.skipped.add(batch.notes[index], file)
        if self._report.skipped[WRONG_SIZE] == WRONG:
            check_sizes(self._report, self._selection)


def _cut(records: memoryview, lengths: list[int], kept: list[bool]) -> memoryview:
    """The records that are kept, in one piece."""
    ends = itertools.accumulate(lengths)
    pieces = [records[end - length:end] for end, length, keep in zip(ends, lengths, kept) if keep]
    return memoryview(bytearray().join(pieces)) if sum(map(len, pieces)) < len(records) else records


def same_file(source: Source, one: tuple[int, int], two: tuple[int, int]) -> bool:
    """Whether the entries at two places have equal bytes and geometry."""
    (path, face), (other, other_face) = (source.entry(*place).partition(b"\0")[::2] for place in (one, two))
    lookup = NameLookup()
    try:
        return face == other_face and read_file(path, lookup) == read_file(other, lookup)
    except Unusable:  # removed meanwhile
        return False


def check_sizes(report: PackReport, selection: Selection) -> None:
    """UserError where images of another size were found and not allowed for."""
    count = report.skipped[WRONG_SIZE]
    if not count or selection.skip_wrong_size:
        return
    more = f"; {count - 1} more have another size too" if count > 1 else ""
    raise UserError(f"{report.first_wrong}{more}; align the faces first, or give `resize`, `skip_wrong_size` or "
                    "`image_size`")

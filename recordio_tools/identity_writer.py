"""One identity on its way into the set: which of its files become records, and what is told of the others."""
from __future__ import annotations

from typing import Sequence

from common.errors import UserError
from recordio_tools import framing
from recordio_tools.batches import WRONG_SIZE, Batch
from recordio_tools.duplicates import Prints
from recordio_tools.pack_report import Report
from recordio_tools.prepare import Unusable, read_file
from recordio_tools.selection import Selection
from recordio_tools.sources import Source
from recordio_tools.writer import RecordWriter

WRONG = 100  # images of another size, after which it is plain that the flags are wrong


class IdentityWriter:
    """One identity on its way into the set: its images wait until there are enough of them."""

    def __init__(self, source: Source, identity: int, label: int, writer: RecordWriter, selection: Selection,
                 report: Report) -> None:
        self._source, self._identity, self._label = source, identity, label
        self._writer, self._selection, self._report = writer, selection, report
        self._first = writer.count
        self._waiting: list[tuple[memoryview, list[int]]] = []
        self._notes: list[str] = []
        self._positions: list[int] = []
        self._prints: list[int] = []
        self._seen: dict[int, int] = {}
        self._again: list[tuple[int, int]] = []

    def add(self, batch: Batch, start: int, end: int, at: int, positions: Sequence[int]) -> None:
        """Take files [start, end) of a batch, whose records begin at `at`; positions: theirs in the identity's list."""
        begin, lengths = at, []
        for index, position, length, number in zip(range(start, end), positions, batch.lengths[start:end],
                                                   batch.prints[start:end]):
            if not length:
                self._skip(batch, index, position)
                continue
            if self._seen.setdefault(number, position) != position and self._is_again(number, position):
                if self._selection.drop_duplicates:
                    self._wait(batch, begin, at, lengths)
                    at += length
                    begin, lengths = at, []
                    continue
            framing.HEADER.pack_into(batch.framed, at + framing.FRAME.size, 0, self._label,
                                     self._first + len(self._prints), 0)
            at += length
            lengths.append(length)
            self._positions.append(position)
            self._prints.append(number)
            self._notes.append(batch.notes[index])
        self._wait(batch, begin, at, lengths)
        if len(self._positions) >= self._selection.min_images or self._refused:
            for framed, sizes in self._waiting if not self._refused else ():
                self._writer.extend(framed, sizes)
            self._waiting.clear()

    def finish(self, prints: Prints) -> bool:
        """Whether the identity is in the set."""
        count, report = len(self._positions), self._report
        if self._selection.drop_duplicates:
            report.dropped += len(self._again)
        for place in self._again:
            report.duplicates.add(1, [self._source.file(self._identity, position) for position in place])
        name = self._source.names[self._identity]
        if count < max(self._selection.min_images, 1):
            report.small.append((name, count))
            return False
        report.identities.append((name, count))
        report.counts.update(self._notes)
        prints.add(self._identity, self._prints, self._positions)
        return True

    @property
    def _refused(self) -> bool:
        return not self._selection.skip_wrong_size and self._report.skipped[WRONG_SIZE] > 0

    def _is_again(self, number: int, position: int) -> bool:
        """Note a file whose content came before in this identity."""
        first = self._seen[number]
        if same_file(self._source, (self._identity, first), (self._identity, position)):
            self._again.append((first, position))
            return True
        return False

    def _wait(self, batch: Batch, begin: int, end: int, lengths: list[int]) -> None:
        if lengths:
            self._waiting.append((memoryview(batch.framed)[begin:end], lengths))

    def _skip(self, batch: Batch, index: int, position: int) -> None:
        file = self._source.file(self._identity, position)
        if index in batch.wrong and not self._report.skipped[WRONG_SIZE]:
            self._report.first_wrong = f"{file}: {batch.wrong[index]}"
        self._report.skip(file, batch.notes[index])
        if self._report.skipped[WRONG_SIZE] == WRONG:
            check_sizes(self._report, self._selection)


def same_file(source: Source, one: tuple[int, int], two: tuple[int, int]) -> bool:
    """Whether the entries at two places ask for the same of the same bytes."""
    (path, face), (other, other_face) = (source.entry(*place).partition(b"\0")[::2] for place in (one, two))
    try:
        return face == other_face and read_file(path) == read_file(other)
    except Unusable:  # gone by now
        return False


def check_sizes(report: Report, selection: Selection) -> None:
    """UserError where images of another size were found and not allowed for."""
    count = report.skipped[WRONG_SIZE]
    if not count or selection.skip_wrong_size:
        return
    more = f"; {count - 1} more have another size too" if count > 1 else ""
    raise UserError(f"{report.first_wrong}{more}; align the faces first, or give --resize, --skip-wrong-size or "
                    "--image-size")

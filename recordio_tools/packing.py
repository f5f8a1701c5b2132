"""A source of identities to a packed set: records in InsightFace's layout, `property`, `identities.csv`, the report."""
from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path
from typing import Iterator, Sequence

from common.errors import UserError
from common.files import write_atomic
from recordio_tools import framing
from recordio_tools.batches import DIGEST, WRONG_SIZE, Batch, Preparer
from recordio_tools.duplicates import Digests
from recordio_tools.identities import identity_table
from recordio_tools.pack_report import Report
from recordio_tools.parallel import ordered_map
from recordio_tools.prepare import Wanted
from recordio_tools.processes import process_map
from recordio_tools.progress import meter
from recordio_tools.property import Property, write_property
from recordio_tools.selection import Selection
from recordio_tools.sources import Source
from recordio_tools.staging import staged_set
from recordio_tools.writer import RecordWriter

log = logging.getLogger(__name__)
FEW = 2000  # images for which it does not pay to start processes
TASK_BYTES, MOST_FILES = 1 << 19, 128  # of a task for a worker
WRONG = 100  # images of another size, after which it is plain that the flags are wrong
SAMPLE = 200  # files whose sizes tell what the others take


def pack(source: Source, out: Path, wanted: Wanted, selection: Selection, workers: int) -> Report:
    """Write the set to the folder `out` and return the report; the bytes do not depend on `workers`.

    UserError where fewer than two identities are left, or an image has another size and that is not allowed for;
    nothing is written then.
    """
    size = _typical_size(source)
    _warn_of_little_space(source, out, min(size, wanted.height * wanted.width) if wanted.resize else size)
    report = Report(found=source.images, other_files=source.other_files, notes=dict(source.notes))
    with staged_set(out) as folder:
        with RecordWriter(folder / "train.rec") as writer:
            task = max(1, min(MOST_FILES, TASK_BYTES // max(size, 1)))
            with contextlib.closing(_batches(source, wanted, selection, workers, task)) as batches:
                _write_records(writer, _Files(source, batches), selection, report)
        write_property(folder / "property", Property(len(report.identities), wanted.height, wanted.width))
        write_atomic(folder / "identities.csv", identity_table(report.identities))
        write_atomic(folder / "pack-report.json", report.as_json())
    return report


def _batches(source: Source, wanted: Wanted, selection: Selection, workers: int, task: int) -> Iterator[Batch]:
    """What the workers make of the chosen files, in order, `task` files at a time."""
    tasks = _tasks(source, selection, task)
    made = process_map(Preparer(wanted), tasks, workers) if workers > 1 and source.images >= FEW else ordered_map(
        Preparer(wanted), tasks, workers, chunk=1)
    with contextlib.closing(made), meter(selection.total(source), "pack", " images") as bar:
        for batch in made:
            yield batch
            bar.update(len(batch.notes))


def _tasks(source: Source, selection: Selection, size: int) -> Iterator[list[bytes]]:
    task = []
    for identity in selection.identities(source):
        for position in selection.images(source, identity):
            task.append(source.entry(identity, position))
            if len(task) == size:
                yield task
                task = []
    if task:
        yield task


class _Files:
    """The batches, dealt out again by identity."""

    def __init__(self, source: Source, batches: Iterator[Batch]) -> None:
        self.source = source
        self._batches = batches
        self._batch, self._next, self._at = Batch(bytearray(), [], b"", [], {}), 0, 0

    def take(self, count: int) -> Iterator[tuple[Batch, int, int, int]]:
        """Batches that hold the next `count` files: (batch, first, last + 1, place of the first in `framed`)."""
        while count:
            if self._next == len(self._batch.lengths):
                self._batch, self._next, self._at = next(self._batches), 0, 0
            first, at = self._next, self._at
            self._next = min(len(self._batch.lengths), first + count)
            self._at += sum(self._batch.lengths[first:self._next])
            count -= self._next - first
            yield self._batch, first, self._next, at


def _write_records(writer: RecordWriter, files: _Files, selection: Selection, report: Report) -> None:
    """All records of the set; UserError where too little is left, or an image has another size."""
    source, digests, ranges = files.source, Digests(), []
    report.not_chosen = source.images - selection.total(source)
    placeholder = framing.pack([0, 0], 0)
    writer.write(0, placeholder)
    for identity in selection.identities(source):
        first = writer.count
        person = _Person(source, identity, len(ranges), writer, selection, report)
        positions = selection.images(source, identity)
        done = 0
        for batch, start, end, at in files.take(len(positions)):
            person.add(batch, start, end, at, positions[done:done + end - start])
            done += end - start
        if person.finish(digests):
            ranges.append((first, writer.count))
    _check_sizes(report, selection)
    _check_enough(report, selection, source)
    report.images = writer.count - 1
    for span in ranges:
        writer.write(writer.count, framing.pack(span, writer.count))
    writer.rewrite(0, placeholder, framing.pack([report.images + 1, writer.count], 0))
    for group in digests.shared():
        report.shared.add(len(group), [source.file(*place) for place in group])
    if writer.count > 1 << 24:
        log.warning("%d records: header records hold record numbers as float32, which is exact up to 16777216 only; "
                    "readers that trust the labels in the image records, as ours, are not concerned", writer.count)


class _Person:
    """One identity on its way into the set: its images wait until there are enough of them."""

    def __init__(self, source: Source, identity: int, label: int, writer: RecordWriter, selection: Selection,
                 report: Report) -> None:
        self._source, self._identity, self._label = source, identity, label
        self._writer, self._selection, self._report = writer, selection, report
        self._number = writer.count
        self._waiting: list[tuple[memoryview, list[int]]] = []
        self._notes: list[str] = []
        self._positions: list[int] = []
        self._digests: list[bytes] = []
        self._seen: dict[bytes, int] = {}
        self._again: list[tuple[int, int]] = []

    def add(self, batch: Batch, start: int, end: int, at: int, positions: Sequence[int]) -> None:
        """Take files [start, end) of a batch, whose records begin at `at`; positions: theirs in the identity's list."""
        begin, lengths = at, []
        for index, position in zip(range(start, end), positions):
            length = batch.lengths[index]
            if not length:
                self._skip(batch, index, position)
                continue
            digest = batch.digests[DIGEST * index:DIGEST * index + DIGEST]
            if digest in self._seen:
                self._again.append((self._seen[digest], position))
                if self._selection.drop_duplicates:
                    self._wait(batch, begin, at, lengths)
                    at += length
                    begin, lengths = at, []
                    continue
            else:
                self._seen[digest] = position
            framing.HEADER.pack_into(batch.framed, at + framing.FRAME.size, 0, self._label, self._number, 0)
            self._number += 1
            at += length
            lengths.append(length)
            self._positions.append(position)
            self._digests.append(digest)
            self._notes.append(batch.notes[index])
        self._wait(batch, begin, at, lengths)
        if len(self._positions) >= self._selection.min_images or self._refused:
            for framed, sizes in self._waiting if not self._refused else ():
                self._writer.extend(framed, sizes)
            self._waiting.clear()

    def finish(self, digests: Digests) -> bool:
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
        digests.add(self._identity, self._digests, self._positions)
        return True

    @property
    def _refused(self) -> bool:
        return not self._selection.skip_wrong_size and self._report.skipped[WRONG_SIZE] > 0

    def _wait(self, batch: Batch, begin: int, end: int, lengths: list[int]) -> None:
        if lengths:
            self._waiting.append((memoryview(batch.framed)[begin:end], lengths))

    def _skip(self, batch: Batch, index: int, position: int) -> None:
        file = self._source.file(self._identity, position)
        if index in batch.wrong and not self._report.skipped[WRONG_SIZE]:
            self._report.first_wrong = f"{file}: {batch.wrong[index]}"
        self._report.skip(file, batch.notes[index])
        if self._report.skipped[WRONG_SIZE] == WRONG:
            _check_sizes(self._report, self._selection)


def _check_sizes(report: Report, selection: Selection) -> None:
    count = report.skipped[WRONG_SIZE]
    if not count or selection.skip_wrong_size:
        return
    raise UserError(f"{report.first_wrong}; so are {count - 1} more; align the faces first, or give --resize, "
                    "--skip-wrong-size or --image-size")


def _check_enough(report: Report, selection: Selection, source: Source) -> None:
    if len(report.identities) >= 2:
        return
    found = f"{len(source.names)} identities with {source.images} image files"
    why = [f"{count} {reason} (e.g. {report.files[reason][0]})" for reason, count in sorted(report.skipped.items())]
    if report.small and selection.min_images > 1:
        why.append(f"{len(report.small)} identities below --min-images {selection.min_images}")
    left = "one identity is" if report.identities else "no identity is"
    raise UserError(f"{source.path}: {left} left to pack, and a training set needs two; found {found}"
                    + (f"; left out: {', '.join(why)}" if why else ""))


def _typical_size(source: Source) -> int:
    """The mean size in bytes of a sample of the files."""
    sizes = []
    for path in source.sample(SAMPLE):
        with contextlib.suppress(OSError, ValueError):
            sizes.append(os.stat(path).st_size)
    return sum(sizes) // max(len(sizes), 1)


def _warn_of_little_space(source: Source, out: Path, size: int) -> None:
    need = source.images * (size + 60)
    place = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if need > free:
        log.warning("%s: about %.1f GB are needed and %.1f GB are free there; a set that is there now stays until the "
                    "new one is whole", out, need / 1e9, free / 1e9)

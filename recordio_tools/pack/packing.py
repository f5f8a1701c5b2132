"""A source of identities to a packed set: records in InsightFace's layout, `property`, `identities.csv`, the report."""
from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Generator, Iterator

import numpy as np

from common.content_hashes import ContentHashes
from common.errors import UserError
from common.files import write_atomic, write_json
from common.folders import staged_files
from common.progress import meter
from common.workers import ordered_map, process_map
from images.prepare import Wanted
from images.selection import Selection
from images.sources import Source
from images.space import typical_size, warn_of_little_space
from recordio_tools.pack.batches import PreparedFiles, Preparer
from recordio_tools.pack.identity_writer import IdentityWriter, check_sizes, same_file
from recordio_tools.pack.report import PackReport
from recordio_tools.records.identities import identity_table
from recordio_tools.records.property import Property, write_property
from recordio_tools.records.writer import SET_FILES, RecordWriter

FEW = 500  # below so many images, starting a process does not pay
TASK_BYTES, MOST_FILES = 1 << 18, 64  # of a task for a worker


def pack(source: Source, out: Path, wanted: Wanted, selection: Selection, workers: int,
         overwrite: bool = False) -> PackReport:
    """Write the set to the folder `out` and return the report; the bytes do not depend on `workers`.

    UserError where fewer than two identities are left, or an image has another size and that is not allowed for;
    nothing is written then. overwrite: replace a set that is in `out`.
    """
    size = typical_size(source)
    warn_of_little_space(source, out, min(size, wanted.height * wanted.width) if wanted.resize else size)
    report = PackReport(found=source.images, other_files=source.other_files,
                        other_names=source.other_names, notes=dict(source.notes))
    with staged_files(out, SET_FILES, overwrite) as folder:
        with RecordWriter(folder / "train.rec") as writer:
            task = max(1, min(MOST_FILES, TASK_BYTES // max(size, 1)))
            with contextlib.closing(_batches(source, wanted, selection, workers, task)) as batches:
                _write_records(writer, _Files(source, batches), selection, report)
        write_property(folder / "property", Property(len(report.identities), wanted.height, wanted.width))
        write_atomic(folder / "identities.csv", identity_table(report.identities))
        write_json(folder / "pack-report.json", report.as_dict())
    return report


def _batches(source: Source, wanted: Wanted, selection: Selection, workers: int, task: int
             ) -> Generator[PreparedFiles, None, None]:
    """The workers' batches of the chosen files, in order, `task` files each."""
    tasks, total = _tasks(source, selection, task), selection.total(source)
    if total >= FEW:
        made = process_map(Preparer(wanted), tasks, min(workers, total // FEW), find_crashes=True)
    else:
        made = ordered_map(Preparer(wanted), tasks, workers, chunk=1)
    with contextlib.closing(made), meter(total, "pack", " images") as bar:
        for batch in made:
            yield batch
            bar.update(len(batch.notes))


def _tasks(source: Source, selection: Selection, size: int) -> Iterator[list[bytes]]:
    task: list[bytes] = []
    for identity in selection.identities(source):
        positions = selection.images(source, identity)
        for first in range(0, len(positions), size):
            task += source.entries(identity, positions[first:first + size])
            while len(task) >= size:
                yield task[:size]
                del task[:size]
    if task:
        yield task


class _Files:
    """The batches, split by identity."""

    def __init__(self, source: Source, batches: Iterator[PreparedFiles]) -> None:
        self.source = source
        self._batches = batches
        self._batch, self._next, self._at = PreparedFiles(np.empty(0, np.uint8), [], [], [], {}), 0, 0

    def take(self, count: int) -> Iterator[tuple[PreparedFiles, int, int, int]]:
        """Batches that hold the next `count` files: (batch, first, last + 1, place of the first in `framed`)."""
        while count:
            if self._next == len(self._batch.lengths):
                self._batch, self._next, self._at = next(self._batches), 0, 0
            first, at = self._next, self._at
            self._next = min(len(self._batch.lengths), first + count)
            self._at += sum(self._batch.lengths[first:self._next])
            count -= self._next - first
            yield self._batch, first, self._next, at


def _write_records(writer: RecordWriter, files: _Files, selection: Selection, report: PackReport) -> None:
    """All records of the set; UserError where too little is left, or an image has another size."""
    source, hashes = files.source, ContentHashes()
    report.not_chosen = source.images - selection.total(source)
    writer.begin_set()
    for identity in selection.identities(source):
        person = IdentityWriter(source, identity, len(report.identities), writer, selection, report)
        positions = selection.images(source, identity)
        done = 0
        for batch, start, end, at in files.take(len(positions)):
            person.add(batch, start, end, at, positions[done:done + end - start])
            done += end - start
        person.finish(hashes)
    check_sizes(report, selection)
    _check_enough(report, selection, source)
    report.images = writer.count - 1
    writer.end_set(count for _, count in report.identities)
    for count, places in hashes.shared(functools.partial(same_file, source)):
        names = [source.file(*place) for place in places]
        if len(set(names)) < len(names):  # of a list that has a file under several labels
            names = [f"{name} (identity {source.names[number]})" for name, (number, _) in zip(names, places)]
        report.shared.add(count, names)


def _check_enough(report: PackReport, selection: Selection, source: Source) -> None:
    if len(report.identities) >= 2:
        return
    found = f"{len(source.names)} identities with {source.images} image files"
    why = [f"{report.skipped[reason]} {reason} (e.g. {names[0]})"
           for reason, names in report.skipped.names_as_dict().items()]
    if report.small and selection.min_images > 1:
        why.append(f"{len(report.small)} identities below `min_images` {selection.min_images}")
    left = "one identity is" if report.identities else "no identity is"
    raise UserError(f"{source.path}: {left} left to pack, and a training set needs two; found {found}"
                    + (f"; left out: {', '.join(why)}" if why else ""))

"""A source of identities to a packed set: records in InsightFace's layout, `property`, `identities.csv`, the report."""
from __future__ import annotations

import collections
import csv
import functools
import io
import json
import logging
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from common.errors import UserError
from common.files import write_atomic
from recordio_tools import framing
from recordio_tools.parallel import ordered_map
from recordio_tools.prepare import Prepared, Wanted, prepare
from recordio_tools.progress import progress
from recordio_tools.property import Property, write_property
from recordio_tools.sources import Source
from recordio_tools.writer import RecordWriter

log = logging.getLogger(__name__)
NAMED = 1000  # files named in the report, for each reason


@dataclass
class Report:
    """What became of every file; `as_dict` is what stands in pack-report.json."""

    images: int = 0
    identities: list[tuple[str, int]] = field(default_factory=list)
    changes: collections.Counter = field(default_factory=collections.Counter)
    skipped: collections.Counter = field(default_factory=collections.Counter)
    files: dict[str, list[str]] = field(default_factory=dict)
    small: list[tuple[str, int]] = field(default_factory=list)
    other_files: int = 0

    def skip(self, path: str, reason: str) -> None:
        """Count a file that is left out."""
        self.skipped[reason] += 1
        names = self.files.setdefault(reason, [])
        if len(names) < NAMED:
            names.append(path)

    def as_dict(self) -> dict:
        """Plain numbers and lists, in a fixed order."""
        return {"images": self.images, "identities": len(self.identities),
                "images_by_treatment": dict(sorted(self.changes.items())),
                "images_skipped": dict(sorted(self.skipped.items())),
                "files_skipped": dict(sorted(self.files.items())),
                "identities_left_out": [{"identity": name, "images": count} for name, count in self.small],
                "other_files": self.other_files}


@dataclass(frozen=True)
class Selection:
    """min_images: smaller identities are left out; max_images: so many of the larger ones, drawn by seed (0: all);
    shuffle: labels are given in an order drawn by seed instead of the sorted one."""

    min_images: int = 1
    max_images: int = 0
    shuffle: bool = False
    seed: int = 0

    def apply(self, source: Source) -> list[tuple[str, list[str]]]:
        """The identities and paths to pack; depends on the names and the seed alone."""
        identities = list(source.identities)
        if self.shuffle:
            random.Random(self.seed).shuffle(identities)
        return [(name, self._some(name, paths)) for name, paths in identities]

    def _some(self, name: str, paths: list[str]) -> list[str]:
        if not self.max_images or len(paths) <= self.max_images:
            return paths
        chosen = random.Random(f"{self.seed} {name}").sample(range(len(paths)), self.max_images)
        return [paths[position] for position in sorted(chosen)]


def pack(source: Source, out: Path, wanted: Wanted, selection: Selection, workers: int) -> Report:
    """Write the set to the folder `out` and return the report; the bytes do not depend on `workers`.

    UserError where fewer than two identities are left, and nothing is written then.
    """
    identities = selection.apply(source)
    report = Report(other_files=source.other_files)
    with RecordWriter(out / "train.rec") as writer:
        placeholder = framing.pack([0, 0], 0)
        writer.write(0, placeholder)
        ranges = []
        for name, images in _by_identity(identities, wanted, workers, report):
            first = writer.count
            changes = _write_identity(writer, images, len(ranges), selection.min_images)
            count = sum(changes.values())
            if count < max(selection.min_images, 1):
                report.small.append((name, count))
                continue
            ranges.append((first, writer.count))
            report.identities.append((name, count))
            report.changes += changes
        _check_enough(report, selection, source)
        report.images = writer.count - 1
        headers = writer.count
        for span in ranges:
            writer.write(writer.count, framing.pack(span, writer.count))
        writer.rewrite(0, placeholder, framing.pack([headers, writer.count], 0))
        if writer.count > 1 << 24:
            log.warning("%d records: header records hold record numbers as float32, which is exact up to 16777216 "
                        "only; readers that trust the labels in the image records, as ours, are not concerned",
                        writer.count)
    write_property(out / "property", Property(len(ranges), wanted.height, wanted.width))
    write_atomic(out / "identities.csv", _identity_table(report.identities))
    write_atomic(out / "pack-report.json", _bytes(json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n"))
    return report


def _by_identity(identities: list[tuple[str, list[str]]], wanted: Wanted, workers: int,
                 report: Report) -> Iterator[tuple[str, Iterator[Prepared]]]:
    """Each identity with an iterator of its usable images, which must be used up before the next is asked for."""
    paths = [path for _, images in identities for path in images]
    prepared = progress(ordered_map(functools.partial(prepare, wanted=wanted), paths, workers), len(paths), "pack")
    for name, images in identities:
        yield name, _usable(images, prepared, report)


def _usable(paths: list[str], prepared: Iterator[Prepared], report: Report) -> Iterator[Prepared]:
    for path in paths:
        result = next(prepared)
        if result.image is None:
            report.skip(path, result.reason)
        else:
            yield result


def _write_identity(writer: RecordWriter, images: Iterator[Prepared], label: int, least: int) -> collections.Counter:
    """Write the images once there are `least` of them; returns how many there were, by treatment."""
    waiting, changes, count = [], collections.Counter(), 0
    for item in images:
        count += 1
        changes[item.change] += 1
        waiting.append(item.image)
        if count >= least:
            for image in waiting:
                writer.write(writer.count, framing.pack(float(label), writer.count, image))
            waiting.clear()
    return changes


def _check_enough(report: Report, selection: Selection, source: Source) -> None:
    if len(report.identities) >= 2:
        return
    found = f"{len(source.identities)} identities with {source.images} image files"
    why = [f"{count} {reason} (e.g. {report.files[reason][0]})" for reason, count in sorted(report.skipped.items())]
    if report.small and selection.min_images > 1:
        why.append(f"{len(report.small)} identities below --min-images {selection.min_images}")
    left = "one identity is" if report.identities else "no identity is"
    raise UserError(f"{source.path}: {left} left to pack, and a training set needs two; found {found}"
                    + (f"; left out: {', '.join(why)}" if why else ""))


def _identity_table(identities: list[tuple[str, int]]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["label", "identity", "images"])
    table.writerows((label, name, count) for label, (name, count) in enumerate(identities))
    return _bytes(text.getvalue())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # a file name need not be valid UTF-8; its bytes are kept

"""Validation of a packed set: frames, index, headers, labels, `property`, and every image."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np

from common.errors import DataError
from images.codec import IMAGE_KINDS
from recordio_tools.check.layout import Part, add_all, check_labels, check_records, find_headers
from recordio_tools.check.same_images import note_same_images
from recordio_tools.check.scan import ScannedRecords, scan
from recordio_tools.records.faults import FileReport
from recordio_tools.records.identities import read_beside, read_identities
from recordio_tools.records.index import IndexFault, index_beside, keys_of, place_of_entry, read_index
from recordio_tools.records.property import Property, read_property
from recordio_tools.records.raw import RawFile


@dataclass(frozen=True)
class Checked:
    """A checked set, for repair: a report per file; its parts, without files that are no `.rec`, the path of each, the
    label of each image record, int64, -1 for an invalid one, and the values of `property`, where it has any."""

    reports: tuple[FileReport, ...]
    paths: tuple[Path, ...] = ()
    parts: tuple[Part, ...] = ()
    labels: tuple[np.ndarray, ...] = ()
    told: Property | None = None


def check_set(paths: Sequence[Path], workers: int, complete: bool = True) -> Checked:
    """Check the `.rec` files of one set, each with its `.idx`, and labels and `property` over all of them.

    complete: there are no further parts. DataError where a file cannot be opened.
    """
    reports = tuple(FileReport(str(path)) for path in paths)
    found = {path: _check_part(path, workers, report) for path, report in zip(paths, reports)}
    paths, parts = [path for path in paths if found[path]], [part for part in found.values() if part]
    if not parts:
        return Checked(reports)
    complete = complete and len(parts) == len(reports)
    add = parts[0].report.add
    told = read_beside(paths[0].with_name("property"), read_property,
                       lambda error: add("property", str(error), 0, file="property"))
    for part in parts:
        check_records(part)
    labels = check_labels(parts, told, complete)
    images = sum(map(len, labels))
    if complete and told and told.images not in (None, images):
        add("property", f"its second line says {told.images} images, there are {images}", 0, file="property")
    _check_sizes(parts, told)
    _check_names(paths[0].with_name("identities.csv"), labels if complete else [], reports)
    _note_widths(parts)
    note_same_images(paths, parts, labels)
    for part, numbers in zip(parts, labels):
        part.report.holds.update(images=len(numbers), identities=len(np.unique(numbers[numbers >= 0])))
    return Checked(reports, tuple(paths), tuple(parts), tuple(labels), told)


def _check_part(path: Path, workers: int, report: FileReport) -> Part | None:
    """None where the file is no `.rec`, which is reported."""
    with RawFile(path) as raw:
        report.holds.update(bytes=raw.size)
        if raw.foreign:
            report.add("rec-file", f"{path}: is {raw.foreign}", 0)
            return None
        index = index_beside(path)
        known = _read_index(index, report) if index.is_file() else None
        records = scan(raw, None if known is None else np.sort(known[1]), workers, report)
        if known is not None and not len(known[0]) and len(records):
            report.add("index-file", f"{index}: is empty, and the .rec holds {len(records)} records", 0, file="idx")
            known = None
        if known is None:
            records.key[records.readable] = keys_of(records.id[records.readable])
        else:
            _match(index, known, raw.size, records, report)
    for number, kind in enumerate(IMAGE_KINDS[1:], 1):
        if kind in records.first:
            offset, message = records.first[kind]
            key = records.key[np.searchsorted(records.offset, offset)]
            report.add(kind, message, offset, int(key), int((records.kind == number).sum()))
    for reason, (offset, count) in records.unlike.items():
        key = records.key[np.searchsorted(records.offset, offset)]
        report.add("other-readers", reason, offset, int(key), count, reason=reason)
    return Part(records, find_headers(records), report)


def _read_index(path: Path, report: FileReport) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        return read_index(path)
    except IndexFault as error:
        report.add("index-file", str(error), error.byte, file="idx", entry=(error.byte, error.line))
    except DataError as error:
        report.add("index-file", str(error))
    return None


def _match(path: Path, known: tuple[np.ndarray, np.ndarray], size: int, records: ScannedRecords,
           report: FileReport) -> None:
    """Give each record the key that the index has for its offset, and report where the two disagree."""
    keys, offsets = known
    order = np.argsort(keys, kind="stable")
    repeated = order[1:][keys[order][1:] == keys[order][:-1]]
    if len(repeated):
        entry = int(repeated.min())
        report.add("duplicate-key", f"the index has the key {keys[entry]} twice", int(offsets[entry]), int(keys[entry]),
                   len(repeated), entry=place_of_entry(path, entry))
    by_offset = np.argsort(offsets, kind="stable")
    before, after = by_offset[:-1], by_offset[1:]
    again = after[(offsets[after] == offsets[before]) & (keys[after] != keys[before])]
    if len(again):
        entry = int(again.min())
        report.add("index-entry", f"the index has two entries for the record at byte {offsets[entry]}",
                   int(offsets[entry]), int(keys[entry]), len(again), entry=place_of_entry(path, entry))
    if len(offsets):
        candidate = by_offset[np.minimum(np.searchsorted(offsets[by_offset], records.offset), len(offsets) - 1)]
        records.key[:] = np.where(offsets[candidate] == records.offset, keys[candidate], -1)
    add_all(report, "not-in-index", records, np.flatnonzero(records.key < 0),
            "a record begins here that the index does not list")
    lost = np.flatnonzero(~np.isin(offsets, records.offset))
    records.astray = np.stack([keys[lost], offsets[lost]], axis=1)
    if len(lost):
        entry = int(lost[np.argmin(offsets[lost])])
        report.add("index-entry", f"the index puts record {keys[entry]} at byte {offsets[entry]}, where no sound "
                   f"record begins (the file has {size} bytes)", int(offsets[entry]), int(keys[entry]), len(lost),
                   entry=place_of_entry(path, entry))


def _check_names(path: Path, labels: Sequence[np.ndarray], reports: Sequence[FileReport]) -> None:
    """The table must be readable, and where nothing else is wrong its numbers of images those of the labels."""
    def tell(fault: object) -> None:
        reports[0].add("identities-csv", str(fault))

    sound = labels and all(report.sound for report in reports)
    counts = dict(zip(*np.unique(np.concatenate(labels), return_counts=True))) if sound else None
    read_beside(path, lambda table: read_identities(table, counts, tell), tell)


def _check_sizes(parts: Sequence[Part], told: Property | None) -> None:
    """Every image must have the size in `property`, or, without one, that of most images."""
    expected = (told.height, told.width) if told else common_size([part.records for part in parts])
    if expected is None:
        return
    for records, _, report in parts:
        other = np.flatnonzero((records.size[:, 0] > 0) & (records.size != expected).any(axis=1))
        if len(other):
            height, width = records.size[other[0]].tolist()
            add_all(report, "size", records, other,
                    f"is {height}x{width}, not {expected[0]}x{expected[1]} (height x width)")
        report.holds.update(height=expected[0], width=expected[1])


def common_size(records: Sequence[ScannedRecords]) -> tuple[int, int] | None:
    """(height, width) of most images that decode."""
    sizes = np.concatenate([part.size[part.size[:, 0] > 0] for part in records])
    if not len(sizes):
        return None
    codes, counts = np.unique(sizes[:, 0].astype(np.uint32) << 16 | sizes[:, 1], return_counts=True)
    code = int(codes[np.argmax(counts)])
    return code >> 16, code & 0xffff


def _note_widths(parts: Sequence[Part]) -> None:
    widths = [np.maximum(part.records.flag, 1)[part.records.image] for part in parts]
    if len(np.unique(np.concatenate(widths))) < 2:
        return
    usual = next(width[0] for width in widths if len(width))
    for part, width in zip(parts, widths):
        other = np.flatnonzero(part.records.image)[width != usual]
        if len(other):
            first = max(int(part.records.flag[other[0]]), 1)
            add_all(part.report, "label-width", part.records, other, f"has {first} labels, the first image has {usual}")

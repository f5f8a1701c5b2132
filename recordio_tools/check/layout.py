"""Consistency of the headers, labels and `property` of a packed set."""
from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np

from recordio_tools.check.scan import ScannedRecords
from recordio_tools.records.faults import FileReport
from recordio_tools.records.framing import EXACT, is_range
from recordio_tools.records.property import Property


class Headers(NamedTuple):
    """Positions of InsightFace's record 0 (-1: absent) and of the identities' header records, by their keys."""

    zero: int
    identities: np.ndarray


class Part(NamedTuple):
    """One `.rec` of a set: its records, its header records, and the report of its faults."""

    records: ScannedRecords
    headers: Headers
    report: FileReport


def find_headers(records: ScannedRecords) -> Headers:
    """The header records: without an image and with two labels; only where record 0 is one."""
    bare = np.flatnonzero(records.readable & ~records.image & (records.flag == 2))
    zero = bare[records.key[bare] == 0]
    if not len(zero):
        return Headers(-1, bare[:0])
    rest = bare[bare != zero[0]]
    return Headers(int(zero[0]), rest[np.argsort(records.key[rest], kind="stable")])


def header_classes(parts: Sequence[Part]) -> int | None:
    """How many identities the header records tell of; None where they do not: without record 0, or where it and the
    headers there do not agree, since a truncated file has lost some."""
    told = 0
    for records, headers, _ in (part for part in parts if part.headers.zero >= 0):
        keys = records.key[headers.identities]
        if len(records) < EXACT and not is_range(keys, *records.label[headers.zero].tolist()):
            return None
        told += len(keys)
    return told or None


def check_records(part: Part) -> None:
    """Checks for heads that are too short, records without an image that are not headers, and the headers' ranges."""
    records, report = part.records, part.report
    short = np.flatnonzero(~records.readable)
    if len(short):
        add_all(report, "record-header", records, short, f"holds {records.length[short[0]]} bytes, too few for its "
                "image header and labels")
    if part.headers.zero >= 0:
        _check_ranges(records, part.headers, report)
    bare = records.readable & ~records.image
    add_all(report, "no-content", records, np.flatnonzero(bare & (records.flag != 2)), "holds no image")
    orphans = np.flatnonzero(bare & (records.flag == 2) & (part.headers.zero < 0))
    if len(orphans):
        report.add("header-range", f"is one of {len(orphans)} header records, but record 0, which names them, is not "
                   "there", int(records.offset[orphans[0]]), int(records.key[orphans[0]]))


def add_all(report: FileReport, kind: str, records: ScannedRecords, positions: np.ndarray, message: str) -> None:
    """Count a fault for every position; the message is that of the first."""
    if len(positions):
        first = positions[0]
        report.add(kind, message, int(records.offset[first]), int(records.key[first]), len(positions))


def _check_ranges(records: ScannedRecords, headers: Headers, report: FileReport) -> None:
    """Record 0 must name the identities' headers, and these must partition the image records."""
    if len(records) >= EXACT:
        return
    identities, zero = headers.identities, headers.zero
    first, last = records.label[zero].tolist()
    if not is_range(records.key[identities], first, last):
        report.add("header-range", f"record 0 says that records {first:.0f} to {last - 1:.0f} are the identities' "
                   f"headers; there are {len(identities)} such records", int(records.offset[zero]), 0)
    begin, end = records.label[identities].astype(np.float64).T
    none = begin == end
    add_all(report, "no-images", records, identities[none], "the header says it has no images")
    with np.errstate(invalid="ignore"):
        proper = (begin >= 0) & (begin < end) & (end <= EXACT) & (begin == np.floor(begin)) & (end == np.floor(end))
    held, several = _ranges_hold(records, begin, end, proper)
    wrong = np.flatnonzero(~none & ~(held & ~several))
    if len(wrong):
        at = wrong[np.argmin(records.offset[identities[wrong]])]
        why = ("which have several labels" if held[at] and several[at] else
               "some of which are not image records, or others' too")
        report.add("header-range", f"says its images are records {begin[at]:.0f} to {end[at] - 1:.0f}, {why}",
                   int(records.offset[identities[at]]), int(records.key[identities[at]]), len(wrong))
    covered, images = int((end - begin)[held & ~several].sum()), int(records.image.sum())
    if covered != images and "header-range" not in report.faults:
        report.add("header-range", f"the headers account for {covered} images, there are {images}",
                   int(records.offset[zero]), 0)


def _ranges_hold(records: ScannedRecords, begin: np.ndarray, end: np.ndarray,
                 proper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each range of keys: is every one an image record, and of no range before; have these several labels?"""
    images = np.flatnonzero(records.image & (records.key >= 0))
    keys, first = np.unique(records.key[images], return_index=True)
    labels = records.label[images[first], 0]
    low, high = np.searchsorted(keys, np.where(proper, begin, 0)), np.searchsorted(keys, np.where(proper, end, 0))
    held = proper & (high - low == np.where(proper, end - begin, -1))
    order = np.argsort(np.where(held, begin, np.inf), kind="stable")
    reach = np.maximum.accumulate(np.where(held, end, 0)[order])
    held[order[1:]] &= begin[order[1:]] >= reach[:-1]
    changes = np.cumsum(np.append(0, labels[1:] != labels[:-1]))
    several = held.copy()
    several[held] = changes[high[held] - 1] != changes[low[held]]
    return held, several


def check_labels(parts: Sequence[Part], told: Property | None, complete: bool = True) -> list[np.ndarray]:
    """Labels and `property` over all parts of a set; returns each part's labels, int64, -1 for invalid ones.

    complete: these are all parts, so that labels without gaps are expected.
    """
    report = parts[0].report
    found = [part.records.label[part.records.image, 0] for part in parts]
    if not sum(map(len, found)):
        report.add("empty", "holds no image records", 0)
        return [np.empty(0, np.int64) for _ in parts]
    with_header = [part for part in parts if part.headers.zero >= 0]
    identities = sum(len(part.headers.identities) for part in with_header) if with_header else None
    classes = told.num_classes if told else header_classes(parts)
    numbers = [_whole(part, labels, classes) for part, labels in zip(parts, found)]
    present = np.unique(np.concatenate(numbers))
    present = present[present >= 0]
    if complete:
        _check_gaps(parts, numbers, present, classes)
    if told and identities is not None and told.num_classes != identities:
        report.add("property", f"says {told.num_classes} identities, there are {identities} header records of them", 0,
                   file="property")
    return numbers


def _whole(part: Part, labels: np.ndarray, classes: int | None) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        sound = (labels >= 0) & (labels < (EXACT if classes is None else classes)) & (labels == np.floor(labels))
    wrong = np.flatnonzero(~sound)
    if len(wrong):
        limit = f"a whole number from 0 to {EXACT - 1}" if classes is None else f"one of 0 to {classes - 1}"
        add_all(part.report, "label", part.records, np.flatnonzero(part.records.image)[wrong],
                f"the label is {labels[wrong[0]]:g}, not {limit}")
    return np.where(sound, labels, -1).astype(np.int64)


def _check_gaps(parts: Sequence[Part], numbers: list[np.ndarray], present: np.ndarray, classes: int | None) -> None:
    if len(present) < 2:
        part = next(part for part in parts if part.records.image.any())
        add_all(part.report, "one-identity", part.records, np.flatnonzero(part.records.image)[:1],
                f"holds {len(present)} identities; a classifier needs two")
    largest = int(present[-1]) if len(present) else -1
    if len(present) < largest + 1:
        place = int(np.flatnonzero(present != np.arange(len(present)))[0])
        part, position = _first_with(parts, numbers, int(present[place]))
        part.report.add("label-gap", f"no image has label {place}, the next one is {present[place]}, the "
                        f"largest {largest}", int(part.records.offset[position]), int(part.records.key[position]),
                        largest + 1 - len(present))
    if classes is not None and largest + 1 < classes and len(present):
        records, headers, report = parts[0]
        message = f"no image has label {largest + 1}, and there should be {classes} identities"
        behind = headers.identities[largest + 1:]
        claims = records.label[behind, 0] != records.label[behind, 1]  # those without images are reported already
        add_all(report, "no-images", records, behind[claims], message)
        if classes - largest - 1 > len(behind):
            report.add("no-images", message, 0, count=classes - largest - 1 - len(behind), file="property")


def _first_with(parts: Sequence[Part], numbers: list[np.ndarray], label: int) -> tuple[Part, int]:
    """The part and the position there of the first image with a label."""
    part, labels = next((part, labels) for part, labels in zip(parts, numbers) if (labels == label).any())
    return part, int(np.flatnonzero(part.records.image)[np.flatnonzero(labels == label)[0]])

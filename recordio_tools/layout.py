"""Whether the headers, labels and `property` of a packed set agree with one another."""
from __future__ import annotations

import numpy as np

from recordio_tools.faults import FileReport
from recordio_tools.property import Property
from recordio_tools.raw import Heads, RawFile

EXACT = 1 << 24  # header records hold record numbers as float32, which is exact up to here


def check_layout(raw: RawFile, offsets: np.ndarray, keys: np.ndarray, told: Property | None,
                 report: FileReport) -> tuple[np.ndarray, np.ndarray]:
    """(positions of the image records, their labels as int64, -1 for one that is no class); faults go to `report`.

    offsets, keys: int64 (N,), of all sound records.
    """
    heads = raw.heads_at(offsets)
    for position in np.flatnonzero(~heads.readable).tolist():
        report.add("record-header", f"holds {heads.length[position]} bytes, too few for an image header",
                   int(offsets[position]), int(keys[position]))
    images = np.flatnonzero(heads.has_image)
    bare = np.flatnonzero(heads.readable & ~heads.has_image)
    header = bare[(keys[bare] == 0) & (heads.flag[bare] == 2)]
    if len(header):
        _check_ranges(heads, offsets, keys, images, bare[bare != header[0]], int(header[0]), report)
    for position in bare[heads.flag[bare] != 2].tolist():
        report.add("no-content", "holds no image", int(offsets[position]), int(keys[position]))
    identities = int((heads.flag[bare] == 2).sum()) - 1 if len(header) else None
    labels = _check_labels(heads.label[images, 0], offsets[images], keys[images], told, identities, report)
    if told and identities is not None and told.num_classes != identities:
        report.add("property", f"says {told.num_classes} identities, there are {identities} header records of them")
    return images, labels


def _check_ranges(heads: Heads, offsets: np.ndarray, keys: np.ndarray, images: np.ndarray, identities: np.ndarray,
                  header: int, report: FileReport) -> None:
    """Record 0 must name the identities' headers, and these must share out the image records."""
    if len(keys) >= EXACT:
        return
    first, last = heads.label[header].tolist()
    if not np.array_equal(np.sort(keys[identities]), np.arange(first, last)):
        report.add("header-range", f"record 0 says that records {first:.0f} to {last - 1:.0f} are the identities' "
                   f"headers; there are {len(identities)} such records", int(offsets[header]), 0)
    by_key = dict(zip(keys[images].tolist(), heads.label[images, 0].tolist()))
    covered, claimed = 0, 0
    for position in identities.tolist():
        begin, end = heads.label[position].tolist()
        where = int(offsets[position]), int(keys[position])
        if begin == end:
            report.add("no-images", f"the header says records {begin:.0f} to {end:.0f}, which are none", *where)
            continue
        sound = 0 <= begin < end <= EXACT and begin == int(begin) and end == int(end)
        claimed += int(end - begin) if sound else 0
        sound = sound and claimed <= len(keys)  # overlapping ranges would take time without end
        # dict.pop: a record that two headers claim is there for the first only
        labels = {by_key.pop(key, None) for key in range(int(begin), int(end))} if sound else {None}
        if None in labels:
            report.add("header-range", f"says its images are records {begin:.0f} to {end - 1:.0f}, some of which are "
                       "no image records, or others' too", *where)
        elif len(labels) > 1:
            report.add("header-range", f"says its images are records {begin:.0f} to {end - 1:.0f}, which have several "
                       "labels", *where)
        else:
            covered += int(end - begin)
    if covered != len(images) and "header-range" not in report.faults:
        report.add("header-range", f"the headers account for {covered} images, there are {len(images)}",
                   int(offsets[header]), 0)


def _check_labels(labels: np.ndarray, offsets: np.ndarray, keys: np.ndarray, told: Property | None,
                  identities: int | None, report: FileReport) -> np.ndarray:
    if not len(labels):
        report.add("empty", "holds no image records")
        return np.empty(0, np.int64)
    classes = told.num_classes if told else identities
    with np.errstate(invalid="ignore"):
        sound = (labels >= 0) & (labels < (1 << 31 if classes is None else classes)) & (labels == np.floor(labels))
    for position in np.flatnonzero(~sound).tolist():
        limit = "a whole number from 0" if classes is None else f"one of 0 to {classes - 1}"
        report.add("label", f"the label is {labels[position]:g}, not {limit}", int(offsets[position]),
                   int(keys[position]))
    numbers = np.where(sound, labels, -1).astype(np.int64)
    present = np.unique(numbers[sound])
    if len(present) < 2:
        report.add("one-identity", f"holds {len(present)} identities; a classifier needs two")
    largest = int(present.max()) if len(present) else -1
    if len(present) < largest + 1:
        missing = int(np.flatnonzero(np.append(present, -1) != np.arange(len(present) + 1))[0])
        report.add("label-gap", f"no image has label {missing}, the largest label is {largest}",
                   count=largest + 1 - len(present))
    if classes is not None and largest + 1 < classes and len(present):
        report.add("no-images", f"no image has label {largest + 1}, and there should be {classes} identities",
                   count=classes - largest - 1)
    return numbers

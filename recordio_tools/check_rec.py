"""All that can be wrong with a packed set: frames, index, headers, labels, `property`, and every image."""
from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from recordio_tools import framing
from recordio_tools.errors import DataError
from recordio_tools.faults import FileReport
from recordio_tools.formats import is_cut_off
from recordio_tools.framing import FramingError
from recordio_tools.images import ImageError, decode
from recordio_tools.index import keys_of, read_index
from recordio_tools.layout import check_layout
from recordio_tools.parallel import ordered_map
from recordio_tools.progress import progress
from recordio_tools.property import Property, read_property
from recordio_tools.raw import RawFile
from recordio_tools.scanning import Scan, scan


def check_rec(path: Path, workers: int) -> FileReport:
    """Check a `.rec` with the `.idx` and the `property` beside it; DataError only where the file cannot be opened."""
    report = FileReport(str(path))
    with RawFile(path) as raw:
        known = _index(path.with_suffix(".idx"), report)
        found = scan(raw, set(known[1].tolist()) if known else set(), report)
        keys = _match(raw, known, found, report)
        told = _property(path.with_name("property"), report)
        images, labels = check_layout(raw, found.offsets, keys, told, report)
        report.holds.update(images=len(images), identities=len(np.unique(labels[labels >= 0])), bytes=raw.size)
        _check_images(raw, found.offsets[images], keys[images], told, workers, report)
    return report


def _index(path: Path, report: FileReport) -> tuple[np.ndarray, np.ndarray] | None:
    if not path.is_file():
        return None
    try:
        return read_index(path)
    except DataError as error:
        report.add("index-file", str(error))
        return None


def _match(raw: RawFile, known: tuple[np.ndarray, np.ndarray] | None, found: Scan, report: FileReport) -> np.ndarray:
    """The key of each record that was found, int64 (N,), -1 where the index has none."""
    if known is None:
        return keys_of(found.ids)
    keys, offsets = known
    order = np.argsort(keys, kind="stable")
    for position in order[1:][keys[order][1:] == keys[order][:-1]].tolist():
        report.add("duplicate-key", f"the index has the key {keys[position]} twice", int(offsets[position]),
                   int(keys[position]))
    by_offset = np.argsort(offsets, kind="stable")
    place = np.searchsorted(offsets[by_offset], found.offsets)
    candidate = by_offset[np.minimum(place, len(offsets) - 1)] if len(offsets) else np.zeros(len(found.offsets), int)
    matched = offsets[candidate] == found.offsets if len(offsets) else np.zeros(len(found.offsets), bool)
    for offset in found.offsets[~matched].tolist():
        report.add("not-in-index", "a record begins here that the index does not know", offset)
    for position in np.flatnonzero(~np.isin(offsets, found.offsets)).tolist():
        report.add("index-entry", f"the index puts record {keys[position]} at byte {offsets[position]}, where no sound "
                   f"record begins (the file has {raw.size} bytes)", int(offsets[position]), int(keys[position]))
    return np.where(matched, keys[candidate], -1) if len(offsets) else np.full(len(found.offsets), -1)


def _property(path: Path, report: FileReport) -> Property | None:
    if not path.is_file():
        return None
    try:
        return read_property(path)
    except DataError as error:
        report.add("property", str(error))
        return None


def _check_images(raw: RawFile, offsets: np.ndarray, keys: np.ndarray, told: Property | None, workers: int,
                  report: FileReport) -> None:
    """Decode everything; without `property` the size of the first image is the one all must have."""
    expected = (told.height, told.width) if told else None
    places = list(zip(offsets.tolist(), keys.tolist()))
    results = ordered_map(functools.partial(_examine, raw), offsets.tolist(), workers)
    for (offset, key), (size, kind, message) in zip(places, progress(results, len(places), "check")):
        if kind:
            report.add(kind, message, offset, key)
        if size is None:
            continue
        expected = expected or size
        if size != expected:
            report.add("size", f"is {size[0]}x{size[1]}, not {expected[0]}x{expected[1]} (height x width)", offset, key)
    if expected:
        report.holds.update(height=expected[0], width=expected[1])


def _examine(raw: RawFile, offset: int) -> tuple[tuple[int, int] | None, str, str]:
    """(size or None, kind of fault or '', message) of the image in the record at `offset`."""
    try:
        content = framing.unpack(raw.content_at(offset)[0]).image
    except FramingError as error:
        return None, "record-header", str(error)
    return examine_image(content)


def examine_image(content: bytes) -> tuple[tuple[int, int] | None, str, str]:
    """(size or None, kind of fault or '', message) of an encoded image."""
    try:
        size = decode(content).shape[:2]
    except ImageError as error:
        return None, "undecodable", str(error)
    if is_cut_off(content):
        return size, "cut-off-image", "the image file lacks its end"
    return size, "", ""

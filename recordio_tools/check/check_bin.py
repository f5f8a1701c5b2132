"""Validation of a verification set."""
from __future__ import annotations

import collections
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DataError
from common.files import read_regular
from common.progress import progress
from common.workers import ordered_map
from images.codec import Examined, examine_image
from images.formats import unlike_in_mxnet
from recordio_tools.bins.binfile import BinFault, count_fault, image_bytes, read_values
from recordio_tools.bins.odd_pairs import find_odd_pairs
from recordio_tools.records.faults import FileReport

FOLDS = 10


@dataclass(frozen=True)
class CheckedBin:
    """report; images: the bytes of each, or None for invalid ones; usable bool (N,): it decodes, is complete and as
    large as most; same: bool, one a pair."""

    report: FileReport
    images: list[bytes | None]
    usable: np.ndarray
    same: np.ndarray


def examine_bin(path: Path, workers: int, folds: int = FOLDS) -> CheckedBin:
    """Check a `.bin`: the pickle, the pairs, so many folds, every image; a fault's `record` is the image's number from
    0. The contents are kept for repair."""
    report = FileReport(str(path))
    try:
        values, same = read_values(path)
    except DataError as error:
        report.add("bin-file", str(error), error.byte if isinstance(error, BinFault) else None, file="bin")
        return CheckedBin(report, [], np.zeros(0, bool), np.zeros(0, bool))
    report.holds.update(pairs=len(same), same=int(same.sum()), images=len(values), bytes=path.stat().st_size)
    found = list(progress(ordered_map(_examine, values, workers), len(values), "check"))
    images = [image if type(image) is bytes else None for image in map(image_bytes, values)]
    del values
    expected = _common_size(found)
    places = _Places(path, images)
    for number, one in enumerate(found):
        problems = [(one.kind, one.message)] if one.kind else []
        if one.size and expected and one.size != expected:
            problems.append(("size", f"is {one.size[0]}x{one.size[1]}, most are {expected[0]}x{expected[1]} (height x "
                             "width)"))
        for kind, message in problems:
            known = kind in report.faults
            report.add(kind, f"image {number} (pair {number // 2}, from 0): {message}",
                       None if known else places.of(number), number, file="bin")
    if expected:
        report.holds.update(height=expected[0], width=expected[1])
    _check_pairs(same, len(images), places, report, folds)
    _note_odd_pairs(images, same, places, report)
    _note_kinds(images, report)
    usable = np.array([not one.kind and one.size in (None, expected) for one in found], bool)
    return CheckedBin(report, images, usable, same)


def _examine(value: Any) -> Examined:
    image = image_bytes(value)
    return Examined("undecodable", None, image) if isinstance(image, str) else examine_image(image)


def _common_size(found: list[Examined]) -> tuple[int, int] | None:
    counts = collections.Counter(one.size for one in found if one.size is not None)
    return counts.most_common(1)[0][0] if counts else None


class _Places:
    """Offsets of images in a `.bin`, located only for faulty ones."""

    def __init__(self, path: Path, images: list[bytes | None]) -> None:
        self.path, self.images = path, images
        self.content: bytes | None = None

    def of(self, number: int) -> int | None:
        """The byte at which an image begins; None where it is stored in neither of the usual ways.

        Those are the bytes as they are, and, by Python 3 for Python 2, as text of the characters 0 to 255 in UTF-8.
        """
        image = self.images[number] if number < len(self.images) else None
        if not image:
            return None
        if self.content is None:
            self.content = read_regular(self.path)
        place = self.content.find(image)
        place = place if place >= 0 else self.content.find(image.decode("latin-1").encode("utf-8"))
        return place if place >= 0 else None


def _note_odd_pairs(images: list[bytes | None], same: np.ndarray, places: _Places, report: FileReport) -> None:
    if len(images) != 2 * len(same) or None in images:
        return
    for what, pairs in find_odd_pairs(images, same).kinds:
        for pair in pairs:
            report.add("odd-pair", f"pair {pair} (from 0): {what}", places.of(2 * pair), 2 * pair, file="bin",
                       reason=what)


def _note_kinds(images: list[bytes | None], report: FileReport) -> None:
    for number, image in enumerate(images):
        told = image and unlike_in_mxnet(image)
        if told:
            report.add("other-readers", f"image {number} (from 0): {told}", None, number, file="bin", reason=told)


def _check_pairs(same: np.ndarray, images: int, places: _Places, report: FileReport, folds: int) -> None:
    if images != 2 * len(same):
        report.add("pair-count", f"holds {count_fault(images, len(same))}", places.of(min(images, 2 * len(same))),
                   file="bin")
    if len(same) < folds:
        report.add("few-pairs", f"{len(same)} pairs are fewer than the {folds} folds of verification",
                   places.of(0), file="bin")
        return
    for number, start, part in one_class_folds(same, folds):
        report.add("one-class-fold", f"fold {number} of {folds} holds {len(part)} "
                   f"{'same' if part.all() else 'different'} pairs and no others", places.of(2 * start), 2 * start,
                   file="bin")


def one_class_folds(same: np.ndarray, folds: int = FOLDS) -> list[tuple[int, int, np.ndarray]]:
    """(number from 1, first pair, values) of each fold of same pairs only, or of different pairs only."""
    parts = np.array_split(same, folds)
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    return [(number, start, part) for number, (start, part) in enumerate(zip(starts, parts), 1)
            if len(part) > 1 and part.all() == part.any()]

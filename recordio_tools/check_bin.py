"""All that can be wrong with a verification set."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from recordio_tools.binfile import read_bin
from recordio_tools.check_rec import examine_image
from recordio_tools.errors import DataError
from recordio_tools.faults import FileReport
from recordio_tools.parallel import ordered_map
from recordio_tools.progress import progress

FOLDS = 10


def check_bin(path: Path, workers: int) -> FileReport:
    """Check a `.bin`: the pickle, the pairs and folds, every image; a fault's `record` is the image's number from 0."""
    report = FileReport(str(path))
    try:
        images, same = read_bin(path)
    except DataError as error:
        report.add("bin-file", str(error))
        return report
    report.holds.update(pairs=len(same), same=int(same.sum()), images=len(images), bytes=path.stat().st_size)
    _check_pairs(same, report)
    expected = None
    results = progress(ordered_map(examine_image, images, workers), len(images), "check")
    for number, (size, kind, message) in enumerate(results):
        if kind:
            report.add(kind, f"image {number} (pair {number // 2}, from 0): {message}", record=number)
        if size is None:
            continue
        expected = expected or size
        if size != expected:
            report.add("size", f"image {number} (pair {number // 2}, from 0): is {size[0]}x{size[1]}, the first is "
                       f"{expected[0]}x{expected[1]} (height x width)", record=number)
    if expected:
        report.holds.update(height=expected[0], width=expected[1])
    return report


def _check_pairs(same: np.ndarray, report: FileReport) -> None:
    if len(same) < FOLDS:
        report.add("few-pairs", f"{len(same)} pairs are fewer than the {FOLDS} folds of verification")
        return
    for number, part in enumerate(np.array_split(same, FOLDS), 1):
        if len(part) > 1 and part.all() == part.any():
            report.add("one-class-fold", f"fold {number} of {FOLDS} holds {len(part)} "
                       f"{'same' if part.all() else 'different'} pairs and no others")

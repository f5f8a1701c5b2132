"""`allpairs` against the bare matrix products: the time of all pairs relative to the cosines alone, and the memory.

The bare side is every block of cosines of an image with every later one, by BLAS on all cores, discarded. Ours also
extracts the genuine pairs, counts every impostor pair and keeps the largest. `python -m benchmarks allpairs` measures
the ratio on 20,000 images; the memory is that of a process that scores `IMAGES` images against each other and computes
intervals.
"""
from __future__ import annotations

import functools
import os
import statistics
from typing import Iterator

import numpy as np

from benchmarks.harness import peak_memory, speed_ratios, take_turns
from benchmarks.table import Row
from eval.all_pairs import BLOCK, Side, score_all_pairs
from eval.operating_points import operating_point
from eval.scores import normalise
from eval.set_scoring import scores_to_keep

DIMENSIONS = (512, 128)
TIMED, EACH = 20_000, 10  # images, and of each person
IMAGES = int(os.environ.get("BENCHMARK_IMAGES", "100000"))  # of the memory row
KEPT = scores_to_keep((1e-2, 1e-3, 1e-4, 1e-5), TIMED * (TIMED - 1) // 2)
BARE, OURS = "products", "all pairs"
MEMORY = """
import sys
import numpy as np
from benchmarks.all_pairs import drawn
from eval.set_scoring import labelled_pairs, score_labelled
side = drawn(int(sys.argv[1]), 128)
people = [str(person) for person in range(int(side.person.max()) + 1)]
pairs = labelled_pairs(side.person, people, (np.arange(len(side.person)), None), None, 20)
score_labelled("drawn", side.unit, pairs, (1e-2, 1e-3, 1e-4, 1e-5))
"""


def drawn(images: int, dimension: int) -> Side:
    """Synthetic identities, each around its own direction, so that genuine pairs have the larger cosines."""
    random = np.random.RandomState(0)
    person = np.repeat(np.arange(-(-images // EACH)), EACH)[:images]
    centres = random.normal(size=(person[-1] + 1, dimension)).astype(np.float32)
    unit = centres[person]
    for first in range(0, images, 4096):  # no second array of all
        unit[first:first + 4096] = normalise(unit[first:first + 4096] + 1.5 * random.normal(
            size=unit[first:first + 4096].shape))
    return Side(unit, person)


def bare_products(unit: np.ndarray) -> float:
    """Every block on and above the diagonal; the largest first cosine of a block, so that they are computed."""
    room, largest = np.empty((BLOCK, BLOCK), np.float32), 0.0
    for top in range(0, len(unit), BLOCK):
        for begin in range(top, len(unit), BLOCK):
            rows, columns = unit[top:top + BLOCK], unit[begin:begin + BLOCK]
            out = room.reshape(-1)[:len(rows) * len(columns)].reshape(len(rows), len(columns))
            np.dot(rows, columns.T, out=out)
            largest = max(largest, float(out[0, 0]))
    return largest


def rows(repeats: int) -> Iterator[Row]:
    """A row for each length of embedding, and one of the memory."""
    for dimension in DIMENSIONS:
        side = drawn(TIMED, dimension)
        _check(side)
        seconds = take_turns({BARE: functools.partial(bare_products, side.unit),
                              OURS: functools.partial(score_all_pairs, side, keep=KEPT)}, repeats)
        spent = {name: statistics.median(values) for name, values in seconds.items()}
        yield Row(f"all pairs of {TIMED} images, {dimension}-d, against the products alone",
                  speed_ratios(seconds, OURS, BARE), 2.0, 2.0,
                  f"{spent[OURS]:.2f} s against {spent[BARE]:.2f} s", least=True)
    peak = peak_memory(["-c", MEMORY, str(IMAGES)])
    yield Row(f"memory of all pairs of {IMAGES} images, 128-d, with intervals", [peak / (1 << 30)], 1.0, 1.0,
              f"{peak / (1 << 20):.0f} MiB at the most", least=True)


def _check(side: Side) -> None:
    """That the rate at an FPR of 0.1% is that of plain numpy, on the first images."""
    unit, person = side.unit[:1000], side.person[:1000]
    scored = score_all_pairs(Side(unit, person))
    one, two = np.triu_indices(len(unit), 1)
    cosines, same = (unit @ unit.T)[one, two], person[one] == person[two]
    impostors = np.sort(cosines[~same])[::-1]
    expected = float((cosines[same] > impostors[int(1e-3 * len(impostors))]).mean())
    found = operating_point(scored.genuine, scored.tail, scored.impostors, 1e-3).tpr
    if found is None or abs(found - expected) > 1e-3:
        raise RuntimeError("the rates differ, so the sides are not comparable")

"""Class sampling of a step (Partial FC; An et al. 2021, arXiv:2010.05222).

All classes of the batch, the positives, and random negatives up to a sampling rate. The sample is a pure function of
the seed and the step, so a resumed run samples as an uninterrupted one.
"""
from __future__ import annotations

import math

import numpy as np

STREAM = 2  # distinct from those that training.data derives from the same seed with other generators


def choose_rows(labels: np.ndarray, low: int, high: int, rate: float, seed: int, step: int) -> np.ndarray:
    """The sampled classes among low .. high - 1, minus low, ascending, int32.

    labels: (N,) of the whole step, of any classes. The positives are all included, even where they alone are more than
    rate of the classes; negatives fill up to that number, rounded up, with equal probability.
    """
    count = high - low
    positive = np.unique(labels[(labels >= low) & (labels < high)]) - low
    free = count - len(positive)
    wanted = min(max(math.ceil(rate * count) - len(positive), 0), free)
    taken = np.zeros(count, bool)
    if wanted <= free // 2:
        taken[_draw(positive, free, wanted, (seed, STREAM, step, low))] = True
    else:  # fewer to sample: those that are left out
        taken[:] = True
        taken[_draw(positive, free, free - wanted, (seed, STREAM, step, low))] = False
    taken[positive] = True
    return np.flatnonzero(taken).astype(np.int32)


def _draw(positive: np.ndarray, free: int, wanted: int, seed: tuple[int, ...]) -> np.ndarray:
    """`wanted` of the classes that are not positive, without a permutation of all of them: a tenth of a million classes
    takes a third of its time, and a hundredth a hundredth."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    places = random.choice(free, wanted, replace=False, shuffle=False)  # among the negatives
    return places + np.searchsorted(positive - np.arange(len(positive)), places, "right")

"""Which classes take part in a step (Partial FC; An et al. 2021, arXiv:2010.05222).

All classes that the batch has, the positives, and as many others at random as a rate allows. The choice is a function
of the seed and the step alone, so a resumed run makes the choices of the run that was never stopped.
"""
from __future__ import annotations

import math

import numpy as np

STREAM = 2  # beside those that training.data.loader draws from the same seed


def choose_rows(labels: np.ndarray, low: int, high: int, rate: float, seed: int, step: int) -> np.ndarray:
    """Of the classes low .. high - 1, those that take part, less low, rising, int32.

    labels: (N,) of the whole step, of any classes. Their own classes are all taken, even where they alone are more than
    rate of the classes; the others fill up to that number, rounded up, each as likely as the next.
    """
    count = high - low
    positive = np.unique(labels[(labels >= low) & (labels < high)]) - low
    free = count - len(positive)
    wanted = min(max(math.ceil(rate * count) - len(positive), 0), free)
    taken = np.zeros(count, bool)
    if wanted <= free // 2:
        taken[_draw(positive, free, wanted, (seed, STREAM, step, low))] = True
    else:  # fewer to draw: those that stay out
        taken[:] = True
        taken[_draw(positive, free, free - wanted, (seed, STREAM, step, low))] = False
    taken[positive] = True
    return np.flatnonzero(taken).astype(np.int32)


def _draw(positive: np.ndarray, free: int, wanted: int, seed: tuple[int, ...]) -> np.ndarray:
    """`wanted` of the classes that are not positive, without a permutation of all of them: a tenth of a million classes
    takes a third of its time, and a hundredth a hundredth."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    places = random.choice(free, wanted, replace=False, shuffle=False)  # among those that are free
    return places + np.searchsorted(positive - np.arange(len(positive)), places, "right")

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
    positive = np.zeros(count, bool)
    positive[labels[(labels >= low) & (labels < high)] - low] = True
    wanted = math.ceil(rate * count) - np.count_nonzero(positive)
    if wanted > 0:
        order = np.random.RandomState([seed, STREAM, step, low]).permutation(count)
        positive[order[~positive[order]][:wanted]] = True
    return np.flatnonzero(positive).astype(np.int32)

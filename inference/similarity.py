"""Nearest neighbours by cosine among many unit vectors, block by block."""
from __future__ import annotations

from typing import Iterator

import numpy as np

from common.errors import UserError
from common.progress import progress

BLOCK = 2048  # a block of cosines takes 16 MiB
MOST_MATCHES = 1_000_000


def best_matches(vectors: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row of `others` that is nearest, cosine) for each of `vectors`; float32 (N, D) and (M, D) of length 1 or 0.

    Memory beyond the two is a block; the first of equal ones wins.
    """
    place = np.zeros(len(vectors), np.int64)
    cosine = np.full(len(vectors), -np.inf, np.float32)
    for start, stop in _blocks(len(vectors), "compare"):
        for first in range(0, len(others), BLOCK):
            block = vectors[start:stop] @ others[first:first + BLOCK].T
            nearest = block.argmax(axis=1)
            value = block[np.arange(stop - start), nearest]
            better = value > cosine[start:stop]
            place[start:stop][better] = first + nearest[better]
            cosine[start:stop][better] = value[better]
    return place, cosine


def pairs_above(vectors: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(pairs (P, 2) of rows i < j whose cosine is `threshold` or more, their cosines), sorted by i, then j.

    UserError where there are more than a million.
    """
    pairs, cosines, count = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)], 0
    for start, stop in _blocks(len(vectors), "compare"):
        rows = []
        for first in range(start, len(vectors), BLOCK):
            block = vectors[start:stop] @ vectors[first:first + BLOCK].T
            one, other = np.nonzero(block >= threshold)
            upper = start + one < first + other
            one, other = one[upper], other[upper]
            rows.append((start + one, first + other, block[one, other]))
            count += len(one)
            if count > MOST_MATCHES:
                raise UserError(f"`threshold` {threshold:g}: more than {MOST_MATCHES:,} pairs of identities are as "
                                "similar; raise it")
        one, other, value = (np.concatenate(column) for column in zip(*rows))
        order = np.lexsort((other, one))
        pairs.append(np.stack([one[order], other[order]], 1))
        cosines.append(value[order])
    return np.concatenate(pairs), np.concatenate(cosines)


def _blocks(count: int, what: str) -> Iterator[tuple[int, int]]:
    starts = range(0, count, BLOCK)
    for start in progress(starts, len(starts), what, "blocks"):
        yield start, min(start + BLOCK, count)

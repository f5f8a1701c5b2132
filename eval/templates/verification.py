"""1:1 verification of templates: scores of millions of pairs, and the rates by both conventions in use."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterable

import numpy as np

from eval.operating_points import OperatingPoint, operating_point

BLOCK = 1 << 15  # pairs per block
NOTHING = -2.0  # the score of a pair with a template of no usable image: below every cosine


@dataclass(frozen=True)
class PairScores:
    """genuine, impostor: float32 cosines, ascending. genuine_pair, impostor_pair: (pairs, 2) int32, the templates of
    each, by index; None where they were not requested."""

    genuine: np.ndarray
    impostor: np.ndarray
    genuine_pair: np.ndarray | None = None
    impostor_pair: np.ndarray | None = None


def score_pairs(unit: np.ndarray, pairs: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
                step: Callable[[int], object] = lambda pairs: None, identities: bool = False) -> PairScores:
    """Cosines of (T, D) normalised templates; pairs: (left, right, same) parts. Four bytes a pair are kept, and eight
    more where the pairs' own templates are wanted (`identities`)."""
    empty = ~unit.any(axis=1)
    kinds: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    whose: list[list[list[np.ndarray]]] = [[[], []], [[], []]]  # of genuine and impostor pairs, left and right
    for left, right, same in pairs:
        scores = np.empty(len(left), np.float32)
        for first in range(0, len(left), BLOCK):
            rows = slice(first, first + BLOCK)
            scores[rows] = np.einsum("nd,nd->n", unit[left[rows]], unit[right[rows]])
            step(len(left[rows]))
        scores[empty[left] | empty[right]] = NOTHING
        for kind, those in enumerate((same, ~same)):
            kinds[kind].append(scores[those])
            if identities:
                for side, places in zip(whose[kind], (left, right)):
                    side.append(places[those].astype(np.int32))
    genuine, impostor = (np.concatenate([np.zeros(0, np.float32), *some]) for some in kinds)
    for some in kinds:
        some.clear()
    if not identities:
        genuine.sort()
        impostor.sort()
        return PairScores(genuine, impostor)
    rising, pairs_of, waiting = [], [], [impostor, genuine]
    del genuine, impostor
    for sides in whose:
        order, values = _rising(waiting.pop())
        rising.append(values)
        ordered = np.empty((len(order), 2), np.int32)
        for column, parts in enumerate(sides):  # one after the other, which halves the peak memory
            joined = np.concatenate([np.zeros(0, np.int32), *parts])
            parts.clear()
            ordered[:, column] = joined[order]
            del joined
        pairs_of.append(ordered)
        del order
    return PairScores(rising[0], rising[1], pairs_of[0], pairs_of[1])


def _rising(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int32 the stable order, and the values in it, of float32 values that are finite: each sorted as one number
    of its bits and its place, which takes half the memory of an argsort, and less time."""
    keys, parts = np.empty(len(values), np.uint64), [slice(first, first + BLOCK)
                                                     for first in range(0, len(values), BLOCK)]
    for part in parts:  # in parts, for temporary arrays of all would take several times as much again
        bits = values[part].view(np.uint32)
        keys[part] = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
        keys[part] <<= np.uint64(32)
        keys[part] |= np.arange(part.start, part.start + len(bits), dtype=np.uint64)
    del values
    keys.sort()
    order, rising = np.empty(len(keys), np.int32), np.empty(len(keys), np.float32)
    for part in parts:
        order[part] = keys[part] & np.uint64(0xFFFFFFFF)
        bits = (keys[part] >> np.uint64(32)).astype(np.uint32)
        rising[part] = np.where(bits >> 31, bits & np.uint32(0x7FFFFFFF), ~bits).view(np.float32)
    return order, rising


def rates(scores: PairScores, fpr: float) -> OperatingPoint:
    """At the largest observed FPR that does not exceed `fpr`: the project's convention."""
    return operating_point(scores.genuine, scores.impostor[::-1], len(scores.impostor), fpr)


def nearest_curve(scores: PairScores) -> tuple[np.ndarray, np.ndarray]:
    """(FPR, TPR) of the points that scikit-learn's `roc_curve` gives with its defaults: every threshold, less those
    between two others on a straight line. Published numbers are read off it."""
    falling = np.concatenate([scores.genuine, scores.impostor])
    np.negative(falling, out=falling)
    falling.sort()
    last = np.append(np.flatnonzero(falling[1:] != falling[:-1]).astype(np.int32), np.int32(len(falling) - 1))
    positives = np.empty(len(last), np.int32)
    for first in range(0, len(last), BLOCK):
        values = -falling[last[first:first + BLOCK]]
        positives[first:first + BLOCK] = len(scores.genuine) - np.searchsorted(scores.genuine, values, "left")
    del falling
    negatives = last + 1 - positives
    del last
    if len(positives) > 2:
        bend = (np.diff(negatives, 2) != 0) | (np.diff(positives, 2) != 0)
        kept = np.concatenate([[True], bend, [True]])
        positives, negatives = positives[kept], negatives[kept]
    return (np.concatenate([[0.0], negatives / len(scores.impostor)]),
            np.concatenate([[0.0], positives / len(scores.genuine)]))


def nearest_point(curve: tuple[np.ndarray, np.ndarray], fpr: float) -> tuple[float, float]:
    """FPR and TPR of the point whose FPR is nearest to `fpr`, on either side; of several equally near, the one of the
    largest."""
    distance = np.abs(curve[0] - fpr)
    place = len(distance) - 1 - int(np.argmin(distance[::-1]))
    return float(curve[0][place]), float(curve[1][place])

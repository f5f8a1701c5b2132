"""Percentile bootstrap of rates: over people where they are known, else over pairs.

A resample draws as many people as there are, with replacement. A pair of images then weighs the product of its
people's multiplicities: of two people an impostor pair, of one a genuine pair, since a person who is drawn twice is not
his own impostor and brings no new genuine pairs. Several models are judged on the same resamples, so that their
differences have intervals of their own.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.all_pairs import AllPairs
from eval.metrics import crossing
from eval.operating_points import SLACK

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Where a rate lies in `level` of the resamples."""

    low: float
    high: float
    level: float = LEVEL


def draw_resamples(units: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """(resamples, units) int32: how often each person, or pair, is drawn."""
    random = np.random.RandomState(seed)
    return np.stack([np.bincount(random.randint(0, units, units), minlength=units) for _ in range(resamples)]).astype(
        np.int32)


def interval(draws: np.ndarray, level: float = LEVEL) -> Interval:
    """Of (resamples,) values of a rate; values that are not numbers (a resample without a pair) are left out."""
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return Interval(float("nan"), float("nan"), level)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def share_of_other_sign(difference: float, draws: np.ndarray) -> float:
    """The share of resamples in which a difference between two models has not the sign of `difference`; those with no
    difference count half."""
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return float("nan")
    other = np.sign(draws) == -np.sign(difference) if difference else draws != 0
    return float(np.mean(other) + np.mean(draws == 0) / 2) if difference else 0.5


def weighted_tpr(genuine: np.ndarray, genuine_weight: np.ndarray, tail: np.ndarray, tail_weight: np.ndarray,
                 impostor_weight: float, target: float) -> float:
    """TPR at FPR `target` where pairs have weights; with equal ones it is `operating_points`' to the last bit.

    genuine rising, tail falling, both with the weights of their pairs; impostor_weight: of all impostor pairs. NaN
    where nothing is genuine or an impostor, or the tail is too short.
    """
    total = genuine_weight.sum()
    if not total or not impostor_weight:
        return np.nan
    passed = np.cumsum(tail_weight)
    first = int(np.searchsorted(passed, target * impostor_weight * SLACK, "right"))  # the first too many
    if first >= len(tail):
        return np.nan if passed[-1] < impostor_weight else 1.0
    start = int(np.searchsorted(genuine, tail[first], "right"))
    return float(genuine_weight[start:].sum() / total)


class PeopleBootstrap:
    """TPR of all pairs of labelled images, on resamples of their people.

    left, right: (N,) the person of each image, as numbers from 0 to people - 1; right None where the left were scored
    against themselves.
    """

    def __init__(self, people: int, left: np.ndarray, right: np.ndarray | None, resamples: int = RESAMPLES,
                 seed: int = 0) -> None:
        self.multiplicity = draw_resamples(people, resamples, seed)
        self._left, self._right = left, left if right is None else right
        ours = np.bincount(left, minlength=people).astype(np.float64)
        theirs = np.bincount(self._right, minlength=people).astype(np.float64)
        drawn = self.multiplicity.astype(np.float64)
        all_pairs, own_pairs = (drawn @ ours) * (drawn @ theirs), (drawn ** 2) @ (ours * theirs)
        self.impostor_weight = (all_pairs - own_pairs) / (1 if right is not None else 2)

    def tpr(self, scored: AllPairs, target: float) -> np.ndarray:
        """(resamples,) TPR at FPR `target`."""
        one, two = self._left[scored.tail_pair[:, 0]], self._right[scored.tail_pair[:, 1]]
        draws = np.empty(len(self.multiplicity))
        for number, drawn in enumerate(self.multiplicity):
            draws[number] = weighted_tpr(scored.genuine, drawn[scored.genuine_person], scored.tail,
                                         drawn[one] * drawn[two], self.impostor_weight[number], target)
        return draws


def pairs_tpr(cosines: np.ndarray, same: np.ndarray, target: float, resamples: np.ndarray) -> np.ndarray:
    """(resamples,) TPR at FPR `target` of (pairs,) scores, large for the same person; resamples: (R, pairs)."""
    same = np.asarray(same, bool)
    rising = np.argsort(cosines[same], kind="stable")
    falling = np.argsort(-cosines[~same], kind="stable")
    genuine, tail = cosines[same][rising], cosines[~same][falling]
    return np.array([weighted_tpr(genuine, drawn[same][rising], tail, drawn[~same][falling],
                                  float(drawn[~same].sum()), target) for drawn in resamples])


def pairs_curve_rates(scores: np.ndarray, same: np.ndarray, resamples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(resamples,) EER and AUC of (pairs,) squared distances, as `metrics` has them; resamples: (R, pairs)."""
    order = np.argsort(scores, kind="stable")
    scores, same = scores[order], np.asarray(same, bool)[order]
    last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    eers, areas = np.full(len(resamples), np.nan), np.full(len(resamples), np.nan)
    for number, drawn in enumerate(resamples):
        weight = drawn[order]
        positives, negatives = np.cumsum(weight * same)[last], np.cumsum(weight * ~same)[last]
        if positives[-1] and negatives[-1]:
            fpr, tpr = np.append(0, negatives / negatives[-1]), np.append(0, positives / positives[-1])
            eers[number], areas[number] = crossing(fpr, tpr), np.trapz(tpr, fpr)
    return eers, areas

"""Percentile bootstrap of rates: over identities where they are known, else over pairs.

A resample consists of as many identities as there are, sampled with replacement. The weight of an impostor pair is the
product of its two identities' multiplicities, that of a genuine pair its identity's: an identity sampled twice is not
its own impostor and adds no new genuine pairs. Several models are evaluated on the same resamples, so that their
differences have intervals of their own.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from eval.all_pairs import AllPairs
from eval.metrics import crossing
from eval.operating_points import SLACK

RESAMPLES = 1000
LEVEL = 0.95
SPARE = 4  # multiple of the impostor scores that an FPR needs: a resample may need more


@dataclass(frozen=True)
class Interval:
    """The interval of a rate in the fraction LEVEL of the resamples."""

    low: float
    high: float


def draw_resamples(units: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """(resamples, units) int32: multiplicity of each identity, or pair."""
    random, drawn = np.random.RandomState(seed), np.empty((resamples, units), np.int32)
    for row in drawn:
        row[:] = np.bincount(random.randint(0, units, units), minlength=units)
    return drawn


def interval(draws: np.ndarray) -> Interval:
    """Of (resamples,) values of a rate; values that are not numbers (a resample without a pair) are left out."""
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def share_of_other_sign(difference: float, draws: np.ndarray) -> float:
    """The fraction of resamples in which a difference between two models does not have the sign of `difference`; those
    with no difference count half."""
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return float("nan")
    other = np.sign(draws) == -np.sign(difference) if difference else draws != 0
    return float(np.mean(other) + np.mean(draws == 0) / 2) if difference else 0.5


def differences(to: str, ours: Mapping[str, float | None], theirs: Mapping[str, float | None],
                draws: Mapping[str, np.ndarray], their_draws: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """For JSON, by rate: the difference to the model `to`, with its interval and the fraction of resamples of the other
    sign. ours, theirs: the rates, None where one is not given; draws: (resamples,) values of each on equal resamples.
    """
    found = {}
    for name, drawn in draws.items():
        one, other = ours[name], theirs[name]
        if one is not None and other is not None:
            change, apart = one - other, drawn - their_draws[name]
            limits = interval(apart)
            found[name] = {"to": to, "value": change, "interval": [limits.low, limits.high],
                           "other_sign": share_of_other_sign(change, apart)}
    return found


def weighted_tpr(genuine: np.ndarray, genuine_weight: np.ndarray, tail: np.ndarray, tail_weight: np.ndarray,
                 impostor_weight: float, target: float) -> float:
    """TPR at FPR `target` where pairs have weights; with equal ones it is `operating_points`' to the last bit.

    genuine ascending, tail descending, both with the weights of their pairs; impostor_weight: of all impostor pairs.
    NaN where there are no genuine or no impostor pairs, or the tail is too short.
    """
    total = genuine_weight.sum()
    if not total or not impostor_weight:
        return np.nan
    passed = np.cumsum(tail_weight)
    first = int(np.searchsorted(passed, target * impostor_weight * SLACK, "right"))  # the first beyond the allowed
    if first >= len(tail):
        return np.nan if passed[-1] < impostor_weight else 1.0
    start = int(np.searchsorted(genuine, tail[first], "right"))
    return float(genuine_weight[start:].sum() / total)


class PeopleBootstrap:
    """TPR of all pairs of labelled images, on resamples of their identities.

    left, right: (N,) the identity of each image, from 0 to people - 1; right None where the left were scored against
    themselves. multiplicity: (resamples, people), where it is sampled already.
    """

    def __init__(self, people: int, left: np.ndarray, right: np.ndarray | None, resamples: int = RESAMPLES,
                 seed: int = 0, multiplicity: np.ndarray | None = None) -> None:
        self.multiplicity = draw_resamples(people, resamples, seed) if multiplicity is None else multiplicity
        self._left, self._right = left, left if right is None else right
        ours = np.bincount(left, minlength=people).astype(np.float64)
        theirs = np.bincount(self._right, minlength=people).astype(np.float64)
        drawn = self.multiplicity.astype(np.float64)
        all_pairs, own_pairs = (drawn @ ours) * (drawn @ theirs), (drawn ** 2) @ (ours * theirs)
        self.impostor_weight = (all_pairs - own_pairs) / (1 if right is not None else 2)

    def tpr(self, scored: AllPairs, target: float) -> np.ndarray:
        """(resamples,) TPR at FPR `target`."""
        return self.tprs(scored, [target])[0]

    def tprs(self, scored: AllPairs, targets: Sequence[float]) -> np.ndarray:
        """(targets, resamples) TPR at each FPR, NaN where a resample has no pairs or the tail is too short for it."""
        one = self._left[scored.tail_pair[:, 0]].astype(np.int32)
        two = self._right[scored.tail_pair[:, 1]].astype(np.int32)
        # As many of the largest scores as a resample may need; the few that need more use all.
        first = min(int(SPARE * (max(targets) * scored.impostors + 1000)), len(one))
        person = scored.genuine_person.astype(np.int32)
        draws = np.empty((len(targets), len(self.multiplicity)))
        for number, drawn in enumerate(self.multiplicity):
            genuine = np.concatenate([[0], np.cumsum(drawn[person])])
            passed = np.cumsum(drawn[one[:first]] * drawn[two[:first]], dtype=np.int64)
            weight = self.impostor_weight[number]
            if first < len(one) and passed[-1] <= max(targets) * weight * SLACK:
                passed = np.cumsum(drawn[one] * drawn[two], dtype=np.int64)
            draws[:, number] = _tprs(scored, genuine, passed, weight, targets)
        return draws

    def rates_above(self, scored: AllPairs, cosine: float) -> tuple[np.ndarray, np.ndarray | None]:
        """(resamples,) TPR and FPR where pairs above `cosine` are accepted; FPR None where the tail ends above it."""
        people, drawn = self.multiplicity.shape[1], self.multiplicity.astype(np.float64)
        counts = np.bincount(scored.genuine_person, minlength=people)
        accepted = np.bincount(scored.genuine_person[scored.genuine > cosine], minlength=people)
        with np.errstate(invalid="ignore"):
            tpr = (drawn @ accepted) / (drawn @ counts)
        if len(scored.tail) < scored.impostors and (not len(scored.tail) or scored.tail[-1] > cosine):
            return tpr, None
        passed = scored.tail_pair[:int(np.searchsorted(-scored.tail, -cosine, "left"))]
        places, number = np.unique(self._left[passed[:, 0]].astype(np.int64) * people + self._right[passed[:, 1]],
                                   return_counts=True)
        one, two = np.divmod(places, people)
        weight = np.array([float(np.dot(many[one] * many[two], number)) for many in drawn])
        with np.errstate(invalid="ignore", divide="ignore"):
            return tpr, weight / self.impostor_weight


def _tprs(scored: AllPairs, genuine: np.ndarray, passed: np.ndarray, impostor_weight: float,
          targets: Sequence[float]) -> list[float]:
    """TPR at each FPR by the cumulative weights of genuine pairs, ascending, and of impostor pairs, descending."""
    if not genuine[-1] or not impostor_weight:
        return [np.nan] * len(targets)
    found = []
    for target in targets:
        place = int(np.searchsorted(passed, target * impostor_weight * SLACK, "right"))  # the first beyond the allowed
        if place < len(passed):
            start = int(np.searchsorted(scored.genuine, scored.tail[place], "right"))
            found.append(float((genuine[-1] - genuine[start]) / genuine[-1]))
        else:
            found.append(1.0 if len(passed) and passed[-1] >= impostor_weight else np.nan)
    return found


def pairs_tpr(cosines: np.ndarray, same: np.ndarray, target: float, resamples: np.ndarray) -> np.ndarray:
    """(resamples,) TPR at FPR `target` of (pairs,) scores, large for genuine pairs; resamples: (R, pairs)."""
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

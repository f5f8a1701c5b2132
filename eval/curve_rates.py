"""EER and AUC of all pairs, and on resamples of the identities.

On a resample the weight of an impostor pair is the product of its two identities' multiplicities. So cosines are
counted in bins (of equal counts, hence finer where scores are dense) for each pair of identities, and a resample is a
weighted sum of those counts. With more than `MOST_EXACT` identities the counts of each identity's pairs are kept
instead, and the product is replaced by its linear part, m n = m + n - 1 + (m - 1)(n - 1): the neglected term is of the
order of 1 / identities. Values are shifted by the binning error, so that they are centred on the exact rate.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from eval.all_pairs import BLOCK, CODES, AllPairs, Side, codes_of
from eval.metrics import crossing, eer
from eval.operating_points import OperatingPoint

BINS = 128
MOST_EXACT = 256  # identities
MOST_PAIRS = 1 << 26  # images to count again: of larger sets every identity's images are subsampled evenly
LEAST_FPR = 1e-5
AT_ONCE = 32  # resamples


@dataclass(frozen=True)
class CurveDraws:
    """(resamples,) each; tpr: by FPR."""

    eer: np.ndarray
    auc: np.ndarray
    tpr: dict[float, np.ndarray]


def equal_error_rate(scored: AllPairs) -> float:
    """Where FPR and FNR cross; from the histogram (steps of 3e-5 in cosine) where not all scores were kept."""
    if len(scored.tail) == scored.impostors:
        scores = np.concatenate([scored.genuine, scored.tail]).astype(np.float64)
        return eer(2 - 2 * scores, np.arange(len(scores)) < len(scored.genuine))
    return crossing(*_curve_of(_genuine_codes(scored.genuine), scored.histogram))


def area_under_curve(scored: AllPairs) -> float:
    """The probability that a genuine pair scores above an impostor pair, a tie counts half; from the histogram (steps
    of 3e-5 in cosine) where not all scores were kept."""
    if len(scored.tail) == scored.impostors:
        rising = scored.tail[::-1]
        below = np.searchsorted(rising, scored.genuine, "left").astype(np.float64)
        below += np.searchsorted(rising, scored.genuine, "right")
        return float(below.mean() / 2 / scored.impostors)
    fpr, tpr = _curve_of(_genuine_codes(scored.genuine), scored.histogram)
    return float(np.trapz(tpr, fpr))


def curve_draws(scored: AllPairs, left: Side, right: Side | None, multiplicity: np.ndarray,
                points: Sequence[OperatingPoint] = ()) -> CurveDraws:
    """EER and AUC on resamples, and TPR at the FPR of some points.

    scored: of left against right, or against itself. multiplicity: (R, people) of each identity; identities are
    integers below `people`.
    """
    people = multiplicity.shape[1]
    edges = _edges(scored)
    lookup = np.searchsorted(edges, np.arange(CODES), "right").astype(np.int32)
    genuine = np.zeros((people, BINS))
    np.add.at(genuine, (scored.genuine_person, lookup[codes_of(scored.genuine)]), 1)
    thin_left, thin_right = _thinned(left, right)
    exact = people <= MOST_EXACT
    counts = _count_by_people(thin_left, thin_right, people, lookup, exact)
    drawn = multiplicity.astype(np.float32)
    targets = [point.fpr_target for point in points]
    found = np.empty((len(drawn), 2 + len(targets)))
    for first in range(0, len(drawn), AT_ONCE):
        part = drawn[first:first + AT_ONCE]
        impostors = _impostors(part, counts, exact)
        for row, (of_one, of_two) in enumerate(zip(part.astype(np.float64) @ genuine, impostors)):
            found[first + row] = _rates(of_one, of_two, targets)
    whole = _rates(genuine.sum(axis=0), _impostors(np.ones((1, people), np.float32), counts, exact)[0], targets)
    rates = [equal_error_rate(scored), area_under_curve(scored), *(point.tpr or 0.0 for point in points)]
    found = np.clip(found + (np.array(rates) - whole), 0, 1)
    return CurveDraws(found[:, 0], found[:, 1], {target: found[:, 2 + place] for place, target in enumerate(targets)})


def _impostors(drawn: np.ndarray, counts: np.ndarray, exact: bool) -> np.ndarray:
    """(R, BINS) weighted counts of impostor pairs; drawn: (R, people) float32."""
    if exact:
        products = (drawn[:, :, None] * drawn[:, None, :]).reshape(len(drawn), -1)
        return products @ counts
    own = counts.sum(axis=0) / 2  # every pair is counted with both of its identities
    return np.maximum(own + (drawn - 1) @ counts, 0)


def _count_by_people(left: Side, right: Side, people: int, lookup: np.ndarray, exact: bool) -> np.ndarray:
    """Impostor pairs by pair of identities, (people * people, BINS), or by identity, (people, BINS), each pair with
    both of its identities; float32."""
    counts = np.zeros((people * people if exact else people) * BINS, np.int64)
    for top in range(0, len(left.person), BLOCK):
        for begin in range(0, len(right.person), BLOCK):
            one, two = left.person[top:top + BLOCK], right.person[begin:begin + BLOCK]
            codes = lookup[codes_of(left.unit[top:top + BLOCK] @ right.unit[begin:begin + BLOCK].T)]
            if exact:
                places = (one[:, None] * people + two[None]).astype(np.int32) * BINS + codes
                counts += np.bincount(places[one[:, None] != two[None]], minlength=len(counts))
                continue
            other = one[:, None] != two[None]
            for person in (one[:, None], two[None]):
                places = (person.astype(np.int32) * BINS + codes)[other]
                counts += np.bincount(places, minlength=len(counts))
    return counts.reshape(-1, BINS).astype(np.float32)


def _thinned(left: Side, right: Side | None) -> tuple[Side, Side]:
    """Both sides, with every n-th image of each identity where there are too many; an image that is scored against its
    own side is on both, and each pair is counted twice."""
    other = left if right is None else right
    step = int(np.ceil(np.sqrt(len(left.person) * len(other.person) / MOST_PAIRS)))
    return _every(left, step), _every(other, step)


def _every(side: Side, step: int) -> Side:
    order = np.argsort(side.person, kind="stable")
    ranks = np.arange(len(order)) - np.searchsorted(side.person[order], side.person[order], "left")
    kept = np.sort(order[ranks % step == 0])
    return Side(side.unit[kept], side.person[kept])


def _edges(scored: AllPairs) -> np.ndarray:
    """(BINS - 1,) codes between bins, ascending: half at quantiles of the genuine scores, half where FPR rises by a
    constant factor."""
    shares = np.linspace(0, 1, BINS // 2 + 1)[1:]
    passed = np.cumsum(scored.histogram) / max(scored.impostors, 1)
    impostors = np.searchsorted(passed, 1 - np.geomspace(LEAST_FPR, 1, BINS // 2)[:-1])
    genuine = np.quantile(codes_of(scored.genuine), shares)
    return np.sort(np.concatenate([impostors, np.rint(genuine).astype(np.int64)]))[:BINS - 1]


def _rates(genuine: np.ndarray, impostors: np.ndarray, targets: Sequence[float]) -> list[float]:
    """EER, AUC and TPR at each FPR."""
    if not genuine.sum() or not impostors.sum():
        return [np.nan] * (2 + len(targets))
    fpr, tpr = _curve_of(genuine, impostors)
    return [crossing(fpr, tpr), float(np.trapz(tpr, fpr)), *np.interp(targets, fpr, tpr).tolist()]


def _curve_of(genuine: np.ndarray, impostors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FPR and TPR, from (0, 0) to (1, 1), of counts by ascending cosine."""
    positives, negatives = (np.cumsum(counts[::-1], dtype=np.float64) for counts in (genuine, impostors))
    return np.append(0.0, negatives / negatives[-1]), np.append(0.0, positives / positives[-1])


def _genuine_codes(genuine: np.ndarray) -> np.ndarray:
    return np.bincount(codes_of(genuine), minlength=CODES)

"""Bootstrap of 1:1: intervals of TPR over the templates' identities, or over the templates where these are not known.

A resample consists of as many units (identities or templates) as there are, sampled with replacement. A pair's weight
is the product of its two units' multiplicities, and that of the one unit where both are the same, as in
`eval.bootstrap`: so pairs that share a template are not treated as independent.
"""
from __future__ import annotations

from typing import Callable, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from eval.bootstrap import draw_resamples
from eval.operating_points import SLACK
from eval.templates.verification import PairScores

PART = 1 << 21  # impostor pairs whose units are counted together
AT_ONCE = 16  # resamples whose impostor pairs are weighted together
SPARE = 1.3  # multiple of the impostor pairs that the largest FPR allows: most resamples need no more


def tpr_draws(scores: PairScores, unit: np.ndarray, units: int, fprs: Sequence[float], resamples: int, seed: int,
              step: Callable[[int], object] = lambda resamples: None) -> np.ndarray:
    """(fprs, resamples) TPR at each FPR by the project's convention; NaN where a resample has no genuine or no impostor
    pair.

    scores: with `genuine_pair` and `impostor_pair`. unit: (T,) the identity of each template, or the template itself,
    as integers below `units`. ValueError where the scores do not say of which templates they are.
    """
    if scores.genuine_pair is None or scores.impostor_pair is None:
        raise ValueError("the scores do not say of which templates they are")
    unit = unit.astype(np.int32)
    many = draw_resamples(units, resamples, seed)
    total = _impostor_weights(scores.impostor_pair, unit, many)
    own, other = _units(scores.genuine_pair, unit, units)
    pairs, impostors = scores.impostor_pair, len(scores.impostor)

    def tail(count: int) -> tuple[np.ndarray, np.ndarray]:
        return _units(pairs[impostors - count:][::-1], unit, units)

    one, two = tail(min(int(SPARE * max(fprs) * impostors) + 1000, impostors))
    found = np.full((len(fprs), resamples), np.nan)
    for place, counted in enumerate(many):
        drawn = np.append(counted, 1).astype(np.int16)
        genuine = np.concatenate([[0], _running(drawn, own, other)])
        if genuine[-1] and total[place]:
            largest = max(fprs) * total[place] * SLACK
            passed = _running(drawn, one, two)
            while len(one) < impostors and passed[-1] <= largest:
                one, two = tail(min(2 * len(one), impostors))
                passed = _running(drawn, one, two)
            for row, fpr in enumerate(fprs):
                # the first beyond the allowed
                first = int(np.searchsorted(passed, fpr * total[place] * SLACK, "right"))
                start = int(np.searchsorted(scores.genuine, scores.impostor[impostors - 1 - first], "right")) \
                    if first < impostors else 0
                found[row, place] = 1 - genuine[start] / genuine[-1]
        step(1)
    return found


def _units(pairs: np.ndarray, unit: np.ndarray, units: int) -> tuple[np.ndarray, np.ndarray]:
    """The two units of each pair; the second is `units`, whose multiplicity is 1, where both are the same."""
    one, two = unit[pairs[:, 0]], unit[pairs[:, 1]]
    two[one == two] = units
    return one, two


def _running(drawn: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(pairs,) int64, the weight of the pairs so far."""
    weights = drawn[one]  # a unit is sampled some ten times at most: the product fits
    weights *= drawn[two]
    return np.cumsum(weights, dtype=np.int64)


def _impostor_weights(pairs: np.ndarray, unit: np.ndarray, many: np.ndarray) -> np.ndarray:
    """(resamples,) the weight of all impostor pairs: drawn' C drawn, C the number of pairs of each two units."""
    total = np.zeros(len(many), np.int64)
    for begin in range(0, len(pairs), PART):  # a count matrix of all pairs takes several times their own memory
        one, two = (unit[some] for some in pairs[begin:begin + PART].T)
        same = np.bincount(one[one == two], minlength=many.shape[1])
        apart = one != two
        counts = csr_matrix((np.ones(int(apart.sum()), np.int32), (one[apart], two[apart])), (many.shape[1],) * 2)
        for first in range(0, len(many), AT_ONCE):
            drawn = np.ascontiguousarray(many[first:first + AT_ONCE].T)
            total[first:first + AT_ONCE] += same @ drawn + np.einsum("ur,ur->r", drawn.astype(np.int64), counts @ drawn)
    return total

"""The metrics of face verification, from the scores of pairs.

Everywhere: `scores` (pairs,) are squared L2 distances of normalised embeddings, 0 to 4, small for genuine pairs; `same`
(pairs,) is true for genuine pairs. A pair is accepted (classified as genuine) where its score is below a threshold. The
conventions are those of InsightFace's verification script, which the paper's tables use.
"""
from __future__ import annotations

import numpy as np

from common.errors import RunError, UserError

THRESHOLDS = np.arange(0, 4, 0.01)


class FewPairs(UserError):
    """Fewer pairs than folds. FIX: for those who have the number of folds as a setting."""

    FIX = "give fewer `folds`, or more pairs"


def check_pairs(same: np.ndarray, folds: int = 10) -> None:
    """UserError where no score can be computed: fewer pairs than folds (FewPairs), or all pairs of one kind."""
    same = np.asarray(same, bool)
    if folds < 2:
        raise UserError(f"{folds} folds: at least 2 are needed, one to test on and one to choose the threshold on")
    if len(same) < folds:
        raise FewPairs(f"{len(same)} pairs are fewer than {folds} folds")
    check_kinds(same)


def check_kinds(same: np.ndarray) -> None:
    """UserError where not both kinds of pairs are there."""
    same = np.asarray(same, bool)
    if not len(same):
        raise UserError("there are no pairs")
    if same.all() or not same.any():
        raise UserError(f"all {len(same)} pairs are marked {'same' if same[0] else 'different'}; both kinds are needed")


def fold_bounds(pairs: int, folds: int) -> np.ndarray:
    """(folds + 1,) where consecutive folds begin and end; the first pairs % folds of them have one pair more."""
    sizes = np.full(folds, pairs // folds)
    sizes[:pairs % folds] += 1
    return np.concatenate([[0], np.cumsum(sizes)])


def accuracy_10fold(scores: np.ndarray, same: np.ndarray, folds: int = 10) -> tuple[float, float, float]:
    """Accuracy over consecutive folds: mean, standard deviation (of the folds, not of their mean), mean threshold.

    Each fold is evaluated at the threshold of the grid 0, 0.01 .. 3.99 that is best on all the others, the first of
    equals. scores may be (folds, pairs): row f, the scores that fold f is evaluated by, where the scoring itself is
    fitted on the other folds.
    """
    accuracies, thresholds = fold_accuracies(scores, same, folds)
    return float(accuracies.mean()), float(accuracies.std()), float(thresholds.mean())


def fold_accuracies(scores: np.ndarray, same: np.ndarray, folds: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """(folds,) accuracy of each fold and its threshold, as for `accuracy_10fold`."""
    same = np.asarray(same, bool)
    check_pairs(same, folds)
    # A pair is accepted from the first threshold above its score on.
    first = np.searchsorted(THRESHOLDS, _finite(scores), side="right")
    sizes = np.diff(fold_bounds(len(same), folds))
    fold = np.repeat(np.arange(folds), sizes)
    if first.ndim == 1:
        test = _correct(first, same, fold, folds)
        correct = test.sum(axis=0)
    else:
        test = _correct(first[fold, np.arange(len(same))], same, fold, folds)
        correct = _correct(first.ravel(), np.tile(same, folds), np.repeat(np.arange(folds), len(same)), folds)
    best = np.argmax(correct - test, axis=1)
    return test[np.arange(folds), best] / sizes, THRESHOLDS[best]


def _correct(first: np.ndarray, same: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """(groups, 400) number of pairs of each group that each threshold of the grid classifies correctly."""
    places = len(THRESHOLDS) + 1
    gained = np.bincount(group * places + first, np.where(same, 1, -1), groups * places).reshape(groups, places)
    different = np.bincount(group, ~same, groups)
    return (different[:, None] + np.cumsum(gained, axis=1)[:, :-1]).astype(np.int64)


def roc_curve(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every operating point of the scores: FPR, TPR (ascending, from 0 to 1) and the threshold.

    At point i the pairs with scores <= threshold[i] are accepted; the first point, of threshold
    -inf, accepts none. Pairs of equal score enter together.
    """
    positives, negatives, thresholds = _counts(scores, same)
    return negatives / negatives[-1], positives / positives[-1], thresholds


def tpr_at_fpr(scores: np.ndarray, same: np.ndarray, target: float) -> float:
    """TPR over all pairs at once, at the largest observed FPR that does not exceed `target`; not interpolated."""
    positives, negatives, _ = _counts(scores, same)
    # 1e-9: a target of 0.001 allows 3 of 3,000 whatever 0.001 * 3000 rounds to.
    point = np.searchsorted(negatives, target * negatives[-1] * (1 + 1e-9), side="right") - 1
    return float(positives[point] / positives[-1])


def point_at_fpr(scores: np.ndarray, same: np.ndarray, target: float) -> tuple[float, float, float, int]:
    """The operating point of `tpr_at_fpr`: TPR, threshold, FPR, and number of false accepts.

    The threshold is midway between the last score that is accepted and the first that is not.
    """
    positives, negatives, thresholds = _counts(scores, same)
    point = int(np.searchsorted(negatives, target * negatives[-1] * (1 + 1e-9), side="right")) - 1
    edges = np.concatenate([[min(0.0, thresholds[1])], thresholds[1:], [max(4.0, thresholds[-1])]])
    return (float(positives[point] / positives[-1]), float(edges[point] + edges[point + 1]) / 2,
            float(negatives[point] / negatives[-1]), int(negatives[point]))


def eer(scores: np.ndarray, same: np.ndarray) -> float:
    """Equal error rate: where FPR and FNR = 1 - TPR cross, linear between the two neighbouring operating points.

    Every observed threshold counts; a grid of them, or the mean of FPR and FNR at the nearest, gives slightly different
    values.
    """
    fpr, tpr, _ = roc_curve(scores, same)
    return crossing(fpr, tpr)


def crossing(fpr: np.ndarray, tpr: np.ndarray) -> float:
    """The equal error rate of a curve that rises from (0, 0) to (1, 1)."""
    difference = fpr - (1 - tpr)  # rises from -1 to 1
    right = int(np.argmax(difference >= 0))
    part = -difference[right - 1] / (difference[right] - difference[right - 1])
    return float(fpr[right - 1] + part * (fpr[right] - fpr[right - 1]))


def auc(scores: np.ndarray, same: np.ndarray) -> float:
    """Area under the ROC curve: the probability that a genuine pair scores below an impostor pair; a tie counts
    half."""
    fpr, tpr, _ = roc_curve(scores, same)
    return float(np.trapz(tpr, fpr))


def _counts(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Accepted same and different pairs at every operating point, and the thresholds."""
    scores, same = _finite(scores), np.asarray(same, bool)
    check_kinds(same)
    order = np.argsort(scores, kind="stable")
    scores, same = scores[order], same[order]
    last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)  # of each group of equal scores
    positives, negatives = np.cumsum(same)[last], np.cumsum(~same)[last]
    return (np.concatenate([[0], positives]), np.concatenate([[0], negatives]),
            np.concatenate([[-np.inf], scores[last]]))


def _finite(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores)
    if not np.isfinite(scores).all():
        raise RunError(f"{np.count_nonzero(~np.isfinite(scores))} of {scores.size} scores are not finite: the "
                       "embeddings hold NaN or infinity, the model has diverged")
    return scores

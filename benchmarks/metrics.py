"""The 10-fold accuracy of 7,000 pairs against a loop over thresholds, as in common verification scripts.

The loop compares all scores with each of 400 thresholds, for the training part of each of 10 folds. Both give the same
accuracy, which is checked. Our whole table row (accuracy, TPR, EER, AUC and curve) is timed as well.
"""
from __future__ import annotations

import functools
import statistics

import numpy as np

from benchmarks.harness import speed_ratios, take_turns
from benchmarks.table import Row
from eval import metrics

FOLDS, PAIRS = 10, 7000
LOOP, OURS, WHOLE = "loop", "ours", "whole row"


def looped_accuracy(scores: np.ndarray, same: np.ndarray) -> float:
    """The 10-fold accuracy, one threshold at a time."""
    bounds = metrics.fold_bounds(len(same), FOLDS)
    accuracies = []
    for fold in range(FOLDS):
        test = np.zeros(len(same), bool)
        test[bounds[fold]:bounds[fold + 1]] = True
        training = [np.mean((scores[~test] < threshold) == same[~test]) for threshold in metrics.THRESHOLDS]
        best = metrics.THRESHOLDS[int(np.argmax(training))]
        accuracies.append(np.mean((scores[test] < best) == same[test]))
    return float(np.mean(accuracies))


def our_accuracy(scores: np.ndarray, same: np.ndarray) -> float:
    """The project's."""
    return metrics.accuracy_10fold(scores, same, FOLDS)[0]


def our_row(scores: np.ndarray, same: np.ndarray) -> None:
    """Everything that a table row and a ROC plot need."""
    metrics.accuracy_10fold(scores, same, FOLDS)
    metrics.tpr_at_fpr(scores, same, 1e-3)
    metrics.eer(scores, same)
    metrics.auc(scores, same)
    metrics.roc_curve(scores, same)


def rows(repeats: int) -> list[Row]:
    """The row of the accuracy."""
    random = np.random.RandomState(0)
    same = np.arange(PAIRS) % 2 == 0
    scores = np.clip(random.normal(np.where(same, 1.0, 1.9), 0.3), 0, 4)
    if abs(looped_accuracy(scores, same) - our_accuracy(scores, same)) > 1e-12:
        raise RuntimeError("the two accuracies differ, so there is nothing to compare")
    functions = {LOOP: looped_accuracy, OURS: our_accuracy, WHOLE: our_row}
    timed = {name: functools.partial(function, scores, same) for name, function in functions.items()}
    seconds = take_turns(timed, repeats)
    spent = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    return [Row(f"verification metrics, {PAIRS} pairs", speed_ratios(seconds, LOOP, OURS), 50.0, None,
                f"accuracy {spent[OURS]:.2f} against {spent[LOOP]:.1f} ms; our whole table row {spent[WHOLE]:.2f} ms")]

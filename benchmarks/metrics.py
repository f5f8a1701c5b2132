"""Milliseconds of the 10-fold accuracy against a loop over thresholds, as verification scripts have it, and the ratio.

    python -m benchmarks.metrics                  # 7,000 pairs
    python -m benchmarks.metrics --pairs 600000

The loop compares all scores with each of 400 thresholds, for the training and the test part of each of 10 folds. Both
give the same accuracy, which is checked; they take turns inside every repeat. Our whole table row (accuracy, TPR, EER,
AUC and curve) is timed as well.
"""
from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from eval import metrics

FOLDS = 10


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
    """Everything that a table row and a ROC picture need."""
    metrics.accuracy_10fold(scores, same, FOLDS)
    metrics.tpr_at_fpr(scores, same, 1e-3)
    metrics.eer(scores, same)
    metrics.auc(scores, same)
    metrics.roc_curve(scores, same)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7000, help="pairs (7000)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats (5)")
    arguments = parser.parse_args()
    if arguments.pairs < FOLDS or arguments.repeats < 1:
        parser.error(f"--pairs is a number from {FOLDS}, --repeats from 1")
    random = np.random.RandomState(0)
    same = np.arange(arguments.pairs) % 2 == 0
    scores = np.clip(random.normal(np.where(same, 1.0, 1.9), 0.3), 0, 4)
    if abs(looped_accuracy(scores, same) - our_accuracy(scores, same)) > 1e-12:
        raise SystemExit("the two accuracies differ, so there is nothing to compare")
    seconds: dict[str, list[float]] = {}
    for _ in range(arguments.repeats):
        for name, function in (("loop, accuracy", looped_accuracy), ("ours, accuracy", our_accuracy),
                               ("ours, whole row", our_row)):
            start = time.perf_counter()
            function(scores, same)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    print(f"{arguments.pairs} pairs, {arguments.repeats} repeats")
    loop = seconds["loop, accuracy"]
    for name, values in seconds.items():
        ratio = statistics.median(slow / value for slow, value in zip(loop, values))
        print(f"{name:16s} median {1000 * statistics.median(values):9.2f} ms   {ratio:6.1f} times as fast as the loop")


if __name__ == "__main__":
    main()

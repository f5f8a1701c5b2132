"""What a training writes down of a verification: the numbers, and what they rest on."""
from __future__ import annotations

import json

import numpy as np
import pytest

from eval.verification import score_set
from training.reporting.roc_picture import _rate
from training.validation import result_row, result_text


def result(pairs, fpr=0.01, noise=1.2):
    random = np.random.RandomState(4)
    left, same = random.normal(size=(pairs, 16)), np.arange(pairs) % 2 == 0
    right = np.where(same[:, None], left, random.normal(size=(pairs, 16))) + noise * random.normal(size=(pairs, 16))
    both = np.stack([left, right], 1).reshape(2 * pairs, 16)
    return score_set("drawn", both / np.linalg.norm(both, axis=1, keepdims=True), same, 3.0, (fpr,))


def test_false_accepts_and_intervals():
    found = result(4000)
    row = json.loads(json.dumps(result_row(found, 7)))
    distances = np.sort(found.scores[~found.same])
    assert row["false_accepts"] == 20 and row["step"] == 7
    assert row["tpr"] == pytest.approx((found.scores[found.same] < distances[20]).mean())
    for name in ("tpr", "accuracy", "eer", "auc"):
        low, high = row["interval"][name]
        assert low < row[name] < high and high - low < 0.2
    spread = np.sqrt(row["accuracy"] * (1 - row["accuracy"]) / 4000)  # of a share of independent pairs
    assert (row["interval"]["accuracy"][1] - row["interval"]["accuracy"][0]) / 3.92 == pytest.approx(spread, rel=0.25)
    assert result_row(found, 7) == {**row, "interval": {name: pytest.approx(limits) for name, limits
                                                        in row["interval"].items()}}


def test_the_log_marks_a_rate_that_rests_on_few():
    assert " TPR at FPR 1% 0." in result_text(result_row(result(4000), 1))
    few = result_text(result_row(result(600), 1))
    assert "TPR at FPR 1% ~0." in few and "; 3 false accepts)" in few and "\n" not in few
    none = result_row(result(100, 0.001), 1)
    assert "TPR at FPR 0.1% not given (no false accept behind it), EER" in result_text(none)
    assert set(none["interval"]) == {"eer", "auc", "accuracy"}


def test_the_picture_marks_it_as_well():
    assert _rate(result(4000)).startswith("TPR 0.") and _rate(result(600)).startswith("TPR ~0.")
    assert _rate(result(600)).endswith(" (3) at FPR 1%") and _rate(result(100, 0.001)) == "TPR at FPR 0.1% not given"

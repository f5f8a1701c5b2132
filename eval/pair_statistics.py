"""Statistics of the rates on a verification set: false accepts, thresholds, intervals, differences."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from eval import metrics
from eval.bootstrap import differences, draw_resamples, interval, pairs_curve_rates, pairs_tpr
from eval.operating_points import OperatingPoint, given
from eval.scores import cosines_of
from eval.verification import VerificationResult, fold_numbers


@dataclass(frozen=True)
class Statistics:
    """points: by FPR; draws: by the name of the rate (`0.001`, `eer`, `auc`), its values on the resamples."""

    points: list[OperatingPoint]
    draws: dict[str, np.ndarray]

    def given(self, name: str) -> bool:
        """Whether a rate is: a TPR without a false accept behind it is not."""
        return all(point.tpr is not None for point in self.points if f"{point.fpr_target:g}" == name)

    def as_row(self, first: Statistics | None = None, first_name: str = "", ours: VerificationResult | None = None,
               theirs: VerificationResult | None = None) -> dict[str, object]:
        """For JSON; first: of the model that differences are to, with both results; none to itself."""
        row: dict[str, object] = {
            "false_accepts": {f"{point.fpr_target:g}": point.false_accepts for point in self.points},
            "thresholds": {f"{point.fpr_target:g}": point.as_row() for point in self.points}}
        if self.draws:
            limits = {name: interval(draws) for name, draws in self.draws.items() if self.given(name)}
            row["interval"] = {name: [one.low, one.high] for name, one in limits.items()}
        if first is not None and first is not self and ours is not None and theirs is not None and self.draws:
            row["difference"] = differences(first_name, self._rates(ours), first._rates(theirs), self.draws,
                                            first.draws)
        return row

    def _rates(self, result: VerificationResult) -> dict[str, float | None]:
        return {name: _rate(result, name) if self.given(name) else None for name in self.draws}


def statistics(result: VerificationResult, fpr: Sequence[float], resamples: int, seed: int,
               accuracy: bool = False) -> Statistics:
    """Over pairs: a `.bin` has no identities. resamples: 0 for no intervals. folds: those of the accuracy, for an
    interval of it as well."""
    points = []
    impostors = int((~result.same).sum())
    for target in fpr:
        tpr, threshold, achieved, accepts = metrics.point_at_fpr(result.scores, result.same, target)
        points.append(OperatingPoint(target, given(tpr, accepts), 1 - threshold / 2, achieved, accepts, impostors))
    if not resamples:
        return Statistics(points, {})
    drawn = draw_resamples(len(result.same), resamples, seed)
    cosines = cosines_of(result.scores)
    draws = {f"{target:g}": pairs_tpr(cosines, result.same, target, drawn) for target in fpr}
    draws["eer"], draws["auc"] = pairs_curve_rates(result.scores, result.same, drawn)
    if accuracy:
        draws["accuracy"] = accuracy_draws(result, drawn)
    return Statistics(points, draws)


def accuracy_draws(result: VerificationResult, drawn: np.ndarray) -> np.ndarray:
    """(R,) the accuracy on resamples (R, pairs), each pair classified at its fold's threshold: the mean over the folds
    that a resample has pairs of."""
    folds = len(result.fold_thresholds)
    fold = fold_numbers(result.pairs, folds)
    right = ((result.scores < result.fold_thresholds[fold]) == result.same).astype(np.float64)
    counts = np.stack([drawn[:, fold == one].sum(axis=1) for one in range(folds)])
    shares = np.stack([drawn[:, fold == one] @ right[fold == one] for one in range(folds)]) / np.maximum(counts, 1)
    return shares.sum(axis=0) / (counts > 0).sum(axis=0)


def _rate(result: VerificationResult, name: str) -> float:
    if name in ("eer", "auc", "accuracy"):
        return getattr(result, name)
    return next(value for rate, value in result.tprs.items() if f"{rate:g}" == name)

"""Rates of pairs at a fixed threshold: given, or chosen on another set."""
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np

from eval.bootstrap import LEVEL, interval
from eval.metrics import check_kinds, point_at_fpr
from eval.operating_points import FEW, allowed
from eval.verification import VerificationSet

log = logging.getLogger(__name__)
Chosen = Tuple[str, Optional[float], float]  # the set's path and the FPR that a threshold was chosen at; the distance


@dataclass(frozen=True)
class FixedPoint:
    """The rates at a squared distance below which pairs are accepted.

    chosen_on: the path of the set and fpr_target the FPR there that the threshold is of; "" and None where it was
    given. fpr: as achieved here. limits of rates: 95%, None without resamples.
    """

    threshold: float
    tpr: float
    fpr: float
    false_accepts: int
    genuine: int
    impostors: int
    tpr_limits: tuple[float, float] | None = None
    fpr_limits: tuple[float, float] | None = None
    chosen_on: str = ""
    fpr_target: float | None = None

    @property
    def cosine(self) -> float:
        """The same threshold, as a cosine above which pairs are accepted."""
        return 1 - self.threshold / 2

    @property
    def accuracy(self) -> float:
        """The fraction of pairs classified correctly."""
        right = self.tpr * self.genuine + self.impostors - self.false_accepts
        return right / (self.genuine + self.impostors)

    def as_row(self) -> dict[str, object]:
        """For JSON."""
        row: dict[str, object] = {
            "threshold": self.threshold, "cosine": self.cosine, "tpr": self.tpr, "fpr": self.fpr,
            "false_accepts": self.false_accepts, "few": self.false_accepts < FEW, "genuine": self.genuine,
            "impostors": self.impostors, "accuracy": self.accuracy}
        if self.fpr_target is not None:
            row.update(chosen_on=self.chosen_on, fpr_target=self.fpr_target)
        if self.tpr_limits or self.fpr_limits:  # of very many pairs that of the FPR alone may not be known
            row["interval"] = {"tpr": self.tpr_limits and list(self.tpr_limits),
                               "fpr": self.fpr_limits and list(self.fpr_limits)}
        return row


def thresholds_on(target: VerificationSet, scores: np.ndarray, fpr: Sequence[float]) -> list[Chosen]:
    """The threshold at each FPR on a set of (pairs,) squared distances; the set by its path, since the scored one may
    have the same name."""
    path, same = str(target.path), target.same
    warn_of_few(path, int((~same).sum()), fpr)
    return [(path, rate, point_at_fpr(scores, same, rate)[1]) for rate in fpr]


def warn_of_few(name: str, impostors: int, fpr: Sequence[float]) -> None:
    """A line for each FPR at which a set allows no false accept: a threshold chosen there is not one of that FPR."""
    for rate in fpr:
        if not allowed(rate, impostors):
            log.warning("%s: has %d impostor pairs, too few for a threshold at FPR %g; the one taken accepts none of "
                        "them", name, impostors, rate)


def rates_below(scores: np.ndarray, same: np.ndarray, threshold: float, resamples: np.ndarray | None = None,
                chosen_on: str = "", fpr_target: float | None = None) -> FixedPoint:
    """Of (pairs,) squared distances; resamples: (R, pairs) multiplicity of each pair. UserError where one kind of pairs
    is missing."""
    same = np.asarray(same, bool)
    check_kinds(same)
    accepted = np.asarray(scores) < threshold
    genuine, impostors = int(same.sum()), int((~same).sum())
    accepts, false_accepts = int((accepted & same).sum()), int((accepted & ~same).sum())
    tpr_limits = fpr_limits = None
    if resamples is not None and len(resamples):
        drawn = resamples.astype(np.float64)
        with np.errstate(invalid="ignore"):
            draws = [(drawn @ (accepted & kind)) / (drawn @ kind.astype(np.float64)) for kind in (same, ~same)]
        tpr_limits = limits_of(draws[0], accepts, genuine)
        fpr_limits = limits_of(draws[1], false_accepts, impostors)
    return FixedPoint(threshold, accepts / genuine, false_accepts / impostors, false_accepts, genuine, impostors,
                      tpr_limits, fpr_limits, chosen_on, fpr_target)


def limits_of(draws: np.ndarray, count: int, total: int) -> tuple[float, float]:
    """The percentile interval of a rate's resamples. Where none or all of the pairs passed, every resample is the same,
    so the far end is Clopper and Pearson's instead: 3.7 / total away."""
    from scipy.stats import beta  # takes half a second to import

    found = interval(draws)
    low, high = found.low, found.high
    if count == 0:
        high = max(high, float(beta.ppf((1 + LEVEL) / 2, 1, total)))
    if count == total:
        low = min(low, float(beta.ppf((1 - LEVEL) / 2, total, 1)))
    return low, high

"""Operating points at low FPR: TPR, the threshold, the FPR achieved, and the number of false accepts.

The convention is that of `metrics.tpr_at_fpr`: over all pairs at once, the largest observed FPR that does not exceed
the target, no interpolation. Scores here are cosines, large for genuine pairs; a squared distance of unit vectors is 2
- 2 cosine.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.all_pairs import AllPairs, codes_of, cosine_below

FEW = 10  # false accepts below which a rate is marked
SLACK = 1 + 1e-9  # a target of 0.001 allows 3 of 3,000 whatever 0.001 * 3000 rounds to


@dataclass(frozen=True)
class OperatingPoint:
    """tpr: None where it is not `given`. cosine: pairs above it are accepted; midway between
    the last that is and the first that is not. fpr: as observed. impostors: number of impostor pairs."""

    fpr_target: float
    tpr: float | None
    cosine: float
    fpr: float
    false_accepts: int
    impostors: int

    @property
    def threshold(self) -> float:
        """The squared distance below which pairs are accepted."""
        return 2 - 2 * self.cosine

    @property
    def few(self) -> bool:
        """Whether the rate is based on fewer than FEW false accepts, so that it is unreliable."""
        return self.false_accepts < FEW

    def as_row(self) -> dict[str, object]:
        """For JSON."""
        return {"tpr": self.tpr, "threshold": self.threshold, "cosine": self.cosine, "fpr": self.fpr,
                "false_accepts": self.false_accepts, "few": self.few}


def allowed(target: float, impostors: int) -> int:
    """How many false accepts an FPR of `target` allows."""
    return int(np.floor(target * impostors * SLACK))


def given(rate: float, false_accepts: int) -> float | None:
    """A TPR as it is shown: None without a false accept behind it, for then the scores do not tell what FPR it is at.
    None is there where the target allows none, or the hardest impostor pairs that it allows tie with one more."""
    return rate if false_accepts else None


def marked(rate: float | None, false_accepts: int, number: bool = True) -> str:
    """A rate in percent, with ~ where it is based on few false accepts, and their number unless a column has it; a dash
    where it is not given."""
    if rate is None:
        return "-"
    if false_accepts >= FEW:
        return f"{100 * rate:.2f}"
    return f"~{100 * rate:.2f}" + (f" ({false_accepts})" if number else "")


def operating_point(genuine: np.ndarray, tail: np.ndarray, impostors: int, target: float) -> OperatingPoint:
    """At the FPR `target`.

    genuine: (G,) cosines of all genuine pairs, ascending. tail: the largest cosines of `impostors` impostor pairs,
    descending, one more than the target allows at least (all of them where the target allows all). ValueError where it
    is shorter.
    """
    count = allowed(target, impostors)
    if len(tail) < min(count + 1, impostors):
        raise ValueError(f"{len(tail)} impostor scores do not decide an FPR of {target:g} of {impostors} pairs")
    refused = float(tail[count]) if count < impostors else -np.inf  # the largest that must not be accepted
    false_accepts = int(np.searchsorted(-tail, -refused, "left"))
    first = int(np.searchsorted(genuine, refused, "right"))
    last = min(float(genuine[first]) if first < len(genuine) else np.inf,
               float(tail[false_accepts - 1]) if false_accepts else np.inf)
    edge = refused if np.isfinite(refused) else -1.0
    cosine = (min(last, 1.0) + edge) / 2 if np.isfinite(last) else edge
    tpr = given((len(genuine) - first) / len(genuine) if len(genuine) else np.nan, false_accepts)
    return OperatingPoint(target, tpr, cosine, false_accepts / impostors, false_accepts, impostors)


def histogram_point(scored: AllPairs, target: float) -> OperatingPoint:
    """At an FPR with too many false accepts to keep: the threshold is between two steps of the histogram, 3e-5 in
    cosine, so the FPR achieved is counted exactly, and misses the largest that is allowed by less than a step."""
    passed = np.cumsum(scored.histogram[::-1])
    steps = int(np.searchsorted(passed, allowed(target, scored.impostors), "right"))  # from the top, that are accepted
    false_accepts = int(passed[steps - 1]) if steps else 0
    cosine = cosine_below(len(passed) - steps)
    tpr = 1 - float(np.searchsorted(scored.genuine, cosine, "right")) / len(scored.genuine)
    return OperatingPoint(target, given(tpr, false_accepts), cosine, false_accepts / scored.impostors, false_accepts,
                          scored.impostors)


def rates_above(scored: AllPairs, cosine: float) -> tuple[float, float]:
    """TPR and FPR where pairs above `cosine` are accepted; FPR to a step of the histogram below the kept scores."""
    genuine = len(scored.genuine)
    tpr = 1 - int(np.searchsorted(scored.genuine, cosine, "right")) / genuine if genuine else np.nan
    if len(scored.tail) == scored.impostors or (len(scored.tail) and cosine >= scored.tail[-1]):
        accepted = int(np.searchsorted(-scored.tail, -cosine, "left"))
    else:
        accepted = int(scored.histogram[int(codes_of(np.float32(cosine))):].sum())
    return tpr, accepted / scored.impostors

"""What separates two systems on the same pairs: the TPR of one minus that of the other, with its interval."""
from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from eval.bootstrap import Interval, interval, share_of_other_sign

Scores = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """A difference in TPR, 1 for 100 points; draws: (resamples,) of it, over identities."""

    value: float
    draws: np.ndarray

    @functools.cached_property
    def limits(self) -> Interval:
        """Of 95% of the resamples."""
        return interval(self.draws)

    @property
    def other_sign(self) -> float:
        """The fraction of the resamples with the other sign."""
        return share_of_other_sign(self.value, self.draws)


@dataclass(frozen=True)
class Difference:
    """Of a system from the reference at one FPR; by_seed: of each seed that both have. mean: of them, on the same
    resamples."""

    system: str
    fpr: float
    by_seed: tuple[Change, ...]

    @functools.cached_property
    def mean(self) -> Change:
        """Over the seeds, drawn together."""
        return Change(float(np.mean([change.value for change in self.by_seed])),
                      np.mean([change.draws for change in self.by_seed], 0))


def differences(results: Mapping[str, Sequence[Scores]], fprs: Sequence[float], reference: str) -> list[Difference]:
    """Each system's TPR on all frontal-profile pairs minus the reference's, of the seeds that both have, at each FPR
    whose resamples both have. ValueError where resamples do not fit together."""
    first = {run["seed"]: run for run in results.get(reference, ())}
    found = []
    for name, runs in results.items():
        both = [(run, first[run["seed"]]) for run in runs if run["seed"] in first]
        if name == reference or not both:
            continue
        for fpr in fprs:
            rate = f"{fpr:g}"
            if all(rate in run["scores"]["frontal-profile"]["draws"] for pair in both for run in pair):
                found.append(Difference(name, fpr, tuple(
                    Change(tpr_on_all_pairs(ours, rate) - tpr_on_all_pairs(theirs, rate),
                           _draws(ours, rate) - _draws(theirs, rate)) for ours, theirs in both)))
    return found


def tpr_on_all_pairs(run: Scores, rate: str) -> float:
    """At an FPR as the score file writes it; 0 where none is given."""
    return run["scores"]["frontal-profile"]["tpr"][rate] or 0.0


def _draws(run: Scores, rate: str) -> np.ndarray:
    return np.asarray(run["scores"]["frontal-profile"]["draws"][rate], np.float64)

"""Rates of groups of images, and of one group against another, at one threshold for the whole set.

A deployed threshold is the same for all groups. Where a group's FPR is above the set's, its identities are confused
with each other more often than others; where its TPR is below, they are rejected more often.
"""
from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from eval.all_pairs import Side, count_pairs, score_all_pairs
from eval.bootstrap import PeopleBootstrap
from eval.fixed_threshold import limits_of
from eval.operating_points import FEW, marked, rates_above
from eval.quality import Kept, discard_curve

MOST_CROSSED = 8  # up to so many groups each is scored against each other; of more, each against itself and the first
KEEP = 1 << 22


@dataclass(frozen=True)
class Slice:
    """left, right: groups. tpr, fpr: None where there is no such pair. limits: 95% over people. quality: error against
    the share discarded, within this slice."""

    left: str
    right: str
    genuine: int
    impostors: int
    tpr: float | None
    fpr: float | None
    false_accepts: int
    tpr_limits: tuple[float, float] | None = None
    fpr_limits: tuple[float, float] | None = None
    quality: tuple[Kept, ...] = ()

    @property
    def few(self) -> bool:
        """Whether fewer than FEW false accepts are behind the FPR."""
        return self.false_accepts < FEW

    @property
    def marked_tpr(self) -> str:
        """The TPR as people are given it; groups without an impostor pair are not marked."""
        return marked(self.tpr, self.false_accepts if self.impostors else FEW, number=False)

    def as_row(self) -> dict[str, object]:
        """For JSON."""
        return {"left": self.left, "right": self.right, "genuine": self.genuine, "impostors": self.impostors,
                "tpr": self.tpr, "fpr": self.fpr, "false_accepts": self.false_accepts, "few": self.few,
                "interval": {"tpr": list(self.tpr_limits) if self.tpr_limits else None,
                             "fpr": list(self.fpr_limits) if self.fpr_limits else None},
                **({"quality": [kept.as_row() for kept in self.quality]} if self.quality else {})}


def group_slices(unit: np.ndarray, labels: np.ndarray, groups: np.ndarray, sides: tuple[np.ndarray, np.ndarray | None],
                 cosine: float, multiplicity: np.ndarray | None = None,
                 norms: np.ndarray | None = None) -> list[Slice]:
    """Every combination of a group of the left side's images with one of the right side's.

    unit: (N, D) of the whole set, labels (N,) and groups (N,) text, "" for images that are in none; sides: the numbers
    of the images on each side, the second None for all against all. cosine: the threshold. multiplicity: (R, people)
    how often each person is drawn, for intervals. norms: (N,) for error against discard within each slice.
    """
    found = []
    for one, other in combinations(groups, sides):
        left, right = sides[0][groups[sides[0]] == one], sides[0] if sides[1] is None else sides[1]
        right = right[groups[right] == other]
        alone = sides[1] is None and one == other
        found.append(_slice((one, other), unit, labels, left, None if alone else right, cosine, multiplicity, norms))
    return found


def combinations(groups: np.ndarray, sides: tuple[np.ndarray, np.ndarray | None]) -> list[tuple[str, str]]:
    """Pairs of groups on the left and on the right, in natural order, each once."""
    ours = _named(groups[sides[0]])
    if sides[1] is not None:
        return list(itertools.product(ours, _named(groups[sides[1]])))
    if len(ours) <= MOST_CROSSED:
        return list(itertools.combinations_with_replacement(ours, 2))
    return [*((name, name) for name in ours), *((ours[0], name) for name in ours[1:])]


def _slice(names: tuple[str, str], unit: np.ndarray, labels: np.ndarray, left: np.ndarray, right: np.ndarray | None,
           cosine: float, multiplicity: np.ndarray | None, norms: np.ndarray | None) -> Slice:
    ours, theirs = Side(unit[left], labels[left]), None if right is None else Side(unit[right], labels[right])
    genuine, impostors = count_pairs(ours, theirs)
    if genuine + impostors == 0:
        return Slice(*names, 0, 0, None, None, 0)
    scored = score_all_pairs(ours, theirs, KEEP)
    accepts = int((scored.genuine > cosine).sum())
    tpr = accepts / genuine if genuine else None
    fpr = rates_above(scored, cosine)[1] if impostors else None
    false_accepts = round((fpr or 0.0) * impostors)
    tpr_limits = fpr_limits = None
    if multiplicity is not None:
        bootstrap = PeopleBootstrap(multiplicity.shape[1], labels[left], None if right is None else labels[right],
                                    multiplicity=multiplicity)
        draws = bootstrap.rates_above(scored, cosine)
        tpr_limits = limits_of(draws[0], accepts, genuine) if genuine else None
        fpr_limits = limits_of(draws[1], false_accepts, impostors) if impostors and draws[1] is not None else None
    curve: Sequence[Kept] = ()
    if norms is not None and genuine:
        curve = discard_curve(scored, (ours, theirs), (norms[left], None if right is None else norms[right]), cosine,
                              multiplicity)
    return Slice(*names, genuine, impostors, tpr, fpr, false_accepts, tpr_limits, fpr_limits, tuple(curve))


def _named(groups: np.ndarray) -> list[str]:
    return sorted(set(groups.tolist()) - {""}, key=lambda name: [
        (0, float(part), "") if part.isdecimal() else (1, 0.0, part) for part in name.replace("-", " ").split()])

"""Scores all pairs of a labelled set: all that `allpairs` and the report show, computed once."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Sequence

import numpy as np

from common.progress import meter
from eval.all_pairs import AllPairs, count_pairs, make_sides, score_all_pairs
from eval.bootstrap import PeopleBootstrap, differences, draw_resamples, interval
from eval.curve_rates import area_under_curve, curve_draws, equal_error_rate
from eval.error_sources import false_accepts
from eval.fixed_threshold import FixedPoint, limits_of
from eval.operating_points import OperatingPoint, allowed, histogram_point, operating_point, rates_above
from eval.quality import Kept, discard_curve
from eval.slices import Slice, group_slices

MOST = 1 << 22  # impostor scores kept: up to so many impostor pairs everything is exact
USUAL = 1e-3  # the FPR of the paper's tables
SPARE = 4  # multiple of the impostor scores that the largest FPR needs: a resample may need more


@dataclass(frozen=True)
class LabelledPairs:
    """The pairs to score. labels: (N,) the identity of each image, from 0; people: their names. sides: the numbers of
    the images on each side, the second None for all against all. groups: (N,) text, "" for none, for slices; None
    without them. multiplicity: (R, people) how often each person is drawn, None for no intervals: every model is judged
    on the same resamples."""

    labels: np.ndarray
    people: list[str]
    sides: tuple[np.ndarray, np.ndarray | None]
    groups: np.ndarray | None = None
    multiplicity: np.ndarray | None = None

    def bootstrap(self) -> PeopleBootstrap | None:
        """Of the sides' pairs."""
        if self.multiplicity is None:
            return None
        left, right = self.sides
        return PeopleBootstrap(len(self.people), self.labels[left], None if right is None else self.labels[right],
                               multiplicity=self.multiplicity)


@dataclass(frozen=True)
class ScoredModel:
    """A model's result. points: by FPR. draws: by the name of the rate (`0.001`, `eer`, `auc`) its values on the
    resamples. blamed: identities in the false accepts at the first FPR whose false accepts are all kept. fixed: at
    thresholds that were not chosen on the set. slices, quality: at the threshold of FPR 0.1% where that was asked for,
    else of the first FPR."""

    model: str
    scored: AllPairs
    points: list[OperatingPoint]
    draws: dict[str, np.ndarray]
    eer: float
    auc: float
    blamed: dict[str, Any]
    fixed: list[FixedPoint] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    quality: list[Kept] = field(default_factory=list)

    @property
    def at(self) -> OperatingPoint:
        """The point whose threshold slices and quality use."""
        return next((point for point in self.points if np.isclose(point.fpr_target, USUAL)), self.points[0])

    def rate(self, name: str) -> float | None:
        """A rate by its name in `draws`; None for a TPR that is not given, on less than one false accept."""
        if name in ("eer", "auc"):
            return float(getattr(self, name))
        return next(point.tpr for point in self.points if f"{point.fpr_target:g}" == name)

    def as_row(self, first: ScoredModel | None = None) -> dict[str, Any]:
        """For JSON; first: the model that differences are to, None for no differences."""
        row: dict[str, Any] = {
            "genuine": len(self.scored.genuine), "impostors": self.scored.impostors, "eer": self.eer, "auc": self.auc,
            "tpr_at_fpr": {f"{point.fpr_target:g}": point.tpr for point in self.points},
            "false_accepts": {f"{point.fpr_target:g}": point.false_accepts for point in self.points},
            "thresholds": {f"{point.fpr_target:g}": point.as_row() for point in self.points},
            "false_accepts_of": self.blamed}
        if self.draws:
            row["interval"] = {name: [limits.low, limits.high] for name, limits in
                               ((name, interval(draws)) for name, draws in self.draws.items()
                                if self.rate(name) is not None)}
        if self.fixed:
            row["at_threshold"] = [point.as_row() for point in self.fixed]
        if self.slices:
            row["slices"] = [one.as_row() for one in self.slices]
        if self.slices or self.quality:
            row["slices_at"] = {"fpr_target": self.at.fpr_target, **self.at.as_row()}
        if self.quality:
            row["quality"] = [kept.as_row() for kept in self.quality]
        if first is not None and self.draws:
            ours, theirs = ({name: one.rate(name) for name in self.draws} for one in (self, first))
            found = differences(first.model, ours, theirs, self.draws, first.draws)
            row["difference"] = {name: one if name in ("eer", "auc") else {**one, "tpr": one["value"]}
                                 for name, one in found.items()}
        return row


def labelled_pairs(labels: np.ndarray, people: list[str], sides: tuple[np.ndarray, np.ndarray | None],
                   groups: np.ndarray | None = None, resamples: int = 1000, seed: int = 0) -> LabelledPairs:
    """Pairs with resamples of their identities; 0 for none."""
    drawn = draw_resamples(len(people), resamples, seed) if resamples else None
    return LabelledPairs(labels, people, sides, groups, drawn)


def score_labelled(model: str, unit: np.ndarray, pairs: LabelledPairs, fpr: Sequence[float],
                   norms: np.ndarray | None = None,
                   fixed: Sequence[tuple[str, float | None, float]] = ()) -> ScoredModel:
    """Score all pairs by (N, D) embeddings of length 1.

    fpr: the FPRs of the TPRs. norms: (N,) before they were normalised, for error against the share discarded. fixed:
    (set, FPR, squared distance) of thresholds chosen elsewhere, ("", None, distance) for one that was given.
    """
    left, right = make_sides(unit, pairs.labels, pairs.sides)
    genuine, impostors = count_pairs(left, right)
    with meter(genuine + impostors, f"{model}: pairs", "pairs") as bar:
        scored = score_all_pairs(left, right, scores_to_keep(fpr, impostors), bar.update)
    kept = len(scored.tail)
    points = [operating_point(scored.genuine, scored.tail, impostors, rate) if kept == impostors or allowed(
        rate, impostors) < kept else histogram_point(scored, rate) for rate in fpr]
    behind = scored.tail_pair[:next((point.false_accepts for point in points if point.false_accepts <= kept), 0)]
    other = left if right is None else right
    blamed = false_accepts(left.person[behind[:, 0]], other.person[behind[:, 1]])
    sources = {**asdict(blamed), "top": [[pairs.people[person], share] for person, share in blamed.top]}
    bootstrap, draws = pairs.bootstrap(), {}
    if bootstrap is not None and pairs.multiplicity is not None:
        exact = [rate for rate in fpr if kept == impostors or SPARE * allowed(rate, impostors) + 100 <= kept]
        sampled = dict(zip(exact, bootstrap.tprs(scored, exact))) if exact else {}
        curves = curve_draws(scored, left, right, pairs.multiplicity,
                             [point for point in points if point.fpr_target not in exact])
        draws = {**{f"{rate:g}": {**curves.tpr, **sampled}[rate] for rate in fpr}, "eer": curves.eer, "auc": curves.auc}
    elsewhere = [fixed_point(scored, distance, bootstrap, name, rate) for name, rate, distance in fixed]
    found = ScoredModel(model, scored, points, draws, equal_error_rate(scored), area_under_curve(scored), sources,
                        elsewhere)
    if pairs.groups is not None:
        found.slices.extend(group_slices(unit, pairs.labels, pairs.groups, pairs.sides, found.at.cosine,
                                         pairs.multiplicity, norms))
    if norms is not None:
        of_sides = (norms[pairs.sides[0]], None if pairs.sides[1] is None else norms[pairs.sides[1]])
        found.quality.extend(discard_curve(scored, (left, right), of_sides, found.at.cosine, pairs.multiplicity))
    return found


def scores_to_keep(fpr: Sequence[float], impostors: int) -> int:
    """Of the impostor scores: all where they are few, else what those FPR need whose false accepts can be kept."""
    if impostors <= MOST:
        return MOST
    needed = [SPARE * (allowed(rate, impostors) + 1000) for rate in fpr]
    return max([min(MOST, 1 << 16), *(count for count in needed if count <= MOST)])


def fixed_point(scored: AllPairs, distance: float, bootstrap: PeopleBootstrap | None, chosen_on: str = "",
                fpr_target: float | None = None) -> FixedPoint:
    """Rates of all pairs below a squared distance."""
    cosine = 1 - distance / 2
    tpr, fpr = rates_above(scored, cosine)
    genuine, impostors = len(scored.genuine), scored.impostors
    accepts = round(fpr * impostors)
    limits: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)
    if bootstrap is not None:
        draws = bootstrap.rates_above(scored, cosine)
        limits = (limits_of(draws[0], round(tpr * genuine), genuine),
                  None if draws[1] is None else limits_of(draws[1], accepts, impostors))
    return FixedPoint(distance, tpr, fpr, accepts, genuine, impostors, *limits, chosen_on, fpr_target)

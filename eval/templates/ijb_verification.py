"""1:1 of `ijb`: rates of millions of pairs of templates by both conventions, with intervals; printed, and for JSON."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from common.errors import UserError
from common.progress import meter
from eval.bootstrap import interval
from eval.operating_points import given, marked
from eval.templates.ijb_files import read_pairs
from eval.templates.pair_bootstrap import tpr_draws
from eval.templates.verification import PairScores, nearest_curve, nearest_point, rates, score_pairs


@dataclass(frozen=True)
class Resampling:
    """resamples: 0 for no intervals. people: (T,) the subject of each template, "" where it is not known; None where
    none is known, for the reason `why`."""

    resamples: int
    seed: int = 0
    people: np.ndarray | None = None
    why: str = ""


def verify(unit: np.ndarray, pairs: Path, templates: np.ndarray, fprs: Sequence[float],
           resampling: Resampling) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Score the pairs of a list, print the table, and return its values, and by FPR those of the TPR on the resamples,
    {} without them. UserError where they are all of one kind."""
    total = pairs.stat().st_size // 12  # about a dozen bytes per pair
    with meter(total, "1:1", "pairs") as bar:
        scores = score_pairs(unit, read_pairs(pairs, templates), bar.update, bool(resampling.resamples))
    if not len(scores.genuine) or not len(scores.impostor):
        raise UserError(f"{pairs}: has {len(scores.genuine)} genuine and {len(scores.impostor)} impostor pairs; "
                        "both are needed")
    points = [rates(scores, fpr) for fpr in fprs]
    drawn: dict[str, np.ndarray] = {}
    row: dict[str, Any] = {"genuine": len(scores.genuine), "impostors": len(scores.impostor),
                           "tpr_at_fpr": {f"{point.fpr_target:g}": point.tpr for point in points},
                           "false_accepts": {f"{point.fpr_target:g}": point.false_accepts for point in points},
                           "thresholds": {}, "tpr_at_nearest_fpr": {}}
    print(f"  1:1, {len(scores.genuine)} genuine and {len(scores.impostor)} impostor pairs")
    if resampling.resamples:
        row["bootstrap"], draws = _resampled(scores, len(templates), fprs, resampling)
        drawn = dict(zip(row["tpr_at_fpr"], draws))
        limits = [interval(some) for some in draws]
        row["interval"] = {f"{point.fpr_target:g}": [one.low, one.high] for point, one in zip(points, limits)
                           if point.tpr is not None and np.isfinite(one.low)}
        scores = PairScores(scores.genuine, scores.impostor)  # frees the pairs' template indices
    curve = nearest_curve(scores)
    print(f"    {'FPR':>7}  {'TPR %':>8}  {'95% interval':>16}  {'false accepts':>13}  {'distance':>8}  {'cosine':>7}  "
          f"{'TPR % at the nearest FPR':>24}")
    for point in points:
        name = f"{point.fpr_target:g}"
        there, nearest = nearest_point(curve, point.fpr_target)
        accepts = round(there * len(scores.impostor))
        text = marked(point.tpr, point.false_accepts, number=False)
        low, high = row.get("interval", {}).get(name, (None, None))
        between = "" if low is None else f"[{100 * low:.2f}, {100 * high:.2f}]"
        print(f"    {name:>7}  {text:>8}  {between:>16}  {point.false_accepts:>13}  {point.threshold:>8.4f}  "
              f"{point.cosine:>7.4f}  {marked(given(nearest, accepts), accepts):>24}")
        row["thresholds"][name] = point.as_row()
        row["tpr_at_nearest_fpr"][name] = nearest
    return row, drawn


def _resampled(scores: PairScores, templates: int, fprs: Sequence[float],
               resampling: Resampling) -> tuple[dict[str, Any], np.ndarray]:
    """(the resampling, for JSON; (fprs, resamples) TPR), and logged."""
    assert scores.genuine_pair is not None and scores.impostor_pair is not None
    there = np.zeros(templates, bool)
    for some in (scores.genuine_pair, scores.impostor_pair):
        there[some.ravel()] = True
    why = resampling.why
    lacking = 0 if resampling.people is None else int((resampling.people[there] == "").sum())
    if lacking:
        why = f"{lacking} of {int(there.sum())} templates of the pairs are in no gallery or probe list"
    over = "templates" if why or resampling.people is None else "subjects"
    units = np.arange(templates) if over == "templates" or resampling.people is None else resampling.people
    number = np.full(templates, -1)  # only units that are in a pair are sampled
    number[there] = np.unique(units[there], return_inverse=True)[1]
    count = int(number.max()) + 1
    with meter(resampling.resamples, f"1:1, {over}", "resamples") as bar:
        draws = tpr_draws(scores, number, count, fprs, resampling.resamples, resampling.seed, bar.update)
    print(f"  95% intervals: bootstrap over the {count} {over} of the pairs, {resampling.resamples} resamples"
          + (f"; not over identities, usually too narrow: {why}" if over == "templates" else ""))
    return {"over": over, "units": count, "resamples": resampling.resamples, "seed": resampling.seed}, draws

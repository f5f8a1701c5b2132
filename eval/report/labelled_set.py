"""The report's parts on a labelled set: all of its pairs, and its rates by pose or other groups."""
from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from common.progress import meter
from eval.all_pairs import AllPairs, Side, count_pairs, score_all_pairs
from eval.allpairs import equal_error_rate
from eval.bootstrap import PeopleBootstrap, draw_resamples, interval
from eval.operating_points import OperatingPoint, allowed, operating_point, rates_above
from eval.report.charts import chart, draw_groups, draw_roc
from eval.report.html import Html, figure, key, paragraph, section, table
from eval.report.pair_sets import limits_text, rate

SPARE = 4  # times the impostor scores that the largest FPR needs: a resample may need more
CURVE_FPR = 0.1  # up to which the curve of all pairs is drawn
FPRS = (1e-2, 1e-3, 1e-4, 1e-5)
MOST_GROUPS = 8


@dataclass(frozen=True)
class LabelledSet:
    """name; labels: (N,) the person of each image; groups: (N,) text, "" for none; sides: the numbers of the images
    scored against each other, the second None for all against all; between: what the sides are."""

    name: str
    labels: np.ndarray
    groups: np.ndarray
    sides: tuple[np.ndarray, np.ndarray | None]
    between: str = ""


@dataclass(frozen=True)
class ModelPairs:
    """All pairs by one model."""

    scored: AllPairs
    points: list[OperatingPoint]
    draws: list[np.ndarray]
    eer: float


def score(faces: LabelledSet, unit: np.ndarray, model: str, bootstrap: PeopleBootstrap | None) -> ModelPairs:
    """All pairs of the two sides."""
    left = Side(unit[faces.sides[0]], faces.labels[faces.sides[0]])
    right = None if faces.sides[1] is None else Side(unit[faces.sides[1]], faces.labels[faces.sides[1]])
    genuine, impostors = count_pairs(left, right)
    keep = SPARE * (allowed(max(FPRS), impostors) + 1000)
    with meter(genuine + impostors, f"{model}: pairs", "pairs") as bar:
        scored = score_all_pairs(left, right, keep, bar.update)
    points = [operating_point(scored.genuine, scored.tail, scored.impostors, fpr) for fpr in FPRS]
    draws = [bootstrap.tpr(scored, fpr) for fpr in FPRS] if bootstrap else []
    return ModelPairs(scored, points, draws, equal_error_rate(scored))


def people_bootstrap(faces: LabelledSet, people: int, resamples: int, seed: int) -> PeopleBootstrap | None:
    """The resamples that all models share; None for 0 of them."""
    left, right = faces.sides
    return PeopleBootstrap(people, faces.labels[left], None if right is None else faces.labels[right], resamples,
                           seed) if resamples else None


def all_pairs_section(faces: LabelledSet, models: Sequence[str], found: Sequence[ModelPairs]) -> Html:
    """The table and the curve of every pair of the set."""
    first = found[0].scored
    between = f", {faces.between}" if faces.between else ""
    rows = []
    for model, made in zip(models, found):
        for number, point in enumerate(made.points):
            draws = made.draws[number] if made.draws and point.tpr is not None else None
            rows.append([f"{model}, FPR {point.fpr_target:g}", rate(point), limits_text(draws),
                         str(point.false_accepts), f"{point.threshold:.4f}", f"{point.cosine:.4f}",
                         f"{100 * made.eer:.2f}" if not number else ""])
    curves = [_curve(made.scored) for made in found]
    svg = chart("all pairs", f"ROC curves of all pairs of {faces.name}",
                draw_roc(curves, 0.5 / first.impostors, CURVE_FPR))
    return section(
        "All pairs",
        paragraph(f"Every pair of {faces.name}{between}: {len(first.genuine)} of one person, {first.impostors} of two. "
                  "Intervals are 95% bootstrap over people."), key(models),
        figure(svg, f"TPR against FPR, as far as an FPR of {CURVE_FPR:g}.",
               table(["model, FPR", "TPR %", "95% interval", "false accepts", "squared distance", "cosine", "EER %"],
                     rows)))


def _curve(scored: AllPairs, most: int = 200) -> tuple[np.ndarray, np.ndarray]:
    reach = min(CURVE_FPR, (len(scored.tail) - 1) / scored.impostors)
    fpr = np.geomspace(1 / scored.impostors, max(reach, 1.1 / scored.impostors), most)
    kept = [operating_point(scored.genuine, scored.tail, scored.impostors, one) for one in fpr
            if len(scored.tail) >= min(allowed(one, scored.impostors) + 1, scored.impostors)]
    return fpr[:len(kept)], np.array([point.tpr or 0.0 for point in kept])


def pose_section(faces: LabelledSet, models: Sequence[str], units: Sequence[np.ndarray], people: int, fpr: float,
                 resamples: int, seed: int) -> Html:
    """Rates between groups of images (frontal, profile, or ranges of yaw) at one threshold for the whole set."""
    names = [name for name in dict.fromkeys(sorted(set(faces.groups.tolist()), key=_in_order)) if name]
    if not names:
        return section("Rates by pose", paragraph(
            "No pose is known of these images. Folders inside the people's folders (CFP's frontal/ and profile/), "
            "--groups FILE.csv or --landmarks FILE.csv tell it."))
    names = names[:MOST_GROUPS]
    combinations = list(itertools.combinations_with_replacement(names, 2)) if len(names) <= 3 else [
        *((name, name) for name in names), *((names[0], name) for name in names[1:])]
    counted, rows, charted = [], [], []
    for model, unit in zip(models, units):
        threshold = _threshold(faces, unit, fpr)
        shown: list[tuple[float, tuple[float, float] | None] | None] = []
        for one, other in combinations:
            sides = np.flatnonzero(faces.groups == one), np.flatnonzero(faces.groups == other)
            made = _group_rates(faces, unit, sides, threshold, people, resamples, seed)
            if made is None:
                shown.append(None)
                continue
            tpr, false_rate, genuine, impostors, limits = made
            shown.append((tpr, limits))
            rows.append([f"{model}: {_pair(one, other)}", f"{100 * tpr:.2f}",
                         f"{100 * limits[0]:.2f} to {100 * limits[1]:.2f}" if limits else "", str(genuine),
                         f"{100 * false_rate:.4f}", str(round(false_rate * impostors)), str(impostors)])
        charted.append(shown)
        counted.append(f"{model}: cosine {threshold:.4f}")
    labels = [_pair(one, other, "\n") for one, other in combinations]
    svg = chart("pose", "TPR by pose", draw_groups(labels, charted, "TPR, %"), width=max(4.6, 0.95 * len(labels)))
    return section(
        "Rates by pose",
        paragraph(f"At one threshold for the whole set, where all of its pairs have an FPR of {100 * fpr:g}% "
                  f"({'; '.join(counted)}). Where a group's FPR lies above that, its people are taken for each other "
                  "more often than the set's are."), key(models),
        figure(svg, "TPR between groups, with 95% intervals over people.",
               table(["model, groups", "TPR %", "95% interval", "pairs of one person", "FPR %", "false accepts",
                      "pairs of two"], rows)))


def _threshold(faces: LabelledSet, unit: np.ndarray, fpr: float) -> float:
    """The cosine at which all pairs of images that are in a group have this FPR."""
    members = np.flatnonzero(faces.groups != "")
    side = Side(unit[members], faces.labels[members])
    _, impostors = count_pairs(side)
    scored = score_all_pairs(side, None, allowed(fpr, impostors) + 1000)
    return operating_point(scored.genuine, scored.tail, scored.impostors, fpr).cosine


def _group_rates(faces: LabelledSet, unit: np.ndarray, sides: tuple[np.ndarray, np.ndarray], cosine: float, people: int,
                 resamples: int, seed: int) -> tuple[float, float, int, int, tuple[float, float] | None] | None:
    """TPR, FPR, pairs of one and of two people, and the interval of TPR; None where either kind is missing."""
    left = Side(unit[sides[0]], faces.labels[sides[0]])
    right = None if np.array_equal(*sides) else Side(unit[sides[1]], faces.labels[sides[1]])
    if not all(count_pairs(left, right)):
        return None
    scored = score_all_pairs(left, right, 1 << 16)
    tpr, false_rate = rates_above(scored, cosine)
    return (tpr, false_rate, len(scored.genuine), scored.impostors,
            _over_people(scored, cosine, people, resamples, seed) if resamples else None)


def _over_people(scored: AllPairs, cosine: float, people: int, resamples: int, seed: int) -> tuple[float, float]:
    """The interval of TPR at a fixed threshold: people are drawn, with all their genuine pairs."""
    drawn = draw_resamples(people, resamples, seed).astype(np.float64)
    accepted = np.bincount(scored.genuine_person, scored.genuine > cosine, people)
    pairs = np.bincount(scored.genuine_person, minlength=people)
    with np.errstate(invalid="ignore"):
        limits = interval((drawn @ accepted) / (drawn @ pairs))
    return limits.low, limits.high


def _pair(one: str, other: str, between: str = ", ") -> str:
    return f"{one}{between}{other}" if one != other else f"both {one}" if between == ", " else f"{one}\n{other}"


def _in_order(name: str) -> tuple[float, str]:
    """Ranges of yaw by their numbers, other groups by name."""
    digits = name.split(" ")[0].lstrip("-")
    return (float(name.split(" ")[0]) if digits.isdigit() else -1.0, name)

"""The report's parts on a labelled set: all of its pairs, rates by pose or other groups, error against discard."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from eval.all_pairs import AllPairs
from eval.operating_points import allowed, operating_point
from eval.report.charts import chart, draw_curves, draw_groups, draw_roc
from eval.report.html import Html, Text, figure, join, key, paragraph, section, table, tag
from eval.report.pair_sets import limits_text, rate
from eval.set_scoring import ScoredModel
from eval.slices import Slice

CURVE_FPR = 0.1  # largest FPR of the curve of all pairs
FPRS = (1e-2, 1e-3, 1e-4, 1e-5)
CROSSED = 3  # up to so many groups every combination is shown; of more, the first against each


@dataclass(frozen=True)
class LabelledSet:
    """name; labels: (N,) the identity of each image, people: their names; groups: (N,) text, "" for none; sides: the
    numbers of the images scored against each other, the second None for all against all; between: what they are.
    digest: sha256 of the set."""

    name: str
    labels: np.ndarray
    people: list[str]
    groups: np.ndarray
    sides: tuple[np.ndarray, np.ndarray | None]
    between: str = ""
    digest: str = ""


def all_pairs_section(faces: LabelledSet, models: Sequence[str], found: Sequence[ScoredModel]) -> Html:
    """The table and the curve of every pair of the sides, and the identities in the false accepts."""
    first = found[0].scored
    between = f", {faces.between}" if faces.between else ""
    rows = []
    for made in found:
        rows.append([[f"TPR at {point.fpr_target:g}", rate(point),
                      limits_text(made.draws.get(f"{point.fpr_target:g}") if point.tpr is not None else None),
                      str(point.false_accepts), f"{point.threshold:.4f}", f"{point.cosine:.4f}"]
                     for point in made.points])
        rows[-1].append(["EER", f"{100 * made.eer:.2f}", limits_text(made.draws.get("eer")), "", "", ""])
    curves = [_curve(made.scored) for made in found]
    svg = chart("all pairs", f"ROC curves of all pairs of {faces.name}",
                draw_roc(curves, 0.5 / first.impostors, CURVE_FPR))
    parts: list[Text] = [
        paragraph(f"Every pair of {faces.name}{between}: {len(first.genuine)} genuine, {first.impostors} impostor. "
                  "Intervals are 95% bootstrap over identities."), key(models),
        figure(svg, f"TPR against FPR, as far as an FPR of {CURVE_FPR:g}.",
               _by_model(["rate", "%", "95% interval", "false accepts", "squared distance", "cosine"], models, rows))]
    apart = [[f"{model}, {name.upper() if name in ('eer', 'auc') else f'TPR at {name}'}", f"{100 * one['value']:+.2f}",
              f"{100 * one['interval'][0]:+.2f} to {100 * one['interval'][1]:+.2f}", f"{100 * one['other_sign']:.1f}%"]
             for model, made in zip(models[1:], found[1:])
             for name, one in made.as_row(found[0]).get("difference", {}).items()
             if made.rate(name) is not None and found[0].rate(name) is not None]
    if apart:
        parts += [tag("h3", f"Differences to {models[0]}"), paragraph("In percentage points, on the same resamples."),
                  table(["model, rate", "difference", "95% interval", "other sign"], apart)]
    blamed = [[model, str(made.blamed["count"]), str(made.blamed["people"]), f"{100 * made.blamed['top_share']:.1f}%",
               ", ".join(str(name) for name, _ in made.blamed["top"])] for model, made in zip(models, found)]
    parts += [tag("h3", "Identities in the false accepts"),
              table([f"at FPR {found[0].points[0].fpr_target:g}", "false accepts", "identities in them",
                     "involve one of the top five", "the top five"], blamed)]
    return section("All pairs", *parts)


def _curve(scored: AllPairs, most: int = 200) -> tuple[np.ndarray, np.ndarray]:
    reach = min(CURVE_FPR, (len(scored.tail) - 1) / scored.impostors)
    fpr = np.geomspace(1 / scored.impostors, max(reach, 1.1 / scored.impostors), most)
    kept = [operating_point(scored.genuine, scored.tail, scored.impostors, one) for one in fpr
            if len(scored.tail) >= min(allowed(one, scored.impostors) + 1, scored.impostors)]
    return fpr[:len(kept)], np.array([np.nan if point.tpr is None else point.tpr for point in kept])


def pose_section(models: Sequence[str], found: Sequence[ScoredModel]) -> Html:
    """Rates between groups of images (frontal, profile, or ranges of yaw) at one threshold for the whole set; found:
    with the slices of all images that are in a group."""
    shown = [one for one in found[0].slices if one.genuine]
    if not shown:
        return section("Rates by pose", paragraph(
            "No pose is known of these images, or of too few for genuine and impostor pairs. Folders inside the "
            "identities' folders (CFP's frontal/ and profile/), --groups FILE.csv or --landmarks FILE.csv provide it."))
    names = list(dict.fromkeys(one.left for one in found[0].slices))
    drawn = [number for number, one in enumerate(found[0].slices)
             if len(names) <= CROSSED or one.left == names[0]]
    labels = [f"{one.left}\n{one.right}" for one in (found[0].slices[number] for number in drawn)]
    charted = [[_rate_of(made.slices[number]) for number in drawn] for made in found]
    svg = chart("pose", "TPR by pose", draw_groups(labels, charted, "TPR, %"), width=max(4.6, 0.9 * len(labels)))
    thresholds = "; ".join(f"{model}: cosine {made.at.cosine:.4f}" for model, made in zip(models, found))
    rows = [[[_pair(one), *_cells(one)] for one in made.slices] for made in found]
    return section(
        "Rates by pose",
        paragraph(f"At one threshold for all, where all pairs of images whose pose is known have an FPR of "
                  f"{100 * found[0].at.fpr_target:g}% ({thresholds}). Where a group's FPR is above that, its "
                  "identities are confused with each other more often than others."), key(models),
        figure(svg, "TPR between groups, with 95% intervals over identities."
               + (f" Of more than {CROSSED} groups, the first against each." if len(names) > CROSSED else ""),
               _by_model(["groups", "TPR %", "95% interval", "genuine pairs", "FPR %", "95% interval",
                          "false accepts", "pairs of two"], models, rows)))


def quality_section(models: Sequence[str], found: Sequence[ScoredModel]) -> Html:
    """The fraction of genuine pairs rejected as those of the smallest norms are discarded."""
    curves = [[(100 * kept.discarded, kept.fnmr, kept.limits) for kept in made.quality] for made in found]
    svg = chart("quality", "errors against the share discarded",
                draw_curves(curves, "left out, %", "false reject rate of genuine pairs, %"), height=2.8)
    rows = [[[f"{100 * kept.discarded:g}%", f"{kept.norm:.2f}", f"{100 * kept.fnmr:.2f}", _limits(kept.limits, 2),
              str(kept.genuine), _percent(kept.fpr, 4)] for kept in made.quality] for made in found]
    return section(
        "Quality", paragraph("How well the norm of an embedding (before normalisation) predicts errors: "
                             "pairs are left out from the smallest norm on, at the threshold that all pairs have at "
                             f"FPR {100 * found[0].at.fpr_target:g}%."), key(models),
        figure(svg, "Errors against the share left out, with 95% intervals over identities.",
               _by_model(["left out", "least norm", "refused %", "95% interval", "genuine pairs", "FPR %"],
                         models, rows)))


def _by_model(head: Sequence[str], models: Sequence[str], rows: Sequence[Sequence[Sequence[str]]]) -> Html:
    """A table for each model, named in its caption."""
    return join(table(head, some, model) for model, some in zip(models, rows))


def _rate_of(one: Slice) -> tuple[float, tuple[float, float] | None] | None:
    return None if one.tpr is None else (one.tpr, one.tpr_limits)


def _cells(one: Slice) -> list[str]:
    return [one.marked_tpr, _limits(one.tpr_limits, 2), str(one.genuine),
            f"{'~' if one.few and one.fpr is not None else ''}{_percent(one.fpr, 4)}", _limits(one.fpr_limits, 4),
            str(one.false_accepts), str(one.impostors)]


def _percent(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}"


def _limits(limits: tuple[float, float] | None, digits: int) -> str:
    return f"{100 * limits[0]:.{digits}f} to {100 * limits[1]:.{digits}f}" if limits else ""


def _pair(one: Slice) -> str:
    return f"{one.left} against {one.right}" if one.left != one.right else f"{one.left}, both"

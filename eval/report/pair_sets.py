"""The report's parts on sets of pairs: the table, ROC curves, histograms of scores, the hardest pairs."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

import cv2
import numpy as np

from eval.bootstrap import interval, share_of_other_sign
from eval.operating_points import OperatingPoint, given, marked
from eval.pair_statistics import Statistics
from eval.report.charts import chart, draw_histogram, draw_roc
from eval.report.html import Html, Text, figure, join, key, paragraph, picture, section, table, tag
from eval.scores import cosines_of
from eval.verification import VerificationResult, VerificationSet

BINS = 50  # of a histogram, from cosine -1 to 1
ROWS = 10  # of its table
FPR_ROWS = (1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Scored:
    """One model on one set of pairs."""

    result: VerificationResult
    statistics: Statistics


@dataclass(frozen=True)
class PairSet:
    """A set with what every model scored on it; image: number of an image of the set to its pixels."""

    name: str
    target: VerificationSet
    scored: list[Scored]
    image: Callable[[int], np.ndarray]


def rate(point: OperatingPoint) -> str:
    """A TPR in percent, marked where it is based on few false accepts; a dash where on none."""
    return marked(point.tpr, point.false_accepts)


def limits_text(draws: np.ndarray | None) -> str:
    """`70.28 to 75.69`, percent, or "" without resamples."""
    if draws is None:
        return ""
    limits = interval(draws)
    return f"{100 * limits.low:.2f} to {100 * limits.high:.2f}" if np.isfinite(limits.low) else ""


def table_section(sets: Sequence[PairSet], models: Sequence[str]) -> Html:
    """The paper's row of every model for every set, with intervals and differences to the first model."""
    fprs = [point.fpr_target for point in sets[0].scored[0].statistics.points]
    head = ["set, model", "pairs", "accuracy %", "+-", "95% interval",
            *(text for fpr in fprs for text in (f"TPR % at FPR {100 * fpr:g}%", "95% interval")), "EER %",
            "95% interval", "AUC %", "XNorm", "threshold (squared distance)"]
    rows, apart = [], []
    for target in sets:
        first = target.scored[0]
        for model, scored in zip(models, target.scored):
            result, found = scored.result, scored.statistics
            rates = [text for point in found.points for text in (rate(point), limits_text(
                found.draws.get(f"{point.fpr_target:g}") if point.tpr is not None else None))]
            rows.append([f"{target.name}, {model}", str(result.pairs), f"{100 * result.accuracy:.2f}",
                         f"{100 * result.accuracy_std:.2f}", limits_text(found.draws.get("accuracy")), *rates,
                         f"{100 * result.eer:.2f}", limits_text(found.draws.get("eer")), f"{100 * result.auc:.3f}",
                         f"{result.xnorm:.2f}" if np.isfinite(result.xnorm) else "-", f"{result.threshold:.3f}"])
            if scored is not first and found.draws:
                apart += _differences(f"{target.name}, {model}", scored, first)
    parts: list[Text] = [
        paragraph("Accuracy: over folds, each at the threshold that is best on the others. TPR: over all pairs, at the "
                  "largest observed FPR that does not exceed the one named. A ~ marks a rate based on fewer than ten "
                  "false accepts, with their number: it is unreliable. A dash: a rate with none behind it. "
                  "Intervals are 95% bootstrap over pairs."), table(head, rows)]
    if apart:
        parts += [tag("h3", f"Differences to {models[0]}"),
                  paragraph("In percentage points, on the same resamples; the share of resamples in which the "
                            "difference has the other sign shows how reliable its direction is."),
                  table(["set, model", "rate", "difference", "95% interval", "other sign"], apart)]
    return section("Table", *parts)


def _differences(name: str, ours: Scored, theirs: Scored) -> list[list[str]]:
    rows = []
    for point, other in zip(ours.statistics.points, theirs.statistics.points):
        if point.tpr is None or other.tpr is None:
            continue
        text = f"{point.fpr_target:g}"
        rows.append(_difference(name, f"TPR at FPR {100 * point.fpr_target:g}%", point.tpr - other.tpr,
                                ours.statistics.draws[text] - theirs.statistics.draws[text]))
    rows.append(_difference(name, "EER", ours.result.eer - theirs.result.eer,
                            ours.statistics.draws["eer"] - theirs.statistics.draws["eer"]))
    return rows


def _difference(name: str, what: str, change: float, draws: np.ndarray) -> list[str]:
    limits = interval(draws)
    return [name, what, f"{100 * change:+.2f}", f"{100 * limits.low:+.2f} to {100 * limits.high:+.2f}",
            f"{100 * share_of_other_sign(change, draws):.1f}%"]


def roc_section(sets: Sequence[PairSet], models: Sequence[str]) -> Html:
    """A curve for each model, on a logarithmic scale of FPR."""
    parts: list[Text] = [key(models)]
    for number, target in enumerate(sets):
        impostors = int((~target.target.same).sum())
        curves = [_thinned(*scored.result.roc, 1 / impostors) for scored in target.scored]
        svg = chart(f"roc {number}", f"ROC curves on {target.name}", draw_roc(curves, 0.5 / impostors))
        rows = [[f"{fpr:g}", str(int(fpr * impostors * (1 + 1e-9))),
                 *(_rate_at(*scored.result.roc, fpr, impostors) for scored in target.scored)] for fpr in FPR_ROWS]
        parts += [tag("h3", target.name),
                  figure(svg, f"TPR against FPR, {impostors} impostor pairs: one false accept is an FPR of "
                         f"{1 / impostors:.1e}.",
                         table(["FPR", "false accepts allowed", *(f"TPR %, {model}" for model in models)], rows))]
    return section("ROC", *parts)


def _thinned(fpr: np.ndarray, tpr: np.ndarray, least: float, most: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """The curve at no more than `most` FPR, evenly on the logarithmic scale; steps extend to the right."""
    at = np.unique(np.concatenate([[least / 2, least], np.geomspace(least, 1, most)]))
    place = np.searchsorted(fpr, at * (1 + 1e-9), "right") - 1
    return at, tpr[place]


def _rate_at(fpr: np.ndarray, tpr: np.ndarray, target: float, impostors: int) -> str:
    place = int(np.searchsorted(fpr, target * (1 + 1e-9), "right")) - 1
    accepts = round(fpr[place] * impostors)
    return marked(given(tpr[place], accepts), accepts)


def histogram_section(sets: Sequence[PairSet], models: Sequence[str]) -> Html:
    """Histograms of genuine and impostor scores, and the threshold."""
    parts: list[Text] = [key(["genuine", "impostor"])]
    edges = np.linspace(-1, 1, BINS + 1)
    for number, target in enumerate(sets):
        for place, (model, scored) in enumerate(zip(models, target.scored)):
            cosines, same = cosines_of(scored.result.scores), scored.result.same
            genuine, impostor = (np.histogram(np.clip(cosines[kind], -1, 1), edges)[0] for kind in (same, ~same))
            point = scored.statistics.points[0]
            svg = chart(f"scores {number} {place}", f"scores of {model} on {target.name}",
                        draw_histogram(genuine, impostor, edges, [point.cosine]), height=2.6)
            step = BINS // ROWS
            rows = [[f"{edges[first]:.1f} to {edges[first + step]:.1f}",
                     *(str(int(count[first:first + step].sum())) for count in (genuine, impostor))]
                    for first in range(0, BINS, step)]
            parts += [tag("h3", f"{target.name}, {model}"),
                      figure(svg, f"Shares of the pairs by cosine. The dashed line: the threshold at FPR "
                             f"{100 * point.fpr_target:g}%, cosine {point.cosine:.4f} (squared distance "
                             f"{point.threshold:.4f}).",
                             table(["cosine", "genuine pairs", "impostor pairs"], rows))]
    return section("Scores", *parts)


def hardest_section(sets: Sequence[PairSet], models: Sequence[str], count: int) -> Html:
    """The impostor pairs of highest and the genuine pairs of lowest similarity, as images."""
    parts: list[Text] = [paragraph(f"For each model the {count} impostor pairs of highest similarity, and "
                                   f"the {count} genuine pairs of lowest similarity. Label noise shows up here "
                                   "first.")]
    for target in sets:
        for model, scored in zip(models, target.scored):
            for title, kind, sign in (("impostor pairs, most similar", ~scored.result.same, 1),
                                      ("genuine pairs, least similar", scored.result.same, -1)):
                chosen = np.flatnonzero(kind)
                chosen = chosen[np.argsort(sign * scored.result.scores[chosen], kind="stable")][:count]
                parts += [tag("h3", f"{target.name}, {model}: {title}"), _cards(target, scored.result.scores, chosen)]
    return section("Hardest pairs", *parts)


def _cards(target: PairSet, scores: np.ndarray, chosen: np.ndarray) -> Html:
    cards = []
    for pair in chosen.tolist():
        sides = [target.image(int(target.target.order[2 * pair + side])) for side in (0, 1)]
        cards.append(tag("div", *(picture(small(side), f"pair {pair}, {which}") for side, which in
                                  zip(sides, ("left", "right"))),
                         tag("span", f"pair {pair}: {1 - scores[pair] / 2:.3f}"), class_="card"))
    rows = [[f"pair {pair}", f"{1 - scores[pair] / 2:.4f}", f"{scores[pair]:.4f}"] for pair in chosen.tolist()]
    return join([tag("div", *cards, class_="cards"), table(["from 0", "cosine", "squared distance"], rows)])


def small(image: np.ndarray, most: int = 112) -> np.ndarray:
    """An image no larger than a page needs."""
    height, width = image.shape[:2]
    scale = most / max(height, width)
    if scale >= 1:
        return image
    return cv2.resize(image, (max(round(width * scale), 1), max(round(height * scale), 1)),
                      interpolation=cv2.INTER_AREA)

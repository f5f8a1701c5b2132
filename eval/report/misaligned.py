"""The report's curves of rates as crops are misaligned, on identities of a labelled set or on pairs of a `.bin`."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional, Sequence, Tuple

import numpy as np

from common.environment import usable_cores
from common.progress import meter
from common.workers import ordered_map
from eval.all_pairs import Side, count_pairs, make_sides, score_all_pairs
from eval.batches import stacked
from eval.bootstrap import PeopleBootstrap, draw_resamples, interval, pairs_tpr
from eval.misalignment import Misalignment, misaligned_batches
from eval.models import added_views
from eval.operating_points import OperatingPoint, allowed, operating_point
from eval.projection import Projection
from eval.report.charts import chart, draw_curves
from eval.report.html import Html, Text, figure, key, paragraph, section, table, tag
from eval.report.pair_sets import rate
from eval.scores import cosines_of, pair_scores

Measured = Tuple[OperatingPoint, Optional[Tuple[float, float]]]  # a rate and its interval
KINDS = (("shift", "shift, pixels", 0.0), ("rotate", "rotation, degrees", 0.0), ("scale", "scale", 1.0))


@dataclass(frozen=True)
class Sample:
    """The images to move, and how their embeddings are scored.

    image: number of an image, from 0, to its pixels; count: of images; what: said of them; score: (count, D)
    normalised embeddings to the operating point and the interval of its TPR.
    """

    image: Callable[[int], np.ndarray]
    count: int
    what: str
    score: Callable[[np.ndarray], Measured]


def sample_of_set(labels: np.ndarray, sides: tuple[np.ndarray, np.ndarray | None], image: Callable[[int], np.ndarray],
                  name: str, fpr: float, most_images: int, resamples: int, seed: int) -> Sample:
    """Identities of a labelled set, sampled until there are `most_images` images, and pairs of both kinds; all pairs of
    the sides."""
    used = np.sort(np.concatenate([side for side in sides if side is not None]))
    people, numbers = np.unique(labels[used], return_counts=True)
    order = np.random.RandomState(seed).permutation(people)
    counts = numbers[np.searchsorted(people, order)]
    few = order[:max(int(np.searchsorted(np.cumsum(counts), most_images, "right")), 2)]
    while len(few) < len(order) and not _have_both_kinds(few, labels, sides):
        few = order[:2 * len(few)]
    chosen = used[np.isin(labels[used], few)]
    place = {number: position for position, number in enumerate(chosen.tolist())}
    left, right = (None if side is None else np.array([place[one] for one in side.tolist() if one in place], int)
                   for side in sides)
    who = np.searchsorted(np.sort(few), labels[chosen])
    _, impostors = count_pairs(Side(np.empty(0), who[left]), None if right is None else Side(np.empty(0), who[right]))
    bootstrap = PeopleBootstrap(len(few), who[left], None if right is None else who[right], resamples,
                                seed) if resamples else None

    def score(unit: np.ndarray) -> Measured:
        unit = unit.astype(np.float32)
        scored = score_all_pairs(Side(unit[left], who[left]), None if right is None else Side(unit[right], who[right]),
                                 4 * (allowed(fpr, impostors) + 1000))
        point = operating_point(scored.genuine, scored.tail, scored.impostors, fpr)
        return point, _limits(bootstrap.tpr(scored, fpr)) if bootstrap else None

    what = f"all pairs of {len(chosen)} images of {len(few)} identities of {name}"
    return Sample(lambda number: image(int(chosen[number])), len(chosen), what, score)


def _have_both_kinds(people: np.ndarray, labels: np.ndarray, sides: tuple[np.ndarray, np.ndarray | None]) -> bool:
    """Whether there are genuine and impostor pairs of some identities' images alone."""
    left, right = sides
    chosen = (left[np.isin(labels[left], people)], None if right is None else right[np.isin(labels[right], people)])
    return all(count_pairs(*make_sides(np.empty(len(labels)), labels, chosen)))


def sample_of_pairs(order: np.ndarray, same: np.ndarray, image: Callable[[int], np.ndarray], name: str, fpr: float,
                    most_pairs: int, resamples: int, seed: int) -> Sample:
    """The first pairs of a `.bin`, as many of either kind as come until there are `most_pairs`."""
    pairs = np.sort(np.concatenate([np.flatnonzero(kind)[:max(most_pairs // 2, 1)] for kind in (same, ~same)]))
    sides = order.reshape(-1, 2)[pairs].ravel()
    chosen, places = np.unique(sides, return_inverse=True)
    kinds = same[pairs]
    drawn = draw_resamples(len(pairs), resamples, seed) if resamples else None

    def score(unit: np.ndarray) -> Measured:
        cosines = cosines_of(pair_scores(unit[places]))
        genuine, tail = np.sort(cosines[kinds]), np.sort(cosines[~kinds])[::-1]
        point = operating_point(genuine, tail, len(tail), fpr)
        return point, _limits(pairs_tpr(cosines, kinds, fpr, drawn)) if drawn is not None else None

    return Sample(lambda number: image(int(chosen[number])), len(chosen), f"{len(pairs)} pairs of {name}", score)


def _limits(draws: np.ndarray) -> tuple[float, float] | None:
    limits = interval(draws)
    return (limits.low, limits.high) if np.isfinite(limits.low) else None


def measure(sample: Sample, embedder: Any, settings: Sequence[Misalignment], flip: bool, seed: int,
            what: str, projection: Projection | None = None) -> list[Measured]:
    """The rate under every setting, by one model; projection: of its embeddings, None for none."""
    found = []
    with meter(len(settings) * sample.count, f"{what}: misaligned", "images") as bar:
        for how in settings:
            views = []
            images = stacked(ordered_map(sample.image, range(sample.count), usable_cores()), embedder.batch_size)
            for made in embedder.embed(misaligned_batches(images, how, seed), flip):
                views.append(added_views(made)[0])
                bar.update(made.shape[1])
            unit = np.concatenate(views)
            found.append(sample.score(projection.apply(unit) if projection else unit))
    return found


def misaligned_section(sample: Sample, settings: Sequence[Misalignment], models: Sequence[str],
                       found: Sequence[Sequence[Measured]], fpr: float) -> Html:
    """A chart and a table for each kind of misalignment that has more than one value."""
    parts: list[Text] = [
        paragraph("As by a detector's errors: every crop is moved in a random direction, the same "
                  f"for every model. Of {sample.what}. A fully connected layer gives the features of a moved face the "
                  "wrong weights; pooling does not (Section 3.1 of the paper)."), key(models)]
    for kind, label, nothing in KINDS:
        used = [number for number, how in enumerate(settings) if how.none or getattr(how, kind) != nothing]
        if len(used) < 2:
            continue
        used.sort(key=lambda number: getattr(settings[number], kind))
        curves = [[(getattr(settings[number], kind), *_drawn(made[number])) for number in used] for made in found]
        svg = chart(f"misaligned {kind}", f"TPR against {label}",
                    draw_curves(curves, label, f"TPR at FPR {100 * fpr:g}%, %"), height=2.8)
        rows = [[f"{getattr(settings[number], kind):g}", *(text for made in found for text in _texts(made[number]))]
                for number in used]
        head = [label, *(text for model in models for text in (f"TPR %, {model}", "95% interval"))]
        parts += [tag("h3", label[0].upper() + label[1:]), figure(svg, f"TPR at FPR {100 * fpr:g}% against {label}, "
                                                                  "with 95% intervals.", table(head, rows))]
    return section("Misaligned crops", *parts)


def _drawn(measured: Measured) -> tuple[float, tuple[float, float] | None]:
    """The rate and its interval; NaN and none, a gap, where it is not given."""
    point, limits = measured
    return (np.nan, None) if point.tpr is None else (point.tpr, limits)


def _texts(measured: Measured) -> tuple[str, str]:
    """A rate and its interval, percent."""
    point, limits = measured
    return rate(point), "" if limits is None or point.tpr is None else f"{100 * limits[0]:.2f} to {100 * limits[1]:.2f}"

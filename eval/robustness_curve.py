"""The curve of `robustness`: a model's rates under each misalignment of one labelled set."""
from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from common.progress import meter
from eval.all_pairs import Side, score_all_pairs
from eval.bootstrap import differences, interval
from eval.embedding_file import Embeddings
from eval.embedding_store import CROPS, meta_of, stored, write_stored
from eval.face_sets import FaceSet
from eval.fixed_threshold import FixedPoint
from eval.misalignment import Misalignment, misaligned_batches
from eval.models import ModelName, embed_views
from eval.opening import AnyEmbedder, EmbeddingSettings, OpenModel
from eval.operating_points import OperatingPoint, allowed, operating_point, rates_above
from eval.other_set import FromElsewhere
from eval.pair_list import write_all_scores
from eval.projection import Projection, fit_projection
from eval.set_embeddings import image_size
from eval.set_scoring import LabelledPairs, fixed_point

SPARE = 4  # multiple of the impostor scores that the FPR needs, for resamples that need more


@dataclass(frozen=True)
class Setting:
    """The results of one misalignment. points, limits: by FPR. fixed_tpr, fixed_fpr: at the threshold that the aligned
    set has at the first FPR. fixed: at given thresholds, or those of another set. draws: by the FPR as text the TPR on
    the resamples, {} without them."""

    how: Misalignment
    points: list[OperatingPoint]
    all_limits: list[tuple[float, float] | None]
    fixed_tpr: float
    fixed_fpr: float
    fixed: list[FixedPoint] = field(default_factory=list)
    draws: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def point(self) -> OperatingPoint:
        """At the first FPR."""
        return self.points[0]

    @property
    def limits(self) -> tuple[float, float] | None:
        """The interval of its TPR; None where that is not given."""
        return self.all_limits[0]

    @property
    def tprs(self) -> dict[str, float | None]:
        """By the FPR as text."""
        return {f"{point.fpr_target:g}": point.tpr for point in self.points}

    def as_row(self, to: str = "", first: Setting | None = None) -> dict[str, Any]:
        """For JSON; first: of the model `to` under the same misalignment, which differences are to; none to itself."""
        texts = list(self.tprs)
        row: dict[str, Any] = {
            "shift": self.how.shift, "rotate": self.how.rotate, "scale": self.how.scale, "tpr": self.point.tpr,
            "false_accepts": self.point.false_accepts, "interval": self.limits, "tpr_at_fpr": self.tprs,
            "thresholds": {text: point.as_row() for text, point in zip(texts, self.points)},
            "intervals": dict(zip(texts, self.all_limits)),
            "at_aligned_threshold": {"tpr": self.fixed_tpr, "fpr": self.fixed_fpr}}
        if first is not None and first is not self and self.draws:
            row["difference"] = differences(to, self.tprs, first.tprs, self.draws, first.draws)
        return {**row, "at_threshold": [point.as_row() for point in self.fixed]} if self.fixed else row


class Curve:
    """A model's results by setting; projection: of its embeddings, None without --pca."""

    def __init__(self, name: ModelName, faces: FaceSet, pairs: LabelledPairs, args: argparse.Namespace,
                 elsewhere: FromElsewhere) -> None:
        self.name = name
        self.settings: list[Setting] = []
        self.projection: Projection | None = elsewhere.projection
        self._faces, self._pairs, self._args = faces, pairs, args
        self._model, self._how = OpenModel(name, EmbeddingSettings.of(args)), EmbeddingSettings.of(args)
        self._thresholds, self._bootstrap = elsewhere.thresholds, pairs.bootstrap()
        self._aligned: Embeddings | None = None

    def measure(self, settings: Sequence[Misalignment], digest: str, scores: Sequence[Path] = ()) -> None:
        """Score every setting, the aligned one first; scores: for each setting a file for the score of each pair, or
        none at all.

        digest: sha256 of the set.
        """
        embedder = self._model.embedder(image_size(self._faces))
        with meter(len(settings) * len(self._faces.names), self.name.text, "images") as bar:
            for number, how in enumerate(settings):
                made = self._embedded(embedder, how, digest, bar.update)
                if self._args.pca and self.projection is None:
                    self.projection = fit_projection(made.embeddings, self._args.pca, self._args.set)
                if self.projection:
                    made = replace(made, embeddings=self.projection.apply(made.embeddings))
                self._aligned = made if self._aligned is None else self._aligned
                first = self._aligned if self._args.side == "second" else made
                self.settings.append(self._score(first.embeddings, made.embeddings, how))
                if scores:
                    write_all_scores(scores[number], first, self._pairs, made, self._args.pca)

    def _embedded(self, embedder: AnyEmbedder, how: Misalignment, digest: str,
                  step: Callable[[int], object]) -> Embeddings:
        args, faces = self._args, self._faces
        suffix = "" if how.none else f" ({how}, seed {args.seed}, {args.border} border)"
        named = digest if how.none else hashlib.sha256((digest + suffix).encode()).hexdigest()
        if self._how.keep:
            found = stored(self._model, named, self._how)
            if found is not None and np.array_equal(found.names, np.array(faces.names)):
                step(len(faces.names))
                return found
        batches = misaligned_batches(faces.batches(embedder.batch_size, embedder.image_size, hashlib.sha256()), how,
                                     args.seed, args.border)
        unit, norms, views = embed_views(embedder, batches, not args.no_flip, step)
        made = Embeddings(unit, norms, np.array(faces.names), faces.labels,
                          meta_of(self._model, faces.path + suffix, named, self._how, embedder.image_size,
                                  CROPS + suffix), views)
        if self._how.keep:
            write_stored(self._model, made, self._how)
        return made

    def _score(self, first: np.ndarray, unit: np.ndarray, how: Misalignment) -> Setting:
        fprs, (left, right), labels = self._args.fpr, self._pairs.sides, self._pairs.labels
        alone = self._args.side == "second" and right is left
        other = None if right is None else Side(unit[right], labels[right])
        impostors = len(left) * len(left if right is None else right)
        keep = SPARE * (allowed(max(fprs), impostors) + 1000)
        scored = score_all_pairs(Side(first[left], labels[left]), other, keep, same_images=alone)
        points = [operating_point(scored.genuine, scored.tail, scored.impostors, rate) for rate in fprs]
        at = self.settings[0].point.cosine if self.settings else points[0].cosine
        names = [f"{rate:g}" for rate in fprs]
        draws = dict(zip(names, self._bootstrap.tprs(scored, fprs))) if self._bootstrap else {}
        limits = [_limits(draws.get(name)) if point.tpr is not None else None for name, point in zip(names, points)]
        return Setting(how, points, limits, *rates_above(scored, at),
                       [fixed_point(scored, distance, self._bootstrap, name, rate)
                        for name, rate, distance in self._thresholds], draws)


def _limits(draws: np.ndarray | None) -> tuple[float, float] | None:
    found = None if draws is None else interval(draws)
    return (found.low, found.high) if found else None

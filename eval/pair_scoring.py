"""Scores several models on several sets of pairs: all that `verify` and the report show, computed once."""
from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any, Collection, Iterator, Mapping, Sequence

import numpy as np

from common.errors import UserError
from eval.bootstrap import draw_resamples
from eval.embedding_file import Embeddings, load_embeddings
from eval.embedding_store import warn_of_zeros
from eval.failures import Failures, Readings, pairs_readings
from eval.fixed_threshold import Chosen, FixedPoint, rates_below, thresholds_on
from eval.models import ModelName
from eval.opening import EmbeddingSettings, OpenModel
from eval.pair_embeddings import dimension_on, embed_pairs, read_pair_embeddings
from eval.pair_statistics import Statistics, statistics
from eval.score_file import PairScores
from eval.scores import check_components
from eval.verification import VerificationResult, VerificationSet, fold_numbers, numbers, score_set

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoringSettings:
    """fpr: the FPRs of the TPRs, the first as a result's `tpr`. pca: components, 0 for none. threshold: squared
    distance for additional rates; threshold_from: a set of pairs on which each model's thresholds at each of fpr are
    chosen. chosen: by model what was chosen elsewhere already."""

    fpr: Sequence[float] = (1e-3,)
    pca: int = 0
    folds: int = 10
    resamples: int = 1000
    seed: int = 0
    threshold: float | None = None
    threshold_from: VerificationSet | None = None
    failures: Failures | None = None
    chosen: Mapping[str, Sequence[Chosen]] = field(default_factory=dict)

    @property
    def failed(self) -> frozenset[str]:
        """The images that embeddings need not have."""
        return frozenset(self.failures.images if self.failures else ())


@dataclass(frozen=True)
class ScoredSet:
    """One model on one set. fixed: at thresholds that were not chosen on the set itself."""

    result: VerificationResult
    statistics: Statistics
    embeddings: Embeddings
    fixed: list[FixedPoint]
    readings: Readings | None

    def as_row(self) -> dict[str, Any]:
        """For JSON; tpr_at_fpr is keyed by the rate as text, `0.001`."""
        row = {**numbers(self.result), "tpr_at_fpr": {f"{rate:g}": value for rate, value in self.result.tprs.items()},
               "model_sha256": self.embeddings.digest_of("model"), "set_sha256": self.embeddings.digest_of("set")}
        if self.fixed:
            row["at_threshold"] = [point.as_row() for point in self.fixed]
        if self.readings:
            row["failures"] = self.readings.as_row()
        return row

    def scores(self, embedding: EmbeddingSettings, scoring: ScoringSettings) -> PairScores:
        """What `--scores` writes."""
        made, result = self.embeddings, self.result
        meta = {"model": made.meta.get("model"), "set": {"name": result.name, "sha256": made.digest_of("set")},
                "layer": made.meta.get("layer"), "flip": embedding.flip, "pca": scoring.pca, "folds": scoring.folds}
        return PairScores(made.names[0::2], made.names[1::2], result.same, result.scores,
                          fold_numbers(result.pairs, scoring.folds), made.norms[0::2], made.norms[1::2], meta)


def score_models(models: Sequence[ModelName], sets: Sequence[VerificationSet], embedding: EmbeddingSettings,
                 scoring: ScoringSettings) -> Iterator[tuple[ModelName, dict[str, ScoredSet]]]:
    """Yield each model with its results on each set, by the sets' names.

    Every model's files are read before any image is embedded, and UserError names what is unusable: an invalid model,
    embeddings of other sets (an embeddings file is scored on those sets that it is of), images of another size than a
    model takes, too many components.
    """
    opened: list[Embeddings | OpenModel] = [
        load_embeddings(model.embeddings) if model.embeddings else OpenModel(model, embedding) for model in models]
    for model, source in zip(models, opened):
        own = _sets_of(model, source, sets, embedding, scoring) if isinstance(source, Embeddings) else sets
        for target in [*own, *filter(None, [scoring.threshold_from])]:
            dimension = source.embeddings.shape[1] if isinstance(source, Embeddings) else dimension_on(source, target)
            if scoring.pca:
                check_components(scoring.pca, dimension, len(target.same), scoring.folds)
        if isinstance(source, Embeddings):
            for target in own if source.digest_of("set") is None else ():
                log.warning("%s: has no sha256 of its set; its %d embeddings are assumed to be of the images of %s, "
                            "by place", model.text, len(source.names), target.path)
            if scoring.threshold_from is not None:
                read_pair_embeddings(model, scoring.threshold_from, embedding, source)
    for model, source in zip(models, opened):
        chosen = _thresholds(model, source, embedding, scoring)
        found = {}
        for target in _sets_of(model, source, sets, embedding, scoring) if isinstance(source, Embeddings) else sets:
            found[target.name] = _score(model, source, target, embedding, scoring, chosen)
        if isinstance(source, OpenModel):
            source.close()
        yield model, found


def _sets_of(model: ModelName, given: Embeddings, sets: Sequence[VerificationSet],
             embedding: EmbeddingSettings, scoring: ScoringSettings) -> list[VerificationSet]:
    """The sets that an embeddings file is of; UserError where it is of none of them."""
    found = list(sets) if len(sets) == 1 or given.digest_of("set") is None else [
        target for target in sets if target.digest == given.digest_of("set")]
    for target in found:
        read_pair_embeddings(model, target, embedding, given, scoring.failed)
    if not found:
        raise UserError(f"`model` {model.text}: is of none of these sets; its embeddings are of "
                        f"{given.meta['set'].get('path') or given.digest_of('set')}")
    return found


def _embeddings(model: ModelName, source: Any, target: VerificationSet, embedding: EmbeddingSettings,
                failed: Collection[str] = ()) -> Embeddings:
    if not isinstance(source, Embeddings):
        return embed_pairs(source, target, embedding)
    made = read_pair_embeddings(model, target, embedding, source, failed)
    warn_of_zeros(model.text, made.embeddings, made.names)
    return made


def _score(model: ModelName, source: Any, target: VerificationSet, embedding: EmbeddingSettings,
           scoring: ScoringSettings, chosen: Sequence[Chosen]) -> ScoredSet:
    began = time.perf_counter()
    made = _embeddings(model, source, target, embedding, scoring.failed)
    result = score_set(target.name, made.embeddings, target.same, xnorm_of(made), scoring.fpr, scoring.folds,
                       scoring.pca, began)
    found = statistics(result, scoring.fpr, scoring.resamples, scoring.seed, accuracy=True)
    drawn = draw_resamples(len(target.same), scoring.resamples, scoring.seed) if chosen and scoring.resamples else None
    fixed = [rates_below(result.scores, result.same, threshold, drawn, origin, rate)
             for origin, rate, threshold in chosen]
    readings = pairs_readings(scoring.failures, result.scores, result.same, list(scoring.fpr), scoring.folds,
                              made.embeddings, scoring.pca) if scoring.failures else None
    made = replace(made, meta={**made.meta, "set": made.meta.get("set") or {"path": str(target.path)}})
    return ScoredSet(result, found, made, fixed, readings)


def _thresholds(model: ModelName, source: Any, embedding: EmbeddingSettings,
                scoring: ScoringSettings) -> Sequence[Chosen]:
    """The thresholds that are not the set's own."""
    if scoring.threshold is not None:
        return [("", None, scoring.threshold)]
    if model.text in scoring.chosen:
        return scoring.chosen[model.text]
    target = scoring.threshold_from
    if target is None:
        return []
    made = _embeddings(model, source, target, embedding)
    result = score_set(target.name, made.embeddings, target.same, 0.0, scoring.fpr, scoring.folds, scoring.pca)
    return thresholds_on(target, result.scores, scoring.fpr)


def xnorm_of(made: Embeddings) -> float:
    """Of all images and mirror images, but those that failed; NaN where the file does not have it."""
    return float("nan") if made.view_norms is None else float(np.nanmean(made.view_norms, dtype=np.float64))

"""Thresholds at each FPR and principal components from another set, of pairs or labelled images."""
from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from eval.face_sets import group_table, match_groups, open_face_set
from eval.fixed_threshold import Chosen, thresholds_on, warn_of_few
from eval.listed_images import ListedImages
from eval.models import ModelName
from eval.opening import EmbeddingSettings, OpenModel
from eval.pair_embeddings import embed_pairs, read_pair_embeddings
from eval.projection import Projection, fit_projection
from eval.scores import pair_scores
from eval.set_embeddings import choose_sides, embeddings_of, two_groups
from eval.set_scoring import labelled_pairs, score_labelled
from eval.verification import VerificationSet
from recordio_tools.bins.binfile import is_bin


@dataclass(frozen=True)
class FromElsewhere:
    """thresholds: (path of the set, FPR, squared distance), ("", None, distance) for one that was given;
    projection: fitted on that set's images, None without --pca or without such a set."""

    thresholds: list[Chosen]
    projection: Projection | None = None


def from_elsewhere(model: ModelName, args: argparse.Namespace) -> FromElsewhere:
    """The thresholds and projection of --threshold, or --threshold-from with --pca, for a model.

    --threshold-from is a `.bin`, or a labelled set, restricted to the groups of --between where it has them. With
    --pca the projection is fitted on that set, and its thresholds are of projected embeddings. UserError where the
    set is invalid, or an embeddings file is of another one.
    """
    if args.threshold is not None:
        return FromElsewhere([("", None, args.threshold)])
    if not args.threshold_from:
        return FromElsewhere([])
    path = args.threshold_from
    if is_bin(Path(path)):
        target, settings = VerificationSet(path, 2), EmbeddingSettings.of(args)
        unit = (read_pair_embeddings(model, target, settings) if model.embeddings else embed_pairs(
            OpenModel(model, settings), target, settings)).embeddings
        projection = fit_projection(unit, args.pca, path) if args.pca else None
        scores = pair_scores(projection.apply(unit) if projection else unit)
        return FromElsewhere(thresholds_on(target, scores, args.fpr), projection)
    with open_face_set(Path(path)) as faces:
        table = group_table(Path(args.groups)) if args.groups else None
        groups = faces.folders if table is None else match_groups(
            table, ListedImages(faces.names, path, args.groups, True).match(table), Path(args.groups), faces.names)
        there = set(groups.tolist())
        between = args.between if args.between and there.issuperset(two_groups(args.between, there)) else None
        sides = choose_sides(argparse.Namespace(between=between, set=path), faces.labels, groups)
        unit = embeddings_of(model, faces, args).embeddings
    projection = fit_projection(unit, args.pca, path) if args.pca else None
    found = score_labelled(model.text, projection.apply(unit) if projection else unit,
                           labelled_pairs(faces.labels, faces.people, sides, resamples=0), args.fpr)
    warn_of_few(faces.path, found.scored.impostors, args.fpr)
    return FromElsewhere([(faces.path, point.fpr_target, point.threshold) for point in found.points], projection)

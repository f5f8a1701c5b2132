"""Thresholds that a model has at each FPR on another set, of pairs or of people."""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from eval.face_sets import open_face_set, read_groups
from eval.metrics import point_at_fpr
from eval.models import ModelName
from eval.opening import EmbeddingSettings, OpenModel
from eval.pair_embeddings import embed_pairs, read_pair_embeddings
from eval.scores import pair_scores
from eval.set_embeddings import choose_sides, embeddings_of
from eval.set_scoring import labelled_pairs, score_labelled
from eval.verification import VerificationSet


def thresholds_from(model: ModelName, path: str, args: argparse.Namespace) -> list[tuple[str, float | None, float]]:
    """(set, FPR, squared distance) at each --fpr; path: a `.bin`, or a labelled set, of which --between takes those
    groups where it has them. UserError where the set is none, or an embeddings file is of another one."""
    if path.endswith(".bin"):
        target, settings = VerificationSet(path, 2), EmbeddingSettings.of(args)
        made = read_pair_embeddings(model, target, settings) if model.embeddings else embed_pairs(
            OpenModel(model, settings), target, settings)
        scores = pair_scores(made.embeddings)
        return [(target.name, rate, point_at_fpr(scores, target.same, rate)[1]) for rate in args.fpr]
    with open_face_set(Path(path)) as faces:
        groups = faces.folders if not args.groups else _groups(args.groups, faces.names)
        there = set(groups.tolist())
        wanted = [part.strip() for part in (args.between or "").split(",")]
        between = args.between if args.between and all(name in there for name in wanted) else None
        sides = choose_sides(argparse.Namespace(between=between, set=path), faces.labels, groups)
        unit = embeddings_of(model, faces, args).embeddings
    found = score_labelled(model.text, unit, labelled_pairs(faces.labels, faces.people, sides, resamples=0), args.fpr)
    return [(path, point.fpr_target, point.threshold) for point in found.points]


def _groups(path: str, names: list[str]) -> np.ndarray:
    return read_groups(Path(path), names)

"""Runs a report's measurements, by its flags: pairs, all pairs, the images to misalign, the faces to map."""
from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.all_pairs import Side, count_pairs
from eval.models import ModelName
from eval.other_set import FromElsewhere
from eval.pair_statistics import statistics
from eval.report import labelled_set, misaligned, pair_sets
from eval.report.embedding import Embedded, ImagePool
from eval.report.faces import faces_by_group, faces_of_pairs
from eval.report.html import Html
from eval.report.map_section import map_section
from eval.set_scoring import ScoredModel, labelled_pairs, score_labelled
from eval.verification import VerificationSet
from eval.verification import score_set as score_embeddings


@dataclass(frozen=True)
class Inputs:
    """The data of a report: sets of pairs, with the pool indices of their images, and a labelled set; grouped: the
    numbers of its images whose pose, or other group, is known."""

    sets: list[VerificationSet]
    places: list[np.ndarray]
    pool: ImagePool
    faces: labelled_set.LabelledSet | None
    face_places: np.ndarray
    grouped: np.ndarray


def score_pairs(target: VerificationSet, places: np.ndarray, pool: ImagePool, embedded: list[Embedded],
                args: argparse.Namespace) -> pair_sets.PairSet:
    """Every model's results on a set of pairs."""
    scored = []
    for one in embedded:
        order = places[target.order]
        xnorm = float(one.view_norms[order].mean(dtype=np.float64))
        result = score_embeddings(target.name, one.unit[order], target.same, xnorm, args.fpr, target.folds,
                                  args.pca or 0)
        scored.append(pair_sets.Scored(result, statistics(result, args.fpr, args.bootstrap, args.seed, accuracy=True)))
    return pair_sets.PairSet(target.name, target, scored, lambda number: pool.image(int(places[number])))


def score_set(faces: labelled_set.LabelledSet, inputs: Inputs, embedded: list[Embedded], names: list[str],
              args: argparse.Namespace,
              elsewhere: list[FromElsewhere]) -> tuple[list[ScoredModel], list[ScoredModel]]:
    """Of each model all pairs of the sides, and, where poses are known, all pairs of images with one, by pose; none
    where these are all of one kind.

    embedded: projected where that is asked for. elsewhere: thresholds of each model that are not the set's own.
    """
    pairs = labelled_pairs(faces.labels, faces.people, faces.sides, None, args.bootstrap, args.seed)
    by_pose = labelled_pairs(faces.labels, faces.people, (inputs.grouped, None), faces.groups, args.bootstrap,
                             args.seed)
    whose = Side(np.empty(0), faces.labels[inputs.grouped])
    by_groups = len(set(faces.groups[inputs.grouped].tolist())) > 1 and all(count_pairs(whose))
    fpr = [*{f"{rate:g}": rate for rate in (*labelled_set.FPRS, *args.fpr)}.values()]
    found, posed = [], []
    for one, name, other in zip(embedded, names, elsewhere):
        unit, norms = one.unit[inputs.face_places], one.norms[inputs.face_places]
        known = None if np.isnan(norms).any() else norms
        found.append(score_labelled(name, unit, pairs, fpr, known, other.thresholds))
        if by_groups:
            posed.append(score_labelled(f"{name}, by pose", unit, by_pose, [args.fpr[0]]))
    return found, posed


def sample_of(inputs: Inputs, args: argparse.Namespace) -> misaligned.Sample:
    """The images to misalign: of identities of the labelled set, else of the last set of pairs."""
    if inputs.faces is not None:
        places = inputs.face_places
        return misaligned.sample_of_set(inputs.faces.labels, inputs.faces.sides,
                                        lambda number: inputs.pool.image(int(places[number])), inputs.faces.name,
                                        args.fpr[0], args.misaligned, args.bootstrap, args.seed)
    target, places = inputs.sets[-1], inputs.places[-1]
    return misaligned.sample_of_pairs(target.order, target.same, lambda number: inputs.pool.image(int(places[number])),
                                      target.name, args.fpr[0], args.misaligned, args.bootstrap, args.seed)


def maps_of(models: list[ModelName], names: list[str], inputs: Inputs, args: argparse.Namespace) -> Html:
    """Faces by pose where it is known, else the sides of the last set of pairs, else of the set."""
    if inputs.faces is not None and (len(inputs.grouped) or not inputs.sets):
        groups = faces_by_group(inputs.faces, inputs.pool, inputs.face_places, args.faces)
    else:
        target, places = inputs.sets[-1], inputs.places[-1]
        groups = faces_of_pairs(target.order, target.same, lambda number: inputs.pool.image(int(places[number])),
                                args.faces)
    found: list[Any] = []
    for model in models:
        if not model.prefix:
            found.append("only checkpoints have accessible feature maps")
            continue
        from eval.report.feature_maps import feature_maps  # these import MXNet, which takes seconds
        from inference.model import in_float32, load_model

        try:
            parts = in_float32(*load_model(model.prefix, model.epoch, args.layer))
            found.append([feature_maps(*parts, group.images) for group in groups])
        except ValueError as error:
            found.append(str(error))
    return map_section(groups, names, found)

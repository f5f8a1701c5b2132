"""`allpairs`: every genuine and every impostor pair of a labelled set, with intervals over its identities."""
from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import write_atomic, write_json
from common.progress import meter
from common.tables import csv_bytes
from eval.allpairs_table import table
from eval.arguments import (
    add_bootstrap_flags,
    add_embedding_flags,
    add_pca_flags,
    add_rate_flags,
    add_scores_flag,
    add_set_flags,
    check_outputs,
    refuse_folds,
)
from eval.copies import warn_of_copies
from eval.embedding_file import Embeddings
from eval.error_sources import review
from eval.face_sets import FaceSet, group_table, groups_of, open_face_set
from eval.failures import read_failures
from eval.models import parse_models
from eval.other_set import from_elsewhere
from eval.pair_list import write_all_scores
from eval.pose import read_yaw, yaw_groups
from eval.projection import Projection, fit_line, fit_projection
from eval.score_folders import score_files
from eval.second_groups import second_groups
from eval.set_embeddings import check_models, choose_sides, embeddings_of, two_groups
from eval.set_failures import WithoutFailures, leave_out
from eval.set_scoring import ScoredModel, labelled_pairs, score_labelled

log = logging.getLogger(__name__)
DESCRIPTION = """\
Score every image of a labelled set against every other, or one group of its images against another.

  python -m eval allpairs --model runs/a/model,3 runs/b/model,3 --set cfp/Data/Images --between frontal,profile
  python -m eval allpairs --model runs/a/model,3 --set data/ --fpr 1e-3,1e-5 --audit review.csv
  python -m eval allpairs --model runs/a/model,3 --set faces/ --landmarks faces/landmarks.csv --quality

With a protocol's few thousand pairs a TPR at FPR 0.1% rests on a handful of false accepts; with all pairs of the same
images on thousands. Intervals are percentile bootstrap over identities, differences are to the first model on the same
resamples. A TPR based on fewer than 10 false accepts is marked ~, one based on none is not given.
Groups are the folders inside the identities' folders, or --groups FILE.csv (path or key, group). Without --between the
rates of each group, and of one against another, are given at one threshold, that of FPR 0.1% or,
where --fpr lacks it, of the first."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("allpairs", help="score all pairs of a labelled set", description=DESCRIPTION)
    add_set_flags(parser)
    parser.add_argument("--landmarks", metavar="FILE.csv", help="five landmarks of each image, as align writes them: "
                        "rates by yaw at one threshold, in place of groups")
    parser.add_argument("--quality", action="store_true", help="error-versus-discard: the error as the pairs with the "
                        "smallest embedding norms are discarded, overall and per group")
    add_rate_flags(parser, "1e-2,1e-3,1e-4,1e-5", "a labelled set, or a .bin")
    add_scores_flag(parser)
    parser.add_argument("--audit", metavar="FILE.csv",
                        help="write probable label noise: similar identities, images unlike their identity, "
                        "identities with images of two people")
    add_pca_flags(parser, "on the images of --threshold-from where that is given, else on those of --set itself, which "
                  "the output says; without their labels", folds=False)
    add_embedding_flags(parser, keep=True)
    add_bootstrap_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Embed, score, print the table, write the files."""
    check_outputs(args, ("json", "audit"), ("scores", "embeddings"))
    models = parse_models(args.model)
    refuse_folds(args)
    scores = score_files(args, models, [Path(args.set).absolute().name], ("json", "audit"))
    failures = read_failures(args.failures) if args.failures else None
    with open_face_set(Path(args.set)) as faces:
        given = group_table(Path(args.groups)) if args.groups else None
        folders = faces.folders if given is None else groups_of(given, Path(args.groups), faces.names, faces.path)
        sides = choose_sides(args, faces.labels, folders)
        groups = yaw_groups(read_yaw(Path(args.landmarks), faces.names)) if args.landmarks else (
            None if args.between else folders)
        between = two_groups(args.between, folders.tolist()) if args.between else ()
        lost = leave_out(failures, faces, given, sides, between) if failures else None
        check_models(models, faces, args)
        others = [from_elsewhere(model, args) for model in models]
        plain = [embeddings_of(model, faces, args, lost.images if lost else ()) for model in models]
        for model, one in zip(models, plain):
            if args.quality and not one.has_norms:
                raise UserError(f"--model {model.text}: has no norms, by which --quality discards pairs; leave "
                                "--quality out, or give the checkpoint or ONNX file that the embeddings are of")
        warn_of_copies(faces)
    projections = [other.projection or (fit_projection(one.embeddings, args.pca, args.set) if args.pca else None)
                   for other, one in zip(others, plain)]
    made = [replace(one, embeddings=projection.apply(one.embeddings)) if projection else one
            for one, projection in zip(plain, projections)]
    pairs = labelled_pairs(faces.labels, faces.people, lost.sides if lost else sides,
                           groups if groups is not None and (groups != "").any() else None, args.bootstrap, args.seed)
    results = [score_labelled(model.text, one.embeddings, pairs, args.fpr, one.norms if args.quality else None,
                              other.thresholds)
               for model, one, other in zip(models, made, others)]
    print(table(results))
    for model, projection in zip(models, projections):
        if projection:
            print(f"{model.text}: {fit_line(projection, args.set)}")
    for result in results if lost else ():
        print(f"{result.model}: {_readings(lost, result)}")
    if args.json:
        rows = {result.model: {args.set: _row(result, results[0], one, lost, projection, args)}
                for result, one, projection in zip(results, made, projections)}
        write_json(args.json, rows)
    if args.audit:
        _write_review(args.audit, made[0].embeddings, faces, plain[0].embeddings.any(axis=1))
    for model, one in zip(models, made) if scores else ():
        write_all_scores(scores[model.text][0], one, pairs, pca=args.pca)
    return 0


def _readings(lost: WithoutFailures | None, result: ScoredModel) -> Any:
    return lost.readings(result.points, len(result.scored.genuine)) if lost else None


def _row(result: ScoredModel, first: ScoredModel, made: Embeddings, lost: WithoutFailures | None,
         projection: Projection | None, args: argparse.Namespace) -> dict[str, Any]:
    row = {**result.as_row(None if result is first else first), "set": args.set, "between": args.between or "",
           "model_sha256": made.digest_of("model"), "set_sha256": made.digest_of("set"), "flip": not args.no_flip,
           "layer": args.layer, "pca": args.pca,
           "pca_fitted_on": projection.fitted_on if projection else None, "bootstrap": args.bootstrap,
           "seed": args.seed}
    return {**row, "failures": _readings(lost, result).as_row()} if lost else row


def _write_review(path: str, unit: np.ndarray, faces: FaceSet, known: np.ndarray) -> None:
    """known: (N,) whether an image has an embedding at all; one of zeros says nothing of its label."""
    unit, labels, names = unit[known], faces.labels[known], [faces.names[number] for number in np.flatnonzero(known)]
    rows = [(what, first, second, f"{cosine:.4f}")
            for what, first, second, cosine in review(unit, labels, faces.people, names)]
    with meter(len(faces.people), "audit", "people") as bar:
        rows += [("image of a second cluster", names[image], faces.people[labels[image]], f"{cosine:.4f}")
                 for image, cosine in second_groups(unit, labels, bar.update)]
    write_atomic(path, csv_bytes(("what", "first", "second", "cosine"), rows))
    log.info("%d rows to review in %s", len(rows), path)

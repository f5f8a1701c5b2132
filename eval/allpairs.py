"""`allpairs`: every genuine and every impostor pair of a labelled set, with intervals over its people."""
from __future__ import annotations

import argparse
import csv
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import write_atomic
from eval.allpairs_table import table
from eval.arguments import (
    add_bootstrap_flags,
    add_embedding_flags,
    add_pca_flags,
    add_rate_flags,
    add_set_flags,
    check_outputs,
)
from eval.curve_rates import equal_error_rate
from eval.embedding_file import Embeddings
from eval.error_sources import review
from eval.face_sets import FaceSet, open_face_set, read_groups
from eval.failures import read_failures
from eval.models import ModelName, parse_models
from eval.other_set import thresholds_from
from eval.pair_list import write_all_scores
from eval.pose import read_yaw, yaw_groups
from eval.scores import project
from eval.set_embeddings import choose_sides, embeddings_of
from eval.set_failures import WithoutFailures, leave_out
from eval.set_scoring import ScoredModel, labelled_pairs, score_labelled
from eval.verify import score_folders

__all__ = ["equal_error_rate"]
log = logging.getLogger(__name__)
DESCRIPTION = """\
Score every image of a labelled set against every other, or one group of its images against another.

  python -m eval allpairs --model runs/a/model,3 runs/b/model,3 --set cfp/Data/Images --between frontal,profile
  python -m eval allpairs --model runs/a/model,3 --set data/ --fpr 1e-3,1e-5 --audit review.csv
  python -m eval allpairs --model runs/a/model,3 --set faces/ --landmarks faces/landmarks.csv --quality

A protocol's few thousand pairs leave a handful of false accepts behind a TPR at FPR 0.1%; all pairs of the same images
leave thousands. Intervals are percentile bootstrap over people, differences are to the first model on the same
resamples. A TPR with fewer than 10 false accepts behind it is marked ~, one with none is not given.
Groups are the folders inside the identities' folders, or --groups FILE.csv (path or key, group). Without --between the
rates of each group, and of one against another, are given at one threshold, that of FPR 0.1% or,
where --fpr lacks it, of the first."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("allpairs", help="score all pairs of a labelled set", description=DESCRIPTION)
    add_set_flags(parser)
    parser.add_argument("--landmarks", metavar="FILE.csv", help="five points of each image, as align writes them: "
                        "rates by yaw at one threshold, in place of groups")
    parser.add_argument("--quality", action="store_true", help="the error as the pairs whose embeddings had the "
                        "smallest norms are left out, of all and within each group")
    add_rate_flags(parser, "1e-2,1e-3,1e-4,1e-5", "a labelled set, or a .bin")
    parser.add_argument("--scores", metavar="DIR", help="write each pair's score to DIR/SET.csv; of several models, to "
                        "DIR/MODEL/SET.csv")
    parser.add_argument("--audit", metavar="FILE.csv",
                        help="write what may be wrongly labelled: people alike, images unlike their person")
    add_pca_flags(parser, "on all images of the set, without their labels; --folds does nothing here")
    add_embedding_flags(parser, keep=True)
    add_bootstrap_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Embed, score, print the table, write the files."""
    check_outputs(args, ("json", "audit"), ("scores", "embeddings"))
    models = parse_models(args.model)
    if args.pca and args.threshold_from:
        raise UserError("--pca with --threshold-from: each set would have a projection of its own, and thresholds are "
                        "of one; leave --pca out, or give --threshold X")
    failures = read_failures(args.failures) if args.failures else None
    with open_face_set(Path(args.set)) as faces:
        folders = read_groups(Path(args.groups), faces.names) if args.groups else faces.folders
        sides = choose_sides(args, faces.labels, folders)
        groups = yaw_groups(read_yaw(Path(args.landmarks), faces.names)) if args.landmarks else (
            None if args.between else folders)
        lost = leave_out(failures, faces.names, faces.labels, faces.people, folders, sides,
                         args.between or "") if failures else None
        fixed = [_fixed(model, args) for model in models]
        made = [_projected(embeddings_of(model, faces, args, failures.images if failures else ()), args.pca)
                for model in models]
    pairs = labelled_pairs(faces.labels, faces.people, lost.sides if lost else sides,
                           groups if groups is not None and (groups != "").any() else None, args.bootstrap, args.seed)
    results = [score_labelled(model.text, one.embeddings, pairs, args.fpr, one.norms if args.quality else None, points)
               for model, one, points in zip(models, made, fixed)]
    print(table(results))
    for result in results if lost else ():
        print(f"{result.model}: {_readings(lost, result)}")
    if args.json:
        write_atomic(args.json, json.dumps({result.model: {args.set: _row(result, results[0], one, lost, args)}
                                            for result, one in zip(results, made)}, indent=1) + "\n")
    if args.audit:
        _write_review(args.audit, made[0].embeddings, faces)
    for model, one in zip(models, made) if args.scores else ():
        folder = Path(args.scores) / score_folders(models)[model.text]
        write_all_scores(folder / f"{Path(args.set).absolute().name}.csv", one, pairs)
    return 0


def _fixed(model: ModelName, args: argparse.Namespace) -> list[tuple[str, float | None, float]]:
    if args.threshold is not None:
        return [("", None, args.threshold)]
    return thresholds_from(model, args.threshold_from, args) if args.threshold_from else []


def _projected(made: Embeddings, components: int | None) -> Embeddings:
    if not components:
        return made
    most = min(made.embeddings.shape)
    if components > most:
        raise UserError(f"--pca {components}: 1 to {most} components are possible with {len(made.names)} embeddings of "
                        f"{made.embeddings.shape[1]} numbers")
    log.info("--pca %d: fitted on the set's own images", components)
    return Embeddings(project(made.embeddings, components), made.norms, made.names, made.labels, made.meta)


def _readings(lost: WithoutFailures | None, result: ScoredModel) -> Any:
    return lost.readings(result.points, len(result.scored.genuine)) if lost else None


def _row(result: ScoredModel, first: ScoredModel, made: Embeddings, lost: WithoutFailures | None,
         args: argparse.Namespace) -> dict[str, Any]:
    row = {**result.as_row(None if result is first else first), "set": args.set, "between": args.between or "",
           "model_sha256": made.digest_of("model"), "set_sha256": made.digest_of("set"), "flip": not args.no_flip,
           "layer": args.layer, "pca": args.pca, "bootstrap": args.bootstrap, "seed": args.seed}
    return {**row, "failures": _readings(lost, result).as_row()} if lost else row


def _write_review(path: str, unit: np.ndarray, faces: FaceSet) -> None:
    stream, count = io.StringIO(), 0
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["what", "first", "second", "cosine"])
    for what, first, second, cosine in review(unit, faces.labels, faces.people, faces.names):
        rows.writerow([what, first, second, f"{cosine:.4f}"])
        count += 1
    write_atomic(path, stream.getvalue().encode("utf-8", "surrogateescape"))
    log.info("%d rows to look at in %s", count, path)

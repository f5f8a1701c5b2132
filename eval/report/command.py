"""`report`: one HTML page about one or several models."""
from __future__ import annotations

import argparse
import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import at_least
from common.errors import UserError
from common.files import write_atomic, write_json
from eval.arguments import (
    NO_FAILURES,
    add_bootstrap_flags,
    add_embedding_flags,
    add_model_flag,
    add_pca_flags,
    add_rate_flags,
    add_refused_flags,
    add_scores_flag,
    check_outputs,
    refuse_folds,
)
from eval.copies import warn_of_copies
from eval.embedding_file import Embeddings
from eval.face_sets import open_face_set, read_groups
from eval.fixed_threshold import FixedPoint
from eval.misalignment import misalignments
from eval.models import ModelName, parse_models
from eval.opening import EmbeddingSettings
from eval.other_set import from_elsewhere
from eval.pair_embeddings import read_pair_embeddings
from eval.pose import read_yaw, yaw_groups
from eval.projection import check_possible, fit_projection
from eval.report import labelled_set, misaligned, pair_sets
from eval.report.at_threshold import pairs_at_threshold, threshold_section
from eval.report.embedding import ImagePool, set_name, spread
from eval.report.html import Html, page, paragraph, table, tag
from eval.report.measuring import Inputs, maps_of, sample_of, score_pairs, score_set
from eval.report.score_files import described, origin_of, report_set_names, write_report_scores
from eval.robustness import numbers_from
from eval.score_folders import refuse_these, score_files
from eval.set_embeddings import choose_sides, embeddings_of, open_embedder, two_groups
from eval.verification import numbers
from eval.verify import open_sets

log = logging.getLogger(__name__)
PAGE, NUMBERS = "index.html", "report.json"
MISALIGNED = "misaligned"  # its row in the JSON
DESCRIPTION = """\
Write one HTML page that evaluates one model, or compares several.

  python -m eval report --model runs/a/model,3 runs/b/model,3 --bins data/lfw.bin data/cfp_fp.bin \\
      --set cfp/Data/Images --between frontal,profile --out report/

OUT/index.html is self-contained, images included, and makes no network requests: the table, ROC curves, histograms of
scores, the hardest pairs, all pairs of --set and its rates by pose, rates as crops are misaligned, and maps of local
features on faces: their norms, GNAP's weights, and the weights of average pooling. Every figure comes with a table
of its numbers. OUT/report.json has the numbers. Without --set, the parts that need identities or poses are left out.
Embeddings files (.npz) are accepted for a report on their own set; misaligned crops are left out for them.
The page shows faces of the sets: it is personal data as they are."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("report", help="one HTML page about one or several models", description=DESCRIPTION)
    add_model_flag(parser)
    parser.add_argument("--bins", nargs="+", default=[], metavar="FILE.bin", help="verification sets")
    parser.add_argument("--set", metavar="SET", help="a packed set, or a folder of folders by identity")
    parser.add_argument("--between", metavar="A,B", help="all pairs of an image of group A with one of group B")
    parser.add_argument("--groups", metavar="FILE.csv", help="the group of each image of --set: path or key, group")
    parser.add_argument("--landmarks", metavar="FILE.csv", help="five landmarks of each image of --set, as align "
                        "writes them: rates by yaw, in place of groups")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write the page to")
    parser.add_argument("--title", default="Face recognition report", help="title of the page")
    add_rate_flags(parser, "1e-3,1e-2", "a labelled set, or a .bin", failures=False)
    add_scores_flag(parser)
    add_pca_flags(parser, "on the other folds for pairs, and on all images of the report for the rest, without their "
                  "labels")
    parser.add_argument("--shift", type=numbers_from(0, 1e4), default="0,2,4,8", metavar="N,N...", help="pixels")
    parser.add_argument("--rotate", type=numbers_from(0, 180), default="0,5,10", metavar="N,N...", help="degrees")
    parser.add_argument("--scale", type=numbers_from(0.01, 100), default="0.9,1,1.1", metavar="X,X...",
                        help="scale factors")
    parser.add_argument("--misaligned", type=at_least(0), default=700, metavar="N",
                        help="images (of whole identities) or pairs to misalign; 0: omit that section")
    parser.add_argument("--hardest", type=at_least(0, 200), default=6, metavar="N",
                        help="hardest pairs of each kind to show; 0: none")
    parser.add_argument("--faces", type=at_least(0, 50), default=3, metavar="N",
                        help="faces of each pose to show maps of; 0: omit that section")
    add_embedding_flags(parser)
    add_bootstrap_flags(parser)
    add_refused_flags(parser, {**NO_FAILURES, "--embeddings": "a report embeds each image once for all of its parts; "
                               "leave it out (verify and allpairs keep embeddings, which --model takes)"})
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Embed, score, write the page."""
    began = time.perf_counter()
    if not args.bins and not args.set:
        raise UserError("there is nothing to report on: give --bins FILE.bin, --set SET, or both")
    for flag in () if args.set else ("between", "groups", "landmarks"):
        if getattr(args, flag):
            raise UserError(f"--{flag} {getattr(args, flag)}: is of the images of --set; give --set, or leave --{flag} "
                            "out")
    if not args.bins:
        refuse_folds(args)
    check_outputs(args, ("json",), ("out", "scores"))
    refuse_these(args, ("json",), [Path(args.out) / PAGE], f"--out {args.out}")
    models = parse_models(args.model)
    if args.pca and args.threshold_from:
        raise UserError("--pca with --threshold-from: the report has a projection of its own, and thresholds of "
                        "another one do not apply; leave one out, or use allpairs, which fits --pca on that set")
    files = [model for model in models if model.embeddings]
    if files and len(args.bins) + bool(args.set) != 1:
        raise UserError(f"--model {files[0].text}: holds the embeddings of one set; report on that set alone, or give "
                        "the checkpoint or ONNX file that they are of")
    if args.set:
        with open_face_set(Path(args.set)) as faces:
            folders = read_groups(Path(args.groups), faces.names, faces.path) if args.groups else faces.folders
            sides = choose_sides(args, faces.labels, folders)
            groups = yaw_groups(read_yaw(Path(args.landmarks), faces.names)) if args.landmarks else folders
            known = labelled_set.LabelledSet(set_name(args.set), faces.labels, faces.people, groups, sides,
                                             " against ".join(two_groups(args.between, folders.tolist()))
                                             if args.between else "",
                                             faces.digest())
            warn_of_copies(faces)
            given = {model.text: embeddings_of(model, faces, args) for model in files}
            text, rows = _report(models, _gather(args, known, faces.read, faces.names), given, faces.names, args)
    else:
        inputs = _gather(args, None, None, [])
        given = {model.text: read_pair_embeddings(model, inputs.sets[0], EmbeddingSettings.of(args)) for model in files}
        text, rows = _report(models, inputs, given, [], args)
    place = Path(args.out) / PAGE
    write_atomic(place, text.encode("utf-8", "backslashreplace"))
    for path in filter(None, (Path(args.out) / NUMBERS, args.json)):
        write_json(path, rows)
    print(f"{place} ({len(text) / 1e6:.1f} MB, {time.perf_counter() - began:.0f} s); the numbers: "
          f"{Path(args.out) / NUMBERS}")
    return 0


def _gather(args: argparse.Namespace, faces: labelled_set.LabelledSet | None, read: Any,
            names: list[str]) -> Inputs:
    """The sets, read and checked, and one pool of their images."""
    pool, sets = ImagePool(), open_sets(args.bins, args.folds)
    for target in sets:
        if target.name in (args.set, MISALIGNED):  # the key of another row of a model
            target.name = str(target.path)
    places = [np.array([pool.add(partial(target.images.__getitem__, number),
                                 f"{target.path}: image {number} of its different ones")
                        for number in range(len(target.images))]) for target in sets]
    face_places = np.array([pool.add(partial(read, number), f"{args.set}: {name}")
                            for number, name in enumerate(names)], np.int64)
    grouped = np.zeros(0, int) if faces is None else np.flatnonzero(faces.groups != "")
    return Inputs(sets, places, pool, faces, face_places, grouped)


def _report(models: list[ModelName], inputs: Inputs, given: dict[str, Embeddings], face_names: list[str],
            args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The page and the numbers behind it; given: embeddings read from files, by their models; face_names: of the
    images of the labelled set."""
    scores = score_files(args, models, report_set_names(inputs.sets, args))
    height, width = inputs.pool.image(0).shape[:2]
    elsewhere = [from_elsewhere(model, args) for model in models]
    embedders = [None if model.text in given else open_embedder(model, args, (height, width)) for model in models]
    names = short_names([model.text for model in models])
    for model, embedder in zip(models, embedders) if args.pca else ():
        check_possible(args.pca, len(inputs.pool), given[model.text].embeddings.shape[1] if embedder is None
                       else embedder.dimension)
    rows_at = inputs.face_places if inputs.faces is not None else inputs.places[0][inputs.sets[0].order]
    embedded = [spread(given[model.text], rows_at, len(inputs.pool)) if embedder is None else
                inputs.pool.embed(embedder, not args.no_flip, model.text) for embedder, model in zip(embedders, models)]
    projections = [fit_projection(one.unit, args.pca, "all images of this report") if args.pca else None
                   for one in embedded]
    projected = [replace(one, unit=projection.apply(one.unit)) if projection else one
                 for one, projection in zip(embedded, projections)]
    origins = [origin_of(model, given, args) for model in models]
    fixed: dict[str, list[FixedPoint]] = {}
    sections: list[tuple[str, Html]] = []
    rows: dict[str, dict[str, Any]] = {model.text: {} for model in models}

    def add(title: str, part: Html) -> None:
        sections.append((title, part))

    sets = [score_pairs(target, places, inputs.pool, embedded, args)
            for target, places in zip(inputs.sets, inputs.places)]
    if sets:
        add("Table", pair_sets.table_section(sets, names))
        add("ROC", pair_sets.roc_section(sets, names))
        add("Scores", pair_sets.histogram_section(sets, names))
        if args.hardest:
            add("Hardest pairs", pair_sets.hardest_section(sets, names, args.hardest))
    for target in sets:
        at, first = pairs_at_threshold(target, elsewhere, args), target.scored[0]
        for model, origin, name, scored, points in zip(models, origins, names, target.scored, at):
            fixed[f"{target.name}, {name}"] = points
            rows[model.text][target.name] = {
                **numbers(scored.result),
                **scored.statistics.as_row(first.statistics, models[0].text, scored.result, first.result),
                "tpr_at_fpr": {f"{rate:g}": value for rate, value in scored.result.tprs.items()},
                **described(origin, target.target.digest, args), "folds": args.folds,
                **({"at_threshold": [point.as_row() for point in points]} if points else {})}
    if inputs.faces is not None:
        found, posed = score_set(inputs.faces, inputs, projected, names, args, elsewhere)
        add("All pairs", labelled_set.all_pairs_section(inputs.faces, names, found))
        add("Rates by pose", labelled_set.pose_section(names, posed or found))
        if all(made.quality for made in found):  # but of files without norms
            add("Quality", labelled_set.quality_section(names, found))
        for number, (model, made) in enumerate(zip(models, found)):
            row = made.as_row(replace(found[0], model=models[0].text) if number else None)
            fixed[f"{inputs.faces.name}, {names[number]}"] = made.fixed
            rows[model.text][args.set] = {
                **row, **described(origins[number], inputs.faces.digest, args), "between": args.between or "",
                "poses": posed[number].as_row() if posed else None}
    if any(fixed.values()):
        add("At a threshold", threshold_section(fixed))
    if scores:
        write_report_scores(list(scores.values()), origins, projected, sets, inputs, face_names, args)
    moving = [number for number, embedder in enumerate(embedders) if embedder is not None]
    if args.misaligned and moving:
        sample = sample_of(inputs, args)
        settings = misalignments({"shift": args.shift, "rotate": args.rotate, "scale": args.scale})
        curves = [misaligned.measure(sample, embedders[number], settings, not args.no_flip, args.seed, names[number],
                                     projections[number]) for number in moving]
        add("Misaligned crops", misaligned.misaligned_section(sample, settings, [names[number] for number in moving],
                                                              curves, args.fpr[0]))
        for number, curve in zip(moving, curves):
            rows[models[number].text][MISALIGNED] = [
                {"shift": how.shift, "rotate": how.rotate, "scale": how.scale, **point.as_row(), "interval": limits}
                for how, (point, limits) in zip(settings, curve)]
    if args.faces:
        add("Local features", maps_of(models, names, inputs, args))
    return page(args.title, _intro(models, names, inputs, args), sections, _footer()), rows


def _intro(models: list[ModelName], names: list[str], inputs: Inputs, args: argparse.Namespace) -> Html:
    rows = [[name, model.text] for name, model in zip(names, models)]
    sets = [f"{target.name} ({len(target.same)} pairs)" for target in inputs.sets]
    if inputs.faces is not None:
        sets.append(f"{inputs.faces.name} ({len(inputs.faces.labels)} images of {len(inputs.faces.people)} identities)")
    pca = f" They are projected on {args.pca} principal components, fitted without labels: for sets of pairs on the " \
          "other folds, else on all images of this report." if args.pca else ""
    mirror = "Embeddings are of the image alone" if args.no_flip else (
        "Embeddings of an image and its mirror image are added")
    return tag("div", paragraph(f"On {', '.join(sets)}. {mirror} and normalised; a pair's score is the squared "
                                f"distance, 2 - 2 cosine.{pca}"), table(["model", "checkpoint"], rows))


def _footer() -> Html:
    return paragraph("Written by python -m eval report. This page contains images of faces and asks the network for "
                     "requests. Faces are personal data: share it as you would share them.")


def short_names(texts: list[str], most: int = 36) -> list[str]:
    """Names that a table's column can hold: the last parts of the paths, as many as tell them apart; of a run's
    `model` its folder too."""
    for parts in (2 if any(text.split("/")[-1].startswith("model,") for text in texts) else 1, 2, 3, 4):
        names = ["/".join(text.split("/")[-parts:]) for text in texts]
        if len(set(names)) == len(set(texts)):
            break
    else:
        names = [f"{number + 1}: {name}" for number, name in enumerate(names)]
    return [name if len(name) <= most else "..." + name[-most + 3:] for name in names] if len(
        {name[-most + 3:] for name in names}) == len(names) else names

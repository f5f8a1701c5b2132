"""`robustness`: the rates of a model as the crops are misaligned."""
from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Callable

from common.errors import UserError
from common.files import write_json
from common.progress import meter
from eval.arguments import (
    NO_FAILURES,
    add_bootstrap_flags,
    add_embedding_flags,
    add_pca_flags,
    add_rate_flags,
    add_refused_flags,
    add_scores_flag,
    add_set_flags,
    check_outputs,
    refuse_folds,
)
from eval.copies import warn_of_copies
from eval.face_sets import open_face_set, read_groups
from eval.misalignment import BORDERS, misalignments
from eval.models import parse_models
from eval.other_set import from_elsewhere
from eval.projection import fit_line
from eval.robustness_curve import Curve
from eval.robustness_table import table
from eval.score_folders import score_files
from eval.set_embeddings import check_models, choose_sides
from eval.set_scoring import labelled_pairs
from eval.verify_table import difference_table

DESCRIPTION = """\
Misalign the crops of a labelled set by pixels, degrees or a scale factor, and report TPR over all its pairs.

  python -m eval robustness --model runs/fc/model,3 runs/gnap/model,3 --set cfp/Data/Images --between frontal,profile \\
      --shift 0,2,4,8 --rotate 0,5,10 --scale 0.9,1,1.1 --plot curves.svg

Each kind is applied alone. The direction of a shift and the sense of a rotation are random for each image, by --seed,
the same for every model. A row has the TPR at --fpr of the misaligned set itself, with its interval over identities,
and TPR and FPR at the threshold of the aligned set at --fpr: the rates in use where it was chosen on well aligned
faces. --threshold or --threshold-from give the rates at other thresholds. With several --fpr the plot is of the first.
Precomputed embeddings (.npz) are not accepted as --model, since crops are transformed; --embeddings DIR caches those of
every misalignment, and an interrupted run continues from there."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("robustness", help="rates as the crops are misaligned", description=DESCRIPTION)
    add_set_flags(parser, embeddings=False)
    parser.add_argument("--shift", type=numbers_from(0, 1e4), default="0,2,4,8", metavar="N,N...", help="pixels")
    parser.add_argument("--rotate", type=numbers_from(0, 180), default="0", metavar="N,N...", help="degrees")
    parser.add_argument("--scale", type=numbers_from(0.01, 100), default="1", metavar="X,X...",
                        help="scale factors")
    parser.add_argument("--side", choices=("both", "second"), default="both",
                        help="misalign both images of a pair, or only the second (of group B, with --between)")
    parser.add_argument("--border", choices=tuple(BORDERS), default="black", help="fill of the border")
    add_rate_flags(parser, "1e-3", "a labelled set, or a .bin", failures=False)
    parser.add_argument("--plot", metavar="FILE", help="plot the curves to this file: .svg or .png")
    add_scores_flag(parser, "SET-MISALIGNMENT")
    add_pca_flags(parser, "on the images of --threshold-from where that is given, else on the aligned crops of --set "
                  "itself, which the output says; without their labels", folds=False)
    add_embedding_flags(parser, keep=True)
    add_bootstrap_flags(parser)
    add_refused_flags(parser, NO_FAILURES)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Embed the set under every misalignment, score, print, write."""
    refuse_folds(args)
    check_outputs(args, ("json", "plot"), ("scores", "embeddings"))
    if args.plot and Path(args.plot).suffix not in (".svg", ".png"):
        raise UserError(f"--plot {args.plot}: expected a name that ends in .svg or .png")
    models = parse_models(args.model)
    for model in models:
        if model.embeddings:
            raise UserError(f"--model {model.text}: crops are misaligned and embedded again; give the checkpoint or "
                            "ONNX file that the embeddings are of")
    settings = misalignments({"shift": args.shift, "rotate": args.rotate, "scale": args.scale})
    with open_face_set(Path(args.set)) as faces:
        groups = read_groups(Path(args.groups), faces.names, faces.path) if args.groups else faces.folders
        left, right = choose_sides(args, faces.labels, groups)
        if right is None and args.side == "second":
            right = left
        check_models(models, faces, args)
        pairs = labelled_pairs(faces.labels, faces.people, (left, right), None, args.bootstrap, args.seed)
        with meter(len(faces.names), f"{faces.path}: sha256", "images") as bar:
            digest = faces.digest(bar.update)
        warn_of_copies(faces)
        scores = score_files(args, models, [f"{Path(args.set).absolute().name}-{str(how).replace(' ', '-')}"
                                            for how in settings], ("json", "plot"))
        curves = [Curve(model, faces, pairs, args, from_elsewhere(model, args)) for model in models]
        for curve in curves:
            curve.measure(settings, digest, scores.get(curve.name.text, ()))
    found = {curve.name.text: curve.settings for curve in curves}
    print(table(found))
    first = curves[0]
    rows = {curve.name.text: [setting.as_row(first.name.text, one) for setting, one in zip(
        curve.settings, first.settings)] for curve in curves}
    for name, some in rows.items():
        apart = difference_table({str(how): row.get("difference", {}) for how, row in zip(settings, some)})
        if apart:
            print(f"{name}:\n{apart}")
    for curve in curves:
        if curve.projection:
            print(f"{curve.name.text}: {fit_line(curve.projection, args.set)}")
    if args.json:
        write_json(args.json, rows)
    if args.plot:
        from eval.robustness_plot import draw
        draw(found, args.fpr[0], args.plot)
    return 0


def numbers_from(least: float, most: float) -> Callable[[str], list[float]]:
    """The argparse type of `0,2,4`: numbers from `least` to `most`, each once."""
    def parse(text: str) -> list[float]:
        try:
            values = list(dict.fromkeys(float(part) for part in text.split(",")))
        except ValueError:
            values = [math.nan]
        if not all(least <= value <= most for value in values):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers from {least:g} to {most:g}")
        return values
    return parse

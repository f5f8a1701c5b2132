"""`robustness`: the rates of a model as the crops are misaligned."""
from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

from common.errors import UserError
from common.files import write_atomic
from common.progress import meter
from eval.all_pairs import Side, score_all_pairs
from eval.arguments import add_bootstrap_flags, add_embedding_flags, add_set_flags, fpr_list
from eval.bootstrap import PeopleBootstrap, interval
from eval.face_sets import FaceSet, open_face_set, read_groups
from eval.misalignment import BORDERS, Misalignment, misaligned_batches, misalignments
from eval.models import ModelName, embed_batches, parse_models
from eval.operating_points import OperatingPoint, allowed, operating_point, rates_above
from eval.set_embeddings import choose_sides, image_size, open_embedder

SPARE = 4  # times the impostor scores that the FPR needs, for resamples that need more
DESCRIPTION = """\
Move the crops of a labelled set by some pixels, degrees or a factor, and tell TPR over all its pairs.

  python -m eval robustness --model runs/fc/model,3 runs/gnap/model,3 --set cfp/Data/Images --between frontal,profile \\
      --shift 0,2,4,8 --rotate 0,5,10 --scale 0.9,1,1.1 --plot curves.svg

Each kind is tried alone. The direction of a shift and the sense of a rotation are drawn for each image, by --seed, the
same for every model. A row has the TPR at --fpr of the moved set itself, with its interval over people, and TPR and FPR
at the threshold that the aligned set has at --fpr: what somebody sees who chose it on well aligned faces."""


@dataclass(frozen=True)
class Setting:
    """How one misalignment scored."""

    how: Misalignment
    point: OperatingPoint
    limits: tuple[float, float] | None
    fixed_tpr: float
    fixed_fpr: float

    def as_row(self) -> dict[str, object]:
        """For JSON."""
        return {"shift": self.how.shift, "rotate": self.how.rotate, "scale": self.how.scale, "tpr": self.point.tpr,
                "false_accepts": self.point.false_accepts, "interval": self.limits,
                "at_aligned_threshold": {"tpr": self.fixed_tpr, "fpr": self.fixed_fpr}}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("robustness", help="rates as the crops are misaligned", description=DESCRIPTION)
    add_set_flags(parser)
    parser.add_argument("--shift", type=numbers_from(0, 1e4), default="0,2,4,8", metavar="N,N...", help="pixels")
    parser.add_argument("--rotate", type=numbers_from(0, 180), default="0", metavar="N,N...", help="degrees")
    parser.add_argument("--scale", type=numbers_from(0.01, 100), default="1", metavar="X,X...",
                        help="factors of the size")
    parser.add_argument("--side", choices=("both", "second"), default="both",
                        help="move both images of a pair, or the second alone (of group B, with --between)")
    parser.add_argument("--border", choices=tuple(BORDERS), default="black", help="what comes in at the edges")
    parser.add_argument("--fpr", type=fpr_list, default="1e-3", metavar="RATE", help="false positive rate of the TPR")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too, by model")
    parser.add_argument("--plot", metavar="FILE", help="draw the curves there: .svg or .png")
    add_embedding_flags(parser)
    add_bootstrap_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Embed the set under every misalignment, score, print, write."""
    if len(args.fpr) != 1:
        raise UserError("--fpr: one rate for a curve")
    if args.plot and Path(args.plot).suffix not in (".svg", ".png"):
        raise UserError(f"--plot {args.plot}: expected a name that ends in .svg or .png")
    models = parse_models(args.model)
    for model in models:
        if model.embeddings:
            raise UserError(f"--model {model.text}: images are moved and embedded anew, so a checkpoint is needed")
    settings = misalignments({"shift": args.shift, "rotate": args.rotate, "scale": args.scale})
    with open_face_set(Path(args.set)) as faces:
        groups = read_groups(Path(args.groups), faces.names) if args.groups else faces.folders
        sides = choose_sides(args, faces.labels, groups)
        left, right = (faces.labels[side] if side is not None else None for side in sides)
        if right is None and args.side == "second":
            right = left
        bootstrap = PeopleBootstrap(len(faces.people), left, right, args.bootstrap, args.seed) if args.bootstrap else (
            None)
        curves = {model.text: _curve(model, faces, sides, settings, args, bootstrap) for model in models}
    print(table(curves, args.fpr[0]))
    if args.json:
        write_atomic(args.json, json.dumps({name: [setting.as_row() for setting in curve] for name, curve
                                            in curves.items()}, indent=1) + "\n")
    if args.plot:
        from eval.robustness_plot import draw
        draw(curves, args.fpr[0], args.plot)
    return 0


def _curve(model: ModelName, faces: FaceSet, sides: tuple[np.ndarray, np.ndarray | None],
           settings: list[Misalignment], args: argparse.Namespace, bootstrap: PeopleBootstrap | None) -> list[Setting]:
    embedder = open_embedder(model, args, image_size(faces))
    left, right = sides
    curve: list[Setting] = []
    aligned: np.ndarray | None = None
    with meter(len(settings) * len(faces.names), model.text, "images") as bar:
        for how in settings:
            batches = misaligned_batches(faces.batches(embedder.batch_size, embedder.image_size, hashlib.sha256()),
                                         how, args.seed, args.border)
            unit, _ = embed_batches(embedder, batches, not args.no_flip, bar.update)
            aligned = unit if aligned is None else aligned
            first = Side((aligned if args.side == "second" else unit)[left], faces.labels[left])
            alone = right is None and args.side == "second"
            other = None if right is None and not alone else Side(unit[left if alone else right],
                                                                  faces.labels[left if alone else right])
            impostors = len(left) * len(left if right is None else right)
            scored = score_all_pairs(first, other, SPARE * (allowed(args.fpr[0], impostors) + 1000), same_images=alone)
            point = operating_point(scored.genuine, scored.tail, scored.impostors, args.fpr[0])
            limits = interval(bootstrap.tpr(scored, args.fpr[0])) if bootstrap else None
            fixed = rates_above(scored, curve[0].point.cosine if curve else point.cosine)
            curve.append(Setting(how, point, (limits.low, limits.high) if limits else None, *fixed))
    return curve


def table(curves: dict[str, list[Setting]], fpr: float) -> str:
    """A block for each model, a row for each misalignment."""
    lines = []
    for name, curve in curves.items():
        lines.append(f"{name}: TPR at FPR {fpr:g}, and at the threshold of the aligned set "
                     f"(distance {curve[0].point.threshold:.4f})")
        lines.append(f"  {'crops':<14}  {'TPR %':>7}  {'95% interval':>16}  {'false accepts':>13}  "
                     f"{'TPR % there':>11}  {'FPR % there':>11}")
        for setting in curve:
            point, limits = setting.point, setting.limits
            rate = "-" if point.tpr is None else f"{'~' if point.few else ''}{100 * point.tpr:.2f}"
            lines.append(f"  {str(setting.how):<14}  {rate:>7}  "
                         f"{f'{100 * limits[0]:.2f} to {100 * limits[1]:.2f}' if limits else '':>16}  "
                         f"{point.false_accepts:>13}  {100 * setting.fixed_tpr:>11.2f}  "
                         f"{100 * setting.fixed_fpr:>11.4f}")
    return "\n".join(lines)


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

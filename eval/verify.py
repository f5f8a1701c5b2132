"""`verify`: the paper's table row of a model for every set of pairs."""
from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from common.cli import at_least
from common.devices import parse_devices
from common.errors import UserError
from common.files import write_atomic
from eval.arguments import add_bootstrap_flags, fpr_list
from eval.models import ModelName, parse_models
from eval.operating_points import OperatingPoint
from eval.pair_statistics import Statistics, statistics
from eval.verification import VerificationResult, VerificationSet, numbers, verify_set
from inference.embedder import Embedder
from inference.model import load_model

log = logging.getLogger(__name__)
DESCRIPTION = """\
Score a checkpoint on verification sets and print one row for each.

  python -m eval verify --model runs/a/model,3 --bins data/lfw.bin data/cfp_fp.bin --json scores.json

The embeddings of an image and its mirror image are added and normalised; a pair's score is the squared L2 distance.
  accuracy  over 10 consecutive folds, each at the threshold that is best on the others (grid 0..4, step 0.01)
  TPR       over all pairs, at the largest observed FPR that does not exceed --fpr
  EER, AUC  of the ROC curve over all pairs
  XNorm     mean length of the embeddings before normalisation

A TPR with fewer than 10 false accepts behind it is marked ~, with their number: chance decides it, and allpairs helps.
--json has, by model and set, false accepts, thresholds, 95% intervals over pairs, differences to the first model."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("verify", help="score a model on sets of pairs", description=DESCRIPTION)
    parser.add_argument("--model", required=True, nargs="+", metavar="M",
                        help="PREFIX,EPOCH, as runs/a/model,3 for runs/a/model-symbol.json and "
                             "runs/a/model-0003.params; PREFIX,1|2|3 or PREFIX for several or all epochs")
    parser.add_argument("--bins", required=True, nargs="+", metavar="FILE.bin", help="verification sets")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too, by model and set")
    parser.add_argument("--fpr", type=fpr_list, default="1e-3", metavar="RATE[,RATE...]",
                        help="false positive rates at which TPR is told; the first is the JSON's tpr")
    parser.add_argument("--no-flip", action="store_true", help="leave the mirror images out")
    parser.add_argument("--pca", type=at_least(1), metavar="N",
                        help="project embeddings on N principal components, fitted on the other folds")
    parser.add_argument("--folds", type=at_least(2), default=10, metavar="N", help="folds of the accuracy")
    parser.add_argument("--batch-size", type=at_least(1), default=64, metavar="N",
                        help="images a step, over all devices together")
    parser.add_argument("--devices", metavar="LIST",
                        help="cpu:0 or gpu:0,gpu:1 (default: all visible GPUs, else the CPU)")
    parser.add_argument("--layer", default="fc1", metavar="NAME", help="the layer whose output is the embedding")
    add_bootstrap_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify, print the tables, write the JSON file."""
    if args.json and Path(args.json).is_dir():
        raise UserError(f"--json {args.json}: is a folder; expected a file to write")
    models = parse_models(args.model)
    for model in models:
        if model.embeddings:
            raise UserError(f"--model {model.text}: pairs are embedded from their images, so a checkpoint is needed")
    devices = parse_devices(args.devices)
    loaded = [load_model(model.prefix, model.epoch, args.layer) for model in models]
    sets = [VerificationSet(path, args.folds) for path in args.bins]
    names = _names(sets)
    for target in sets:
        _warn_of_few_pairs(target, args.fpr)
    rows: dict[str, dict[str, object]] = {}
    first: dict[str, tuple[VerificationResult, Statistics]] = {}
    for model, parts in zip(models, loaded):
        results = _verify(model, parts, sets, names, devices, args)
        if len(models) > 1:
            print(f"{model.text}:")
        print(table({name: result for name, (result, _) in results.items()},
                    {name: found.points for name, (_, found) in results.items()}))
        rows[model.text] = {}
        for name, (result, found) in results.items():
            origin = first.setdefault(name, (result, found))
            difference = () if origin[0] is result else (origin[1], models[0].text, result, origin[0])
            rows[model.text][name] = {**as_row(result), **found.as_row(*difference), "model": model.text,
                                      "layer": args.layer, "flip": not args.no_flip, "pca": args.pca,
                                      "folds": args.folds, "bootstrap": args.bootstrap, "seed": args.seed}
    if args.json:
        write_atomic(args.json, json.dumps(rows, indent=1) + "\n")
    return 0


def _verify(model: ModelName, parts: tuple, sets: list[VerificationSet], names: list[str], devices: list,
            args: argparse.Namespace) -> dict[str, tuple[VerificationResult, Statistics]]:
    """A model's result on every set, and what stands behind it."""
    embedders: dict[tuple[int, int], Embedder] = {}
    results = {}
    for name, target in zip(names, sets):
        if target.image_size not in embedders:
            try:
                embedders[target.image_size] = Embedder(*parts, devices, args.batch_size, target.image_size)
            except UserError as error:
                raise UserError(f"{target.path} with --model {model.text}: {error}") from None
        result = verify_set(embedders[target.image_size], target, args.fpr, not args.no_flip, args.pca or 0,
                            show_progress=True)
        results[name] = result, statistics(result, args.fpr, args.bootstrap, args.seed)
    return results


def as_row(result: VerificationResult) -> dict[str, object]:
    """What --json says of a set; tpr_at_fpr is keyed by the rate as text, `0.001`."""
    return {**numbers(result), "tpr_at_fpr": {f"{rate:g}": value for rate, value in result.tprs.items()}}


def table(results: dict[str, VerificationResult], points: dict[str, list[OperatingPoint]]) -> str:
    """Aligned columns, a row for each set; rates in percent. A TPR with few false accepts behind it has a ~ and their
    number, one with none is a dash."""
    fprs = list(next(iter(results.values())).tprs)
    rows = [["set", "pairs", "accuracy %", "+-", *(f"TPR@FPR={100 * rate:g}%" for rate in fprs), "EER %", "AUC %",
             "XNorm", "threshold", "seconds"]]
    for name, result in results.items():
        rows.append([name, str(result.pairs), f"{100 * result.accuracy:.2f}", f"{100 * result.accuracy_std:.2f}",
                     *map(_tpr, points[name]), f"{100 * result.eer:.2f}",
                     f"{100 * result.auc:.3f}", f"{result.xnorm:.2f}", f"{result.threshold:.3f}",
                     f"{result.seconds:.1f}"])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width
                                                           in zip(row[1:], widths[1:]))]).rstrip() for row in rows)


def _tpr(point: OperatingPoint) -> str:
    if point.tpr is None:
        return "-"
    return f"~{100 * point.tpr:.2f} ({point.false_accepts})" if point.few else f"{100 * point.tpr:.2f}"


def _names(sets: list[VerificationSet]) -> list[str]:
    names = [target.name for target in sets]
    return [name if names.count(name) == 1 else str(target.path) for name, target in zip(names, sets)]


def _warn_of_few_pairs(target: VerificationSet, rates: list[float]) -> None:
    different = int((~target.same).sum())
    for rate in rates:
        if rate * different < 1 - 1e-9:
            log.warning("%s: has %d different pairs, so TPR at FPR %g is not given: no false accept is allowed",
                        target.name, different, rate)

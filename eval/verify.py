"""`verify`: the paper's table row of a model for every set of pairs."""
from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from common.cli import at_least, parse_checkpoint_name
from common.devices import parse_devices
from common.errors import UserError
from common.files import write_atomic
from eval.arguments import fpr_list
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
  XNorm     mean length of the embeddings before normalisation"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("verify", help="score a model on sets of pairs", description=DESCRIPTION)
    parser.add_argument("--model", required=True, metavar="PREFIX,EPOCH",
                        help="checkpoint, as runs/a/model,3 for runs/a/model-symbol.json and runs/a/model-0003.params")
    parser.add_argument("--bins", required=True, nargs="+", metavar="FILE.bin", help="verification sets")
    parser.add_argument("--json", metavar="FILE", help="write the scores there too, by the set's name")
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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify, print the table, write the JSON file."""
    if args.json and Path(args.json).is_dir():
        raise UserError(f"--json {args.json}: is a folder; expected a file to write")
    prefix, epoch = parse_checkpoint_name(args.model, "--model")
    devices = parse_devices(args.devices)
    model = load_model(prefix, epoch, args.layer)
    sets = [VerificationSet(path, args.folds) for path in args.bins]
    embedders: dict[tuple[int, int], Embedder] = {}
    for target in sets:
        _warn_of_few_pairs(target, args.fpr)
        if target.image_size not in embedders:
            try:
                embedders[target.image_size] = Embedder(*model, devices, args.batch_size, target.image_size)
            except UserError as error:
                raise UserError(f"{target.path} with --model {args.model}: {error}") from None
    results = [verify_set(embedders[target.image_size], target, args.fpr, not args.no_flip, args.pca or 0,
                          show_progress=True) for target in sets]
    names = _names(sets)
    print(table(dict(zip(names, results))))
    if args.json:
        rows = {name: {**as_row(result), "model": args.model, "layer": args.layer, "flip": not args.no_flip,
                       "pca": args.pca, "folds": args.folds} for name, result in zip(names, results)}
        write_atomic(args.json, json.dumps(rows, indent=1) + "\n")
    return 0


def as_row(result: VerificationResult) -> dict[str, object]:
    """What --json says of a set; tpr_at_fpr is keyed by the rate as text, `0.001`."""
    return {**numbers(result), "tpr_at_fpr": {f"{rate:g}": value for rate, value in result.tprs.items()}}


def table(results: dict[str, VerificationResult]) -> str:
    """Aligned columns, a row for each set; rates in percent."""
    rates = list(next(iter(results.values())).tprs)
    rows = [["set", "pairs", "accuracy %", "+-", *(f"TPR@FPR={100 * rate:g}%" for rate in rates), "EER %", "AUC %",
             "XNorm", "threshold", "seconds"]]
    for name, result in results.items():
        rows.append([name, str(result.pairs), f"{100 * result.accuracy:.2f}", f"{100 * result.accuracy_std:.2f}",
                     *(f"{100 * result.tprs[rate]:.2f}" for rate in rates), f"{100 * result.eer:.2f}",
                     f"{100 * result.auc:.3f}", f"{result.xnorm:.2f}", f"{result.threshold:.3f}",
                     f"{result.seconds:.1f}"])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width
                                                           in zip(row[1:], widths[1:]))]).rstrip() for row in rows)


def _names(sets: list[VerificationSet]) -> list[str]:
    names = [target.name for target in sets]
    return [name if names.count(name) == 1 else str(target.path) for name, target in zip(names, sets)]


def _warn_of_few_pairs(target: VerificationSet, rates: list[float]) -> None:
    different = int((~target.same).sum())
    for rate in rates:
        if rate * different < 1 - 1e-9:
            log.warning("%s: has %d different pairs, so TPR at FPR %g is the TPR without any false positive",
                        target.name, different, rate)

"""Flags that several commands share, with one meaning and one default."""
from __future__ import annotations

import argparse
import glob
import math
import os
from typing import Any, Collection, Mapping

from common.arguments import DEVICES, LAYER, at_least, of_flag
from common.errors import UserError
from common.files import check_new_file
from common.folders import check_apart
from common.run_files import CONFIG
from common.writable import check_writable
from inference.engine import ENGINES

FOLDS = 10
NO_FAILURES = {"--failures": "verify and allpairs count faces that could not be embedded as errors; leave it out"}
MODEL_HELP = ("PREFIX,EPOCH, as runs/a/model,3 for runs/a/model-symbol.json and runs/a/model-0003.params; PREFIX,1|2|3 "
              "or PREFIX for several or all checkpoints; X.onnx")


def fpr_list(text: str) -> list[float]:
    """The argparse type of `1e-3,1e-4`: false positive rates between 0 and 1, each once."""
    try:
        rates = list(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        rates = [0.0]
    if not all(0 < rate < 1 for rate in rates):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of rates between 0 and 1, e.g. 1e-3,1e-4")
    named: dict[str, float] = {}
    for rate in rates:
        if named.setdefault(f"{rate:g}", rate) != rate:
            raise argparse.ArgumentTypeError(f"{named[f'{rate:g}']!r} and {rate!r} are both {rate:g} to the six digits "
                                             "that results are named by; leave one out")
    return rates


def distance(text: str) -> float:
    """The argparse type of a threshold: a squared distance of normalised embeddings, 0 to 4."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a squared distance from 0 to 4; of a cosine c it is 2 - 2 c")
    return value + 0.0  # no -0


def add_model_flag(parser: argparse.ArgumentParser, embeddings: bool = True) -> None:
    """--model; embeddings: whether it may be a file of them."""
    parser.add_argument("--model", required=True, nargs="+", metavar="M",
                        help=MODEL_HELP + ("; X.npz, precomputed embeddings" if embeddings else ""))


def add_set_flags(parser: argparse.ArgumentParser, embeddings: bool = True) -> None:
    """--model, --set and the groups of its images; embeddings: whether a model may be a file of them."""
    add_model_flag(parser, embeddings)
    parser.add_argument("--set", required=True, metavar="SET", help="a packed set, or a folder of folders by identity")
    parser.add_argument("--between", metavar="A,B", help="only pairs of an image of group A with one of group B")
    parser.add_argument("--groups", metavar="FILE.csv", help="the group of each image: path or key, group "
                        "(default: the folders inside the identities' folders)")


def add_embedding_flags(parser: argparse.ArgumentParser, keep: bool = False) -> None:
    """How images are embedded; keep: also where embeddings are kept."""
    parser.add_argument("--no-flip", action="store_true", help="leave the mirror images out")
    parser.add_argument("--batch-size", type=at_least(1), default=64, metavar="N",
                        help="images per forward pass, over all devices")
    parser.add_argument("--devices", metavar="LIST", help=f"{DEVICES}; ONNX files run on the CPU")
    parser.add_argument("--layer", default="fc1", metavar="NAME", help=LAYER)
    parser.add_argument("--engine", choices=ENGINES, default="mxnet",
                        help="inference engine for checkpoints on CPUs: MXNet, onnxruntime, or the faster one here "
                             "where both agree to 1e-5")
    if keep:
        parser.add_argument("--embeddings", metavar="DIR", help="cache embeddings in DIR, as .npz files that --model "
                            "accepts too; those of the same model and set are not computed again")


def add_rate_flags(parser: argparse.ArgumentParser, fpr: str, source: str, failures: bool = True) -> None:
    """The operating points; source: what --threshold-from takes; failures: also --failures."""
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON, by model and set")
    parser.add_argument("--fpr", type=fpr_list, default=fpr, metavar="RATE[,RATE...]",
                        help="false positive rates at which TPR is given; the first is the JSON's tpr")
    fixed = parser.add_mutually_exclusive_group()
    fixed.add_argument("--threshold", type=distance, metavar="X",
                       help="also give the rates at this squared distance")
    fixed.add_argument("--threshold-from", metavar="SET", help="also give the rates at the thresholds that have each "
                       f"--fpr on this set: {source}")
    if not failures:
        return
    parser.add_argument("--failures", metavar="FILE", help="faces that were not detected or not decodable, counted as "
                        "errors beside the rates without them: a list of images, a table, or align-report.json")


def add_pca_flags(parser: argparse.ArgumentParser, fitted: str, folds: bool = True) -> None:
    """--pca and --folds; fitted: on what the projection is; folds: whether the command's pairs have folds."""
    parser.add_argument("--pca", type=at_least(1), metavar="N",
                        help=f"project embeddings on N principal components, fitted {fitted}")
    parser.add_argument("--folds", type=at_least(2), default=FOLDS, metavar="N",
                        help="folds of the accuracy and of --pca" if folds else
                        f"all pairs have no folds: {FOLDS}, as other commands have it, changes nothing, others are "
                        "refused")


def refuse_folds(args: argparse.Namespace) -> None:
    """UserError where --folds is given to a command whose pairs have none."""
    if args.folds != FOLDS:
        raise UserError(f"--folds {args.folds}: all pairs of a set have no folds; leave --folds out (verify has them)")


class _Refused(argparse.Action):
    """Ends the command with the reason why it lacks a flag that others have."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        parser.error(f"{option_string}: {self.metavar}")


def add_refused_flags(parser: argparse.ArgumentParser, reasons: Mapping[str, str]) -> None:
    """Flags that other commands have and this one lacks; reasons: by flag, with what to do instead."""
    for flag, why in reasons.items():
        parser.add_argument(flag, action=_Refused, nargs="?", metavar=why, default=argparse.SUPPRESS,
                            help=argparse.SUPPRESS)


def add_scores_flag(parser: argparse.ArgumentParser, name: str = "SET") -> None:
    """--scores; name: of a file, without its ending."""
    parser.add_argument("--scores", metavar="DIR", help=f"write each pair's score to DIR/{name}.csv; with several "
                        f"models, to DIR/MODEL/{name}.csv")


def add_bootstrap_flags(parser: argparse.ArgumentParser) -> None:
    """The resamples of intervals."""
    parser.add_argument("--bootstrap", type=at_least(0), default=1000, metavar="N",
                        help="bootstrap resamples; 0: no intervals")
    parser.add_argument("--seed", type=at_least(0, 2 ** 32 - 1), default=0, metavar="N",
                        help="random seed of the resamples")


def check_outputs(args: argparse.Namespace, files: tuple[str, ...] = (), folders: tuple[str, ...] = ()) -> None:
    """UserError, before any work, where a file to write is a folder, a folder to write into a file, one of them cannot
    be written at all, or is what the command reads or writes already."""
    taken = files_read(args, (*files, *folders))
    written: list[str] = []
    for name in files:
        path = getattr(args, name, None)
        if not path:
            continue
        with of_flag(f"--{name}"):
            check_new_file(path, replace=True)
            check_apart(path, taken)
        if any(os.path.realpath(path) == os.path.realpath(other) for other in written):
            raise UserError(f"--{name} {path}: is written by another flag; name another file")
        written += [path] if not os.path.exists(path) or os.path.isfile(path) else []  # a device may be used for both
    for name in folders:
        path = getattr(args, name, None)
        if not path:
            continue
        if os.path.exists(path) and not os.path.isdir(path):
            raise UserError(f"--{name} {path}: is a file; expected a folder to write into")
        with of_flag(f"--{name}"):
            check_writable(path, folder=True)


def files_read(args: argparse.Namespace, outputs: Collection[str]) -> list[str]:
    """The files that all arguments but `outputs` name."""
    return [path for name, value in vars(args).items() if name not in outputs for path in _inputs(value)]


def _inputs(value: Any) -> list[str]:
    """The files of an argument: itself, or those of a checkpoint and its run."""
    if isinstance(value, (list, tuple)):
        return [path for one in value for path in _inputs(one)]
    if not isinstance(value, str):
        return []
    found = [value]
    for prefix in {value.rpartition(",")[0] or value, value}:
        if os.path.exists(f"{prefix}-symbol.json"):
            found += [f"{prefix}-symbol.json", *glob.glob(f"{glob.escape(prefix)}-*.params"),
                      os.path.join(os.path.dirname(prefix), CONFIG)]
    return found

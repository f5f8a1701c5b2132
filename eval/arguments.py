"""Values that several commands' flags take."""
from __future__ import annotations

import argparse

from common.cli import at_least


def fpr_list(text: str) -> list[float]:
    """The argparse type of `1e-3,1e-4`: false positive rates between 0 and 1, each once."""
    try:
        rates = list(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        rates = [0.0]
    if not all(0 < rate < 1 for rate in rates):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of rates between 0 and 1, e.g. 1e-3,1e-4")
    return rates


def add_set_flags(parser: argparse.ArgumentParser) -> None:
    """--model, --set and the groups of its images."""
    parser.add_argument("--model", required=True, nargs="+", metavar="M",
                        help="PREFIX,EPOCH; PREFIX,1|2|3 or PREFIX for several or all epochs; X.npz, embeddings")
    parser.add_argument("--set", required=True, metavar="SET", help="a packed set, or a folder of folders by identity")
    parser.add_argument("--between", metavar="A,B", help="only pairs of an image of group A with one of group B")
    parser.add_argument("--groups", metavar="FILE.csv", help="the group of each image: path or key, group")


def add_embedding_flags(parser: argparse.ArgumentParser) -> None:
    """How images are embedded."""
    parser.add_argument("--no-flip", action="store_true", help="leave the mirror images out")
    parser.add_argument("--batch-size", type=at_least(1), default=64, metavar="N", help="images a step")
    parser.add_argument("--devices", metavar="LIST", help="cpu:0 or gpu:0,gpu:1 (default: all GPUs, else the CPU)")
    parser.add_argument("--layer", default="fc1", metavar="NAME", help="the layer whose output is the embedding")


def add_bootstrap_flags(parser: argparse.ArgumentParser) -> None:
    """The resamples of intervals."""
    parser.add_argument("--bootstrap", type=at_least(0), default=1000, metavar="N", help="resamples; 0: no intervals")
    parser.add_argument("--seed", type=at_least(0, 2 ** 32 - 1), default=0, metavar="N", help="of the resamples")

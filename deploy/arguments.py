"""Flags that several commands share."""
from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any, Iterable

from common.arguments import at_least, image_size, of_flag
from common.errors import UserError
from common.files import check_new_file, json_text, write_json
from common.folders import check_apart
from eval.arguments import add_embedding_flags

STDOUT = "-"
QUERY_BATCH = 8  # there are few images


def add_model_flags(parser: argparse.ArgumentParser, batch_size: int) -> None:
    """The model, and how images are embedded."""
    parser.add_argument("--model", required=True, metavar="M", help="PREFIX,EPOCH, as runs/a/model,3 for "
                        "runs/a/model-symbol.json and runs/a/model-0003.params; or X.onnx")
    add_embedding_flags(parser)
    parser.set_defaults(batch_size=batch_size)


def add_face_flags(parser: argparse.ArgumentParser) -> None:
    """Detection and crops."""
    parser.add_argument("--detector", metavar="MODELDIR", help="images are photographs: find the faces with "
                        "InsightFace's MTCNN, the checkpoints det1 to det4 in this folder. Without it they are "
                        "aligned crops, as `recordio_tools align` makes them")
    parser.add_argument("--min-face", type=at_least(12, 10000), default=40, metavar="PIXELS",
                        help="smallest face to detect, in photographs scaled down to at most 1024 pixels")
    parser.add_argument("--image-size", type=image_size, metavar="H,W", help="size of the crops in pixels (default: "
                        "what the model was trained on, else that of the images; 112,112 with --detector)")


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """--json: a JSON file, or JSON instead of the text."""
    parser.add_argument("--json", nargs="?", const=STDOUT, metavar="FILE",
                        help="write the result there as JSON; without FILE, to standard output instead of the text")


def add_threshold_flags(parser: argparse.ArgumentParser) -> None:
    """--threshold, or --fpr with --scores."""
    parser.add_argument("--threshold", type=_distance, metavar="X", help="the squared L2 distance, from 0 to 4, below "
                        "which two faces count as the same person's; with --scores its FPR is printed")
    parser.add_argument("--fpr", type=_rate, metavar="RATE", help="use the threshold at this false positive rate on "
                        "the pairs of --scores (default with --scores alone: 1e-3)")
    parser.add_argument("--scores", metavar="FILE.csv", help="scores of this model's pairs, by `eval verify --scores`")


def add_query_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of model, detection, threshold and JSON, for a question about a few photographs."""
    add_model_flags(parser, QUERY_BATCH)
    add_face_flags(parser)
    add_threshold_flags(parser)
    add_json_flag(parser)


def check_json_file(path: str | None, read: Iterable[str] = ()) -> None:
    """UserError where what is there is one of the files `read`, or is not JSON: a photograph that the command line
    meant as its next argument."""
    if path is None or path == STDOUT:
        return
    with of_flag("--json"):
        check_new_file(path, replace=True)
        check_apart(path, read)
    if Path(path).is_file():
        with open(path, "rb") as stream:
            begin = stream.read(1)
        if begin not in (b"", b"{", b"["):
            raise UserError(f"--json {path}: is there and is not a JSON file; name another, or put --json last for "
                            "standard output")


def write_or_print_json(path: str, told: Any) -> None:
    """To the file, or to standard output."""
    if path == STDOUT:
        sys.stdout.write(json_text(told, ascii_only=True))
    else:
        write_json(path, told)


def _distance(text: str) -> float:
    return _number(text, 0, 4, "a squared distance above 0, to 4")


def _rate(text: str) -> float:
    value = _number(text, 0, 1, "a rate between 0 and 1, e.g. 1e-3")
    if value == 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate between 0 and 1, e.g. 1e-3")
    return value


def _number(text: str, least: float, most: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least < value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value

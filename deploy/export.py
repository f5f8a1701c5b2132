"""`export`: a checkpoint as ONNX, as a slim checkpoint or as 8-bit ONNX, checked before it is written."""
from __future__ import annotations

import argparse
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np

from common.arguments import of_flag
from common.cli import parse_checkpoint_name
from common.devices import parse_devices
from common.errors import RunError, UserError, writing
from common.files import check_new_file, write_atomic
from common.folders import check_apart, check_free
from deploy import export_report as report
from deploy.agreement import LARGEST, Difference, SetScores, compare, plain_mxnet, plain_onnx, score_set
from deploy.calibration import read_calibration
from deploy.checkpoint import Checkpoint, open_checkpoint
from deploy.eight_bit import quantise
from deploy.export_card import (
    BEGINS,
    MANIFEST,
    as_json,
    check_model_name,
    check_names_in,
    make_card,
    write_insightface,
)
from deploy.foreign_onnx import adopt
from deploy.run_folder import size_of_run
from deploy.slim import measure, slim, slim_paths, write_slim
from deploy.speed import IMAGES, run_rates
from eval.arguments import files_read
from eval.verification import VerificationSet
from eval.verify import open_sets
from inference.embedder import Embedder
from inference.engine import AnyEmbedder
from inference.model import EMBEDDING
from inference.onnx_embedder import OnnxEmbedder
from inference.onnx_file import OnnxModel, read_onnx
from symbols.onnx_export import to_onnx

log = logging.getLogger(__name__)
SIZE = (112, 112)
HELD_OUT = 64  # images to evaluate the 8-bit network on


def run(args: argparse.Namespace) -> int:
    """Convert, check, score, write."""
    foreign = read_onnx(args.model) if args.model.endswith(".onnx") else None
    if foreign and (args.slim or args.layer):
        raise UserError(f"--model {args.model}: is an ONNX file; leave {'--slim' if args.slim else '--layer'} out")
    prefix, epoch = ("", 0) if foreign else parse_checkpoint_name(args.model, "--model")
    out = _check_outputs(args, epoch)
    sets = open_sets(args.bins)
    own = foreign.image_size if foreign else size_of_run(prefix)
    size = args.image_size or (sets[0].image_size if sets else own) or SIZE
    for target in sets:
        if tuple(target.image_size) != tuple(size):
            raise UserError(f"{target.path}: its images are {target.image_size[0]}x{target.image_size[1]}, the model "
                            f"is to take {size[0]}x{size[1]}")
    if args.insightface:
        check_model_name(Path(args.insightface), size)
    calibration = read_calibration(Path(args.int8), args.calibration_images, HELD_OUT, size) if args.int8 else None
    if foreign:
        _export_onnx(args, _of_onnx(foreign, size, args), sets, out, calibration)
        return 0
    checkpoint = open_checkpoint(prefix, epoch, size, args.layer or EMBEDDING)
    if args.slim:
        _export_slim(args, checkpoint, sets, str(out), epoch)
    else:
        _export_onnx(args, _of_checkpoint(checkpoint, args), sets, out, calibration)
    return 0


@dataclass(frozen=True)
class Converted:
    """A checked float ONNX file. origin: its model for a card; engine: the original's runtime; embedder: opens it."""

    content: bytes
    check: Difference
    origin: dict[str, Any]
    engine: str
    embedder: Callable[[], Any]


def _of_checkpoint(checkpoint: Checkpoint, args: argparse.Namespace) -> Converted:
    content, check = convert(checkpoint)
    return Converted(content, check, {"name": checkpoint.name, "sha256": checkpoint.sha256, "layer": checkpoint.layer,
                                      "parameters": checkpoint.count}, "MXNet",
                     lambda: _embedder(checkpoint, args))


def _of_onnx(model: OnnxModel, size: tuple[int, int], args: argparse.Namespace) -> Converted:
    content, check = adopt(model, size)
    return Converted(content, check, {"name": args.model, "sha256": model.sha256}, "as it was",
                     lambda: OnnxEmbedder(model, args.batch_size, size))


def convert(checkpoint: Checkpoint) -> tuple[bytes, Difference]:
    """The bytes of an ONNX file, and how they compare; UserError where the network cannot be converted, RunError where
    its embeddings are not those of MXNet."""
    try:
        model = to_onnx(checkpoint.symbol, checkpoint.parameters, (1, 3, *checkpoint.image_size))
    except ValueError as error:
        raise UserError(f"--model {checkpoint.name}: {error}") from None
    content = model.SerializeToString()
    check = compare(plain_mxnet(checkpoint.symbol, checkpoint.arguments, checkpoint.auxiliary), plain_onnx(content),
                    checkpoint.image_size)
    if check.relative > LARGEST:
        raise RunError(f"--model {checkpoint.name}: ONNX differs from MXNet on {check.images} synthetic images "
                       f"({check}); nothing was written")
    if not check.alone:
        log.warning("%s: an image's embedding depends on the other images of its batch; feed one at a time",
                    checkpoint.name)
    return content, check


def _check_outputs(args: argparse.Namespace, epoch: int) -> Path:
    """The output paths; UserError where they cannot be written."""
    out = Path(args.out)
    if args.slim:
        if args.insightface:
            raise UserError("--insightface takes ONNX; leave --slim out")
        out = out.with_suffix("") if out.suffix == ".onnx" else out
        if not out.name or str(args.out).endswith("/"):
            raise UserError(f"--out {args.out}: expected a PREFIX, as runs/a/slim for runs/a/slim-symbol.json")
    elif out.suffix != ".onnx":
        raise UserError(f"--out {args.out}: expected a name that ends in .onnx")
    read = files_read(args, ["out", "insightface"])
    for path in slim_paths(str(out), epoch) if args.slim else (out, out.with_suffix(".json")):
        with of_flag("--out"):
            check_new_file(path, args.overwrite)
            check_apart(path, read)
    if args.insightface:
        if (os.path.realpath(out) + os.sep).startswith(os.path.realpath(args.insightface) + os.sep):
            raise UserError(f"--out {args.out}: lies in --insightface {args.insightface}, which gets a file of its "
                            "own; name another place")
        with of_flag("--insightface"):
            check_free(Path(args.insightface), args.overwrite, MANIFEST, BEGINS)
        check_names_in(Path(args.insightface), out.stem)
    return out


def _export_slim(args: argparse.Namespace, checkpoint: Checkpoint, sets: list[VerificationSet], prefix: str,
                 epoch: int) -> None:
    made, check = slim(checkpoint)
    scores = [score_set(target, {"MXNet": _embedder(checkpoint, args), "slim": _embedder(made, args)}, args.fpr)
              for target in sets]
    rates = measure(checkpoint, made)
    with writing(Path(prefix)):
        write_slim(made, prefix, epoch, args.overwrite)
    report.slim(f"{prefix},{epoch}", checkpoint, made, check, rates)
    report.sets(scores, args.fpr)


def _export_onnx(args: argparse.Namespace, source: Converted, sets: list[VerificationSet], out: Path,
                 calibration: tuple[np.ndarray, np.ndarray] | None) -> None:
    content, check = source.content, source.check
    written, told = content, None
    embedders: dict[str, AnyEmbedder] = {source.engine: source.embedder(),
                                    "ONNX": OnnxEmbedder(content, args.batch_size)} if sets else {}
    if calibration:
        eight = quantise(content, *calibration)
        written = eight.content
        rates = run_rates({"ONNX": plain_onnx(content), "8 bit": plain_onnx(written)}, calibration[0][:IMAGES])
        told = report.eight_bit_row(args.int8, eight, content, rates)
        if sets:
            embedders["8 bit"] = OnnxEmbedder(written, args.batch_size)
    scores = [_score(target, embedders, args) for target in sets]
    card = make_card(out.name, written, source.origin, check, scores, args.fpr)
    if told:
        card["quantisation"] = told
    with writing(out):
        write_atomic(out, written, args.overwrite)
        write_atomic(out.with_suffix(".json"), as_json(card), args.overwrite)
    if args.insightface:
        write_insightface(Path(args.insightface).absolute(), out.stem, written, card, args.overwrite)
    report.onnx(args.out, card, check)
    if told:
        report.eight_bit(told)
    report.sets(scores, args.fpr)
    if args.insightface:
        print(f"{args.insightface}: for InsightFace, as get_model('{Path(args.insightface).absolute().name}')")


def _score(target: VerificationSet, embedders: dict[str, AnyEmbedder], args: argparse.Namespace) -> SetScores:
    """Every model's row; RunError where float ONNX differs from its source."""
    scores = score_set(target, embedders, args.fpr)
    if scores.differences["ONNX"].relative > LARGEST:
        raise RunError(f"{target.name}: ONNX differs from its source model ({scores.differences['ONNX']}); nothing "
                       "was written")
    return scores


def _embedder(checkpoint: Checkpoint, args: argparse.Namespace) -> Any:
    return Embedder(checkpoint.symbol, checkpoint.arguments, checkpoint.auxiliary, parse_devices(args.devices),
                    args.batch_size, checkpoint.image_size)

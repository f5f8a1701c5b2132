"""`export`: a checkpoint as ONNX, as a slim checkpoint or as 8-bit ONNX, checked before it is written."""
from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from common.arguments import image_size
from common.cli import at_least, parse_checkpoint_name
from common.devices import parse_devices
from common.errors import RunError, UserError, writing
from common.files import check_new_file, write_atomic
from common.new_folder import check_free
from deploy.agreement import LARGEST, Difference, SetScores, compare, plain_mxnet, plain_onnx, score_set
from deploy.checkpoint import Checkpoint, open_checkpoint
from deploy.export_card import MANIFEST, as_json, check_model_name, make_card, write_insightface
from eval.arguments import fpr_list
from eval.verification import VerificationSet
from inference.embedder import Embedder
from inference.onnx_embedder import OnnxEmbedder
from symbols.onnx_export import to_onnx

log = logging.getLogger(__name__)
SIZE = (112, 112)
MIB = 1 << 20
DESCRIPTION = """\
Write a checkpoint as ONNX, for onnxruntime, OpenCV, TensorRT, phones and InsightFace's Python package.

  python -m deploy export --model runs/a/model,3 --out a.onnx --bins data/lfw.bin
  python -m deploy export --model runs/a/model,3 --out a.onnx --insightface ~/.insightface/models/mine

One input `data`, float32 (N, 3, height, width), RGB from 0 to 255, N free: the network normalises inside. One output,
the embedding before normalisation; the classification layer stays behind. Opset 11.

Before anything is written, embeddings are compared with MXNet's, on drawn images in batches of 1, 3 and 8 and on
--bins; where one differs by more than 1e-4 of its length nothing is written (exit status 1). X.json beside X.onnx says
what the model is, what goes in and comes out, and what it scores."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("export", help="write a checkpoint as ONNX", description=DESCRIPTION)
    parser.add_argument("--model", required=True, metavar="PREFIX,EPOCH",
                        help="runs/a/model,3 for runs/a/model-symbol.json and runs/a/model-0003.params")
    parser.add_argument("--out", required=True, metavar="X.onnx", help="the file to write; X.json comes beside it")
    parser.add_argument("--bins", nargs="+", default=[], metavar="FILE.bin",
                        help="verification sets to score before and after")
    parser.add_argument("--fpr", type=fpr_list, default="1e-3", metavar="RATE[,RATE...]",
                        help="false positive rates at which TPR is told")
    parser.add_argument("--image-size", type=image_size, metavar="H,W",
                        help="what the network takes (default: what --bins hold, else 112,112)")
    parser.add_argument("--layer", metavar="NAME",
                        help="the layer whose output is the embedding (default: fc1, else the network's only output)")
    parser.add_argument("--insightface", metavar="DIR",
                        help="also write DIR, as ~/.insightface/models/NAME, with the manifest that InsightFace's "
                             "Python package and server read")
    parser.add_argument("--batch-size", type=at_least(1), default=64, metavar="N", help="images a step, on --bins")
    parser.add_argument("--devices", metavar="LIST", help="for MXNet on --bins: cpu:0 or gpu:0,gpu:1 (default: all "
                                                          "GPUs, else the CPU)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert, check, score, write."""
    out = Path(args.out)
    if out.suffix != ".onnx":
        raise UserError(f"--out {args.out}: expected a name that ends in .onnx")
    for path in (out, out.with_suffix(".json")):
        check_new_file(path, args.overwrite)
    prefix, epoch = parse_checkpoint_name(args.model, "--model")
    sets = [VerificationSet(path) for path in args.bins]
    size = args.image_size or (sets[0].image_size if sets else SIZE)
    _check_sizes(sets, size)
    if args.insightface:
        check_model_name(Path(args.insightface), size)
        check_free(Path(args.insightface), args.overwrite, MANIFEST)
    checkpoint = open_checkpoint(prefix, epoch, size, args.layer)
    content, check = convert(checkpoint)
    scores = [_score(target, checkpoint, content, args) for target in sets]
    for one in scores:
        if one.difference.relative > LARGEST:
            raise RunError(f"{one.name}: ONNX differs from MXNet ({one.difference}); nothing was written")
    card = make_card(out.name, content, describe(checkpoint), check, scores, args.fpr)
    with writing(out):
        write_atomic(out, content, args.overwrite)
        write_atomic(out.with_suffix(".json"), as_json(card), args.overwrite)
    if args.insightface:
        write_insightface(Path(args.insightface).absolute(), out.stem, content, card, args.overwrite)
    _report(args, checkpoint, card, check, scores)
    return 0


def convert(checkpoint: Checkpoint) -> tuple[bytes, Difference]:
    """The bytes of an ONNX file, and how they compare; UserError where the network has no form in ONNX, RunError where
    its embeddings are not those of MXNet."""
    try:
        model = to_onnx(checkpoint.symbol, checkpoint.parameters, (1, 3, *checkpoint.image_size))
    except ValueError as error:
        raise UserError(f"--model {checkpoint.name}: {error}") from None
    content = model.SerializeToString()
    check = compare(plain_mxnet(checkpoint.symbol, checkpoint.arguments, checkpoint.auxiliary), plain_onnx(content),
                    checkpoint.image_size)
    if check.relative > LARGEST:
        raise RunError(f"--model {checkpoint.name}: ONNX differs from MXNet on {check.images} drawn images ({check}); "
                       "nothing was written")
    if not check.alone:
        log.warning("%s: an image's embedding depends on the other images of its batch; feed one at a time",
                    checkpoint.name)
    return content, check


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """For a card: what the model was made of."""
    return {"name": checkpoint.name, "sha256": checkpoint.sha256, "layer": checkpoint.layer,
            "parameters": checkpoint.count}


def _check_sizes(sets: list[VerificationSet], size: tuple[int, int]) -> None:
    for target in sets:
        if tuple(target.image_size) != tuple(size):
            raise UserError(f"{target.path}: its images are {target.image_size[0]}x{target.image_size[1]}, the model "
                            f"is to take {size[0]}x{size[1]}")


def _score(target: VerificationSet, checkpoint: Checkpoint, content: bytes, args: argparse.Namespace) -> SetScores:
    return score_set(target, {
        "MXNet": Embedder(checkpoint.symbol, checkpoint.arguments, checkpoint.auxiliary, parse_devices(args.devices),
                          args.batch_size, checkpoint.image_size),
        "ONNX": OnnxEmbedder(content, args.batch_size)}, args.fpr)


def _report(args: argparse.Namespace, checkpoint: Checkpoint, card: dict[str, Any], check: Difference,
            scores: list[SetScores]) -> None:
    height, width = checkpoint.image_size
    print(f"{args.out}: opset {card['opset']}, {card['nodes']} nodes, {card['bytes'] / MIB:.2f} MiB, "
          f"(N, 3, {height}, {width}) to (N, {checkpoint.dimension})")
    print(f"input: {card['normalisation']['feed']}; inside, {card['normalisation']['formula']}")
    print(f"against MXNet, {check.images} drawn images: {check}")
    for one in scores:
        print(f"{one.name}: {one.difference}")
        print(one.table(args.fpr))
    if args.insightface:
        print(f"{args.insightface}: for InsightFace, as get_model('{Path(args.insightface).absolute().name}')")

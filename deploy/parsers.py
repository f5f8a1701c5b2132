"""The flags and the help of every command; MXNet is loaded by the commands' own modules, when one runs."""
from __future__ import annotations

import argparse
import importlib

from common.arguments import DEVICES, LAYER, image_size
from common.cli import at_least
from common.environment import check_environment
from deploy.arguments import add_face_flags, add_json_flag, add_model_flags, add_query_flags
from eval.arguments import fpr_list

EXPORT = """\
Write a checkpoint as ONNX, for onnxruntime, OpenCV, TensorRT, phones and InsightFace's Python package.

  python -m deploy export --model runs/a/model,3 --out a.onnx --bins data/lfw.bin
  python -m deploy export --model runs/a/model,3 --out a.onnx --insightface ~/.insightface/models/mine
  python -m deploy export --model runs/a/model,3 --out a8.onnx --int8 data/train.rec --bins data/lfw.bin
  python -m deploy export --model runs/a/model,3 --out runs/a/slim --slim

One input `data`, float32 (N, 3, height, width), RGB from 0 to 255, dynamic N: the network normalises inside. One
output, the embedding before normalisation; the classification layer is not exported. Opset 11 (13 with --int8).

Before anything is written, embeddings are compared with MXNet's, on synthetic images in batches of 1, 3 and 8 and on
--bins; where one differs by more than 1e-4 of its norm nothing is written (exit status 1). X.json beside X.onnx
describes the model, its input and output, and its scores.

--int8 computes convolutions in 8 bits, calibrated on 128 images (--calibration-images) of a packed set, and prints its
cost on --bins and its speed-up here. --slim writes an MXNet checkpoint with BatchNorms and slopes folded into plain
operators."""
EMBED = """\
Write the embeddings of SRC to an .npz file: of image files, a folder, a packed set (.rec or its folder) or a .bin.

  python -m deploy embed --model runs/a/model,3 faces/ --out faces.npz
  python -m deploy embed --model runs/a/model,3 photographs/ --out gallery.npz --detector mtcnn/
  python -m deploy search --model runs/a/model,3 gallery.npz who.jpg --detector mtcnn/

A folder of folders is by identity, as is a packed set, and gives labels. The file holds embeddings
(N, D), those of the image and its mirror image added and normalised; norms before; names; labels where they are known;
meta, JSON with the sha256 of model and set. `eval` takes it as --model X.npz.

An image that cannot be decoded, or in which no face is detected, is left out and listed in X.failures.csv
(path, label, reason), which `eval` takes as --failures. An interrupted command leaves X.npz.partial, and the same
command continues from there, to an identical file, if model, flags and images are the same; else from the first changed
image.

Exit status: 0 written, also where some images were left out; 1 a failure, or no image gave an embedding; 2 unusable
arguments or data, before any work; 130 stopped by a signal."""
COMPARE = """\
Compare two images, and decide whether they show the same person.

  python -m deploy compare --model runs/a/model,3 one.jpg other.jpg --threshold 1.2
  python -m deploy compare --model runs/a/model,3 one.jpg other.jpg --detector mtcnn/ --fpr 1e-3 --scores lfw.csv

The score is the squared L2 distance of the embeddings (0: equal; 2: unrelated), image and mirror image added and
normalised; the cosine is 1 - score / 2. Below the threshold two faces count as the same person's. FILE.csv has the
scores of pairs by `eval verify --scores`: it gives the threshold for an FPR, or the FPR of a threshold.
With --detector every face of A is compared with every face of B, and the nearest pair decides; as the best of
several comparisons, its false accept rate is at most the FPR times the number of pairs.

Exit status: 0 the same, or no threshold was given; 3 different; 4 no face was found in one of them; 1 a failure;
2 unusable arguments or images; 130 stopped by a signal."""
SEARCH = """\
Find the nearest images of a gallery, made by `embed` with the same model, for every face of some photographs.

  python -m deploy search --model runs/a/model,3 gallery.npz who.jpg --top 5
  python -m deploy search --model runs/a/model,3 gallery.npz group.jpg --detector mtcnn/ --fpr 1e-4 --scores lfw.csv

Scores and thresholds are those of `compare`. With a threshold only images below it are shown; a person outside the
gallery has about FPR times the gallery's images of false matches, so a large gallery needs a low FPR.

Exit status: 0 a match was found (without a threshold: at least one face was searched); 3 no match within the threshold;
4 no face was found in any photograph; 1 a failure, or a photograph could not be read (the others were searched all the
same); 2 unusable arguments or gallery; 130 stopped by a signal."""
CARD = """\
Write a model card: sha256, network, parameters, training data and command, scores with intervals,
input and output, limits, and the consent and terms that apply.

  python -m deploy card --model runs/a/model,3
  python -m eval verify --model runs/a/model,3 --bins data/lfw.bin --json scores.json
  python -m deploy card --model runs/a/model,3 --scores scores.json --out card.md --terms "research only"

Training comes from the run folder's config.json, scores from --scores, else from the run's metrics.jsonl. Prints
Markdown; --out writes it, and the same as JSON beside it. Exit status: 0 done, 1 a failure, 2 unusable arguments or
files."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The commands, in the order of --help."""
    for add in (_add_export, _add_embed, _add_compare, _add_search, _add_card):
        add(subparsers)
    for parser in subparsers.choices.values():
        parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    check_environment()
    return importlib.import_module(f"deploy.{args.command}").run(args)


def _add_export(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("export", help="write a checkpoint as ONNX", description=EXPORT)
    parser.add_argument("--model", required=True, metavar="PREFIX,EPOCH",
                        help="runs/a/model,3 for runs/a/model-symbol.json and runs/a/model-0003.params; or X.onnx of "
                             "others, to normalise inside, for --int8 and --insightface")
    parser.add_argument("--out", required=True, metavar="X.onnx",
                        help="the file to write, X.json comes beside it; with --slim a PREFIX")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--slim", action="store_true",
                      help="write an MXNet checkpoint, PREFIX-symbol.json and PREFIX-NNNN.params with the same epoch")
    kind.add_argument("--int8", metavar="CALIBRATION.rec", help="write 8-bit ONNX, calibrated on images of this set")
    parser.add_argument("--calibration-images", type=at_least(16, 100_000), default=128, metavar="N",
                        help="number of calibration images of --int8")
    parser.add_argument("--bins", nargs="+", default=[], metavar="FILE.bin",
                        help="verification sets to score before and after")
    parser.add_argument("--fpr", type=fpr_list, default="1e-3", metavar="RATE[,RATE...]",
                        help="false positive rates at which TPR is printed")
    parser.add_argument("--image-size", type=image_size, metavar="H,W",
                        help="input size of the network (default: that of --bins, of the checkpoint's run or the ONNX "
                             "file, else 112,112)")
    parser.add_argument("--layer", metavar="NAME", help=LAYER)
    parser.add_argument("--insightface", metavar="DIR",
                        help="also write DIR, as ~/.insightface/models/NAME, with the manifest that InsightFace's "
                             "Python package and server read")
    parser.add_argument("--batch-size", type=at_least(1), default=64, metavar="N",
                        help="images per forward pass, on --bins")
    parser.add_argument("--devices", metavar="LIST", help=f"for MXNet on --bins: {DEVICES}")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def _add_embed(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("embed", help="images to an embeddings file", description=EMBED)
    parser.add_argument("source", nargs="+", metavar="SRC", help="a folder, a packed set, a .bin, or image files")
    parser.add_argument("--out", required=True, metavar="X.npz", help="the file to write")
    add_model_flags(parser, 64)
    add_face_flags(parser)
    parser.add_argument("--select", choices=("balanced", "largest", "central", "score", "all"), default="balanced",
                        help="of several faces in a photograph: the best by area minus twice the squared distance from "
                        "the centre (balanced), the largest, the most central, the one with the best score; or all, "
                        "each with an embedding, named PATH#1, PATH#2, ... and without labels")
    parser.add_argument("--no-labels", action="store_true", help="folders are not identities: write no labels")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing X.npz")


def _add_compare(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("compare", help="decide whether two images show one person", description=COMPARE)
    parser.add_argument("left", metavar="A.jpg", help="an image")
    parser.add_argument("right", metavar="B.jpg", help="another")
    add_query_flags(parser)


def _add_search(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("search", help="the nearest images of a gallery", description=SEARCH)
    parser.add_argument("gallery", metavar="GALLERY.npz", help="embeddings, by `embed`")
    parser.add_argument("photographs", nargs="+", metavar="PHOTO", help="images to search with")
    parser.add_argument("--top", type=at_least(1), default=5, metavar="K", help="number of nearest images to show")
    add_query_flags(parser)


def _add_card(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("card", help="a model card, in Markdown and JSON", description=CARD)
    parser.add_argument("--model", required=True, metavar="PREFIX,EPOCH",
                        help="runs/a/model,3 for runs/a/model-symbol.json and runs/a/model-0003.params")
    parser.add_argument("--layer", default="fc1", metavar="NAME", help=LAYER)
    parser.add_argument("--image-size", type=image_size, metavar="H,W",
                        help="input size of the network (default: as in training, else 112,112)")
    parser.add_argument("--scores", nargs="+", default=[], metavar="FILE.json", help="scores by `eval verify --json`")
    parser.add_argument("--data", default="", metavar="TEXT", help="description and source of the training data")
    parser.add_argument("--terms", default="", metavar="TEXT", help="terms of use, and consent")
    parser.add_argument("--out", metavar="FILE.md", help="write the card to FILE.md, and as JSON to FILE.json")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_json_flag(parser)

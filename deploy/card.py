"""`card`: a model card, in Markdown and JSON."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from common.arguments import image_size
from common.cli import parse_checkpoint_name
from common.errors import UserError
from common.files import check_new_file, write_atomic
from deploy.arguments import STDOUT, add_json_flag, check_json_file, json_text, write_json
from deploy.card_text import as_markdown
from deploy.model_card import make_card

DESCRIPTION = """\
Write a model card: sha256, network, parameters, training data and command, scores with intervals,
input and output, limits, and the consent and terms that apply.

  python -m deploy card --model runs/a/model,3
  python -m eval verify --model runs/a/model,3 --bins data/lfw.bin --json scores.json
  python -m deploy card --model runs/a/model,3 --scores scores.json --out card.md --terms "research only"

Training comes from the run folder's config.json, scores from --scores, else from the run's metrics.jsonl. Prints
Markdown; --out writes it, and the same as JSON beside it. Exit status: 0 done, 1 a failure, 2 unusable arguments or
files."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("card", help="a model card, in Markdown and JSON", description=DESCRIPTION)
    parser.add_argument("--model", required=True, metavar="PREFIX,EPOCH",
                        help="runs/a/model,3 for runs/a/model-symbol.json and runs/a/model-0003.params")
    parser.add_argument("--layer", default="fc1", metavar="NAME", help="the layer whose output is the embedding")
    parser.add_argument("--image-size", type=image_size, metavar="H,W",
                        help="input size of the network (default: as in training, else 112,112)")
    parser.add_argument("--scores", nargs="+", default=[], metavar="FILE.json", help="scores by `eval verify --json`")
    parser.add_argument("--data", default="", metavar="TEXT", help="description and source of the training data")
    parser.add_argument("--terms", default="", metavar="TEXT", help="terms of use, and consent")
    parser.add_argument("--out", metavar="FILE.md", help="write the card to FILE.md, and as JSON to FILE.json")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Collect, print or write."""
    prefix, epoch = parse_checkpoint_name(args.model, "--model")
    check_json_file(args.json)
    out = Path(args.out) if args.out else None
    if out and out.suffix not in (".md", ".json"):
        raise UserError(f"--out {args.out}: expected a name that ends in .md")
    files = [out.with_suffix(ending) for ending in (".md", ".json")] if out else []
    for file in files:
        check_new_file(file, args.overwrite)
    card = make_card(prefix, epoch, args.layer, args.image_size, args.scores, args.data, args.terms)
    for file, text in zip(files, (as_markdown(card), json_text(card))):
        write_atomic(file, text, args.overwrite)
    if args.json:
        write_json(args.json, card)
    if files:
        print(f"{files[0]}, {files[1]}", file=sys.stderr if args.json == STDOUT else sys.stdout)
    elif args.json != STDOUT:
        print(as_markdown(card), end="")
    return 0

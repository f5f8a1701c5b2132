"""`card`: a model card, in Markdown and JSON."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from common.arguments import of_flag
from common.cli import parse_checkpoint_name
from common.errors import UserError
from common.files import check_new_file, json_text, write_atomic
from common.folders import check_apart
from deploy.arguments import STDOUT, check_json_file, write_or_print_json
from deploy.card_text import as_markdown
from deploy.model_card import make_card
from eval.arguments import files_read


def run(args: argparse.Namespace) -> int:
    """Collect, print or write."""
    prefix, epoch = parse_checkpoint_name(args.model, "--model")
    read = files_read(args, ["json", "out"])
    check_json_file(args.json, read)
    out = Path(args.out) if args.out else None
    if out and out.suffix not in (".md", ".json"):
        raise UserError(f"--out {args.out}: expected a name that ends in .md")
    files = [out.with_suffix(ending) for ending in (".md", ".json")] if out else []
    for file in files:
        with of_flag("--out"):
            check_new_file(file, args.overwrite)
            check_apart(file, read)
    card = make_card(prefix, epoch, args.layer, args.image_size, args.scores, args.data, args.terms)
    for file, text in zip(files, (as_markdown(card), json_text(card))):
        write_atomic(file, text, args.overwrite)
    if args.json:
        write_or_print_json(args.json, card)
    if files:
        print(f"{files[0]}, {files[1]}", file=sys.stderr if args.json == STDOUT else sys.stdout)
    elif args.json != STDOUT:
        print(as_markdown(card), end="")
    return 0

"""`table`: several runs as the paper's Table 1 and Table 2."""
from __future__ import annotations

import argparse
from pathlib import Path

from common.errors import UserError
from common.files import write_atomic
from eval.arguments import check_outputs, fpr_list
from eval.paper.formats import FORMATS
from eval.paper.rows import make_tables
from eval.paper.scores import read_run

ENDINGS = {".md": "markdown", ".csv": "csv", ".tex": "latex"}
DESCRIPTION = """\
Write the scores of runs as the paper's Tables 1 and 2, with the paper's figures beside them.

  python -m eval table runs/lresnet18e runs/lresnet18e-gnap
  python -m eval table runs/*/verification.json --format latex --out tables.tex
  python -m eval table mobilefacenet++=scores.json runs/mobilefacenet

A RUN is the folder of a training, whose last verification counts (--best SET: the best one there, marked),
or what verify --json wrote. Which of the paper's systems it is comes from its config.json; NAME=RUN names it where
there is none. Other models follow the paper's.
Rows with different conventions (mirror images, folds, PCA, pairs) are refused."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("table", help="runs as the paper's tables", description=DESCRIPTION)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, or a file of verify --json")
    parser.add_argument("--format", choices=tuple(FORMATS),
                        help="output format (default: by --out's extension, .md, .csv or .tex; else markdown)")
    parser.add_argument("--out", metavar="FILE", help="write to this file instead of stdout")
    parser.add_argument("--fpr", type=fpr_list, default="1e-3", metavar="RATE", help="false positive rate of the TPR")
    parser.add_argument("--best", default="", metavar="SET", help="use each run's best step on this set")
    parser.add_argument("--lfw", default="lfw", metavar="NAME", help="the set to use as LFW")
    parser.add_argument("--cfp-fp", default="cfp_fp", metavar="NAME", help="the set to use as CFP-FP")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, compare, write."""
    if len(args.fpr) != 1:
        raise UserError("--fpr: one rate for a table")
    check_outputs(args, ("out",))
    kind = args.format or ENDINGS.get(Path(args.out).suffix if args.out else "", "markdown")
    try:
        models = [model for text in args.runs for model in read_run(text, args.fpr[0], args.best)]
        tables = make_tables(models, args.fpr[0], {"lfw": args.lfw, "cfp_fp": args.cfp_fp})
    except ValueError as error:
        raise UserError(str(error)) from None
    text = FORMATS[kind](tables)
    if args.out:
        write_atomic(args.out, text.encode("utf-8", "backslashreplace"))
        print(f"{sum(len(table.rows) for table in tables)} rows in {args.out}")
    else:
        print(text, end="")
    return 0

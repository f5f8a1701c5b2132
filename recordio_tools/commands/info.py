"""`info PATH...`: what data files hold."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

from recordio_tools.data_files import data_files
from recordio_tools.summary import summarise

DESCRIPTION = """\
Tell what training sets and verification sets hold, without decoding more than an image of each.

  python -m recordio_tools info data/

PATH is a data folder (its .rec and .bin files), a .rec or a .bin. Whether they are sound, `check` tells."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("info", help="what a data set holds", description=DESCRIPTION)
    parser.add_argument("paths", metavar="PATH", nargs="+", help="data folder, .rec or .bin")
    parser.add_argument("--json", action="store_true", help="print it as a JSON list, one object a file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table, or JSON."""
    files = dict.fromkeys(file for name in args.paths for file in data_files(Path(name)))
    summaries = [summarise(file) for file in files]
    if args.json:
        print(json.dumps(summaries, indent=1))
        return 0
    for summary in summaries:
        print(f"{summary.pop('path')}: {summary.pop('kind')}")
        for name, value in summary.items():
            print(f"  {name.replace('_', ' '):<22}{_text(value)}")
    return 0


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_text(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if value is None:
        return "none"
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

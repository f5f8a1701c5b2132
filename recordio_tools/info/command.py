"""`info PATH...`: summary of data files."""
from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from common import histogram
from common.errors import DataError, RunError, UserError
from common.files import check_new_file
from common.foreign import shown
from recordio_tools.data_files import data_files
from recordio_tools.info.summary import Summary, summarise

log = logging.getLogger(__name__)
DESCRIPTION = """\
Summarise training sets and verification sets: images, identities and images per identity,
formats and sizes (of up to 1,000 evenly spaced images of a file), pairs and folds.

  python -m recordio_tools info data/
  python -m recordio_tools info data/ --histogram images-per-identity.png

PATH is a data folder (its .rec and .bin files), a .rec, a .bin, or X for the parts X_0.rec, X_1.rec, ... or
X.rec.part000, ... of im2rec. `check` validates them."""
PICTURES = (".png", ".svg", ".pdf")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("info", help="summary of a dataset", description=DESCRIPTION)
    parser.add_argument("paths", metavar="PATH", nargs="+", help="data folder, .rec or .bin")
    parser.add_argument("--json", action="store_true", help="print it as a JSON list, one object a file")
    parser.add_argument("--histogram", metavar="FILE.png", help="plot the histogram of images per identity (.png, "
                                                                ".svg or .pdf)")
    parser.add_argument("--overwrite", action="store_true", help="replace the FILE of --histogram")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table, or JSON; write the plot."""
    if args.histogram and Path(args.histogram).suffix.lower() not in PICTURES:
        raise UserError(f"--histogram {args.histogram}: must end in {', '.join(PICTURES)}")
    if args.histogram:
        check_new_file(args.histogram, args.overwrite)
    files = dict.fromkeys(file for name in args.paths for file in data_files(Path(name)))
    summaries, status = [], 0
    for file in files:
        try:
            summaries.append(summarise(file))
        except DataError as error:
            if len(files) == 1:
                raise
            log.error("%s", error)
            status = 2
    if args.json:
        print(json.dumps([summary.facts for summary in summaries], indent=1))
    else:
        for summary in summaries:
            print("\n".join(_lines(summary)))
    if args.histogram:
        _draw(summaries, Path(args.histogram), args.overwrite)
    return status


def _draw(summaries: list[Summary], path: Path, overwrite: bool) -> None:
    sets = [(summary.facts["path"], summary.counts) for summary in summaries if len(summary.counts)]
    if not sets:
        raise UserError(f"--histogram {path}: no training set with images is among the PATHs")
    try:
        histogram.draw(sets, path, overwrite)
    except OSError as error:
        raise RunError(f"--histogram {path}: cannot be written ({error.strerror})") from None


def _lines(summary: Summary) -> list[str]:
    facts = dict(summary.facts)
    lines = [f"{facts.pop('path')}: {facts.pop('kind')}"]
    facts.pop("histogram", None)
    sample = facts.pop("looked_at")
    for name in ("formats", "sizes"):
        facts[name] = f"{_text(facts[name])} (of {sample:,} sampled)"
    if "folds" in facts:
        facts["folds"] = _folds(facts["folds"])
    for name, value in facts.items():
        lines.append(f"  {name.replace('_', ' '):<22}{_text(value)}")
        if name == "images_per_identity":
            lines += [f"    {bar}" for bar in histogram.text_bars(histogram.bins(summary.counts))]
    return lines


def _folds(folds: list[dict]) -> str:
    """`10 of 600 pairs, 300 same`, or each where they differ."""
    if all(fold == folds[0] for fold in folds):
        return f"{len(folds)} of {folds[0]['pairs']:,} pairs, {folds[0]['same']:,} same"
    return f"{len(folds)}, same/pairs " + ", ".join(f"{fold['same']}/{fold['pairs']}" for fold in folds)


def _text(value: object) -> str:
    if isinstance(value, dict) and set(value) == {"identity", "images"}:
        return f"{shown(value['identity'])} ({value['images']:,})"
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_text(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if value is None:
        return "none"
    text = f"{value:,g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    return shown(text)

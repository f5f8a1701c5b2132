"""`check PATH...`: validates data sets, and reports what is wrong and where."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

from common.arguments import add_workers, at_least
from recordio_tools.bins.binfile import is_bin
from recordio_tools.check.check_bin import examine_bin
from recordio_tools.check.check_rec import check_set
from recordio_tools.check.repair import check_out, lines, repair
from recordio_tools.data_files import data_files, record_sets
from recordio_tools.records.faults import Fault, FileReport

DESCRIPTION = """\
Check training sets and verification sets from the first byte to the last: frames, index, header records,
labels, property; every image is decoded.

  python -m recordio_tools check data/ data/lfw.bin
  python -m recordio_tools check data/ --repair repaired/

PATH is a data folder (its .rec and .bin files), a .rec or a .bin, or the X of the X_0.rec, X_1.rec, ... of
im2rec. Every kind of fault is counted, with its first place. --repair copies the good images, byte for
byte, to a new set with labels without gaps and new headers; the data itself is never changed.
Exit status: 0 all sound, 1 not (also when it was repaired), 2 where a PATH is not such data."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("check", help="validate a dataset: what is wrong with it, and where",
                                   description=DESCRIPTION)
    parser.add_argument("paths", metavar="PATH", nargs="+", help="data folder, .rec or .bin")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--repair", type=Path, metavar="OUT",
                        help="write what can be recovered to a new folder: a sound train.rec, train.idx, property, and "
                             "repair-report.json, which lists what was lost")
    parser.add_argument("--overwrite", action="store_true", help="replace an OUT that --repair wrote")
    parser.add_argument("--folds", type=at_least(2), default=10, metavar="N",
                        help="folds of the verification of a .bin: each needs pairs of both kinds")
    add_workers(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check every file; 0 or 1."""
    names = list(dict.fromkeys(file for name in args.paths for file in data_files(Path(name))))
    bins = [name for name in names if is_bin(name)]
    sets = record_sets([name for name in names if name not in bins])
    if args.repair:
        check_out(args.repair, sets, bins, args.overwrite)
    checked = [check_set(paths, args.workers, complete) for paths, complete in sets]
    checked_bins = []
    for name in bins:
        checked_bins.append(examine_bin(name, args.workers, args.folds))
        if not args.repair:
            checked_bins[-1].images.clear()
    reports = [report for one in checked for report in one.reports] + [one.report for one in checked_bins]
    sound = all(report.sound for report in reports)
    if not args.json:
        for report in reports:
            _tell(report)
    repaired = repair(checked, checked_bins, args.repair, args.overwrite, args.folds) if args.repair else None
    if args.json:
        print(json.dumps({"sound": sound, "files": [report.as_dict() for report in reports],
                          **({"repair": repaired} if repaired else {})}, indent=1))
    elif repaired:
        print("\n".join(lines(repaired, args.repair)))
    return 0 if sound else 1


def _tell(report: FileReport) -> None:
    holds = report.holds
    size = f", {holds['height']}x{holds['width']}" if "height" in holds else ""
    what = (f": {holds['pairs']} pairs ({holds['same']} same)" if "pairs" in holds else
            f": {holds['images']} images of {holds['identities']} identities" if "images" in holds else "")
    print(f"{report.path}: {'sound' if report.sound else 'NOT sound'}{what}{size}")
    for fault in report.ordered():
        folds = fault.kind in ("few-pairs", "one-class-fold") and 0 < holds["same"] < holds["pairs"]
        hint = "; for verification with another number of folds, give --folds" if folds else ""
        print(f"  {fault.kind:<15}{fault.count:>10}  {_first(fault)}{fault.message}{hint}")
    for note in report.notes_by_reason():
        print(f"  note: {note.kind:<15}{note.count:>4}  {_first(note)}{note.message}")


def _first(fault: Fault) -> str:
    if fault.byte is None:
        return ""
    places = [f"byte {fault.byte}" + (f" of the .{fault.file}" if fault.file == "idx" else "")]
    if fault.file == "property":
        return "property: "
    if fault.record is not None and fault.record >= 0 and fault.file != "bin":
        places.append(f"record {fault.record}")
    if fault.entry:
        places.append(f"line {fault.entry[1]} of the .idx")
    return f"first at {', '.join(places)}: "

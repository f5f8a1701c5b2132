"""`check PATH...`: whether data is sound, and if not, what is wrong and where."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

from recordio_tools.arguments import add_workers
from recordio_tools.check_bin import check_bin
from recordio_tools.check_rec import check_set
from recordio_tools.data_files import data_files, record_sets
from recordio_tools.faults import Fault, FileReport

DESCRIPTION = """\
Check training sets and verification sets from the first byte to the last: frames, index, header records,
labels, property; every image is decoded.

  python -m recordio_tools check data/ data/lfw.bin

PATH is a data folder (its .rec and .bin files), a .rec or a .bin. Every kind of fault is counted, and its
first place named. Exit status: 0 all sound, 1 not, 2 where a PATH is no such data."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("check", help="is a data set sound? what is wrong with it, and where?",
                                   description=DESCRIPTION)
    parser.add_argument("paths", metavar="PATH", nargs="+", help="data folder, .rec or .bin")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_workers(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check every file; 0 or 1."""
    names = list(dict.fromkeys(file for name in args.paths for file in data_files(Path(name))))
    reports = [report for paths, complete in record_sets([name for name in names if name.suffix != ".bin"])
               for report in check_set(paths, args.workers, complete).reports]
    reports += [check_bin(name, args.workers) for name in names if name.suffix == ".bin"]
    sound = all(report.sound for report in reports)
    if args.json:
        print(json.dumps({"sound": sound, "files": [report.as_dict() for report in reports]}, indent=1))
    else:
        for report in reports:
            _tell(report)
    return 0 if sound else 1


def _tell(report: FileReport) -> None:
    holds = report.holds
    size = f", {holds['height']}x{holds['width']}" if "height" in holds else ""
    what = (f"{holds['pairs']} pairs ({holds['same']} same)" if "pairs" in holds else
            f"{holds.get('images', 0)} images of {holds.get('identities', 0)} identities")
    print(f"{report.path}: {'sound' if report.sound else 'NOT sound'}: {what}{size}")
    for fault in report.ordered():
        print(f"  {fault.kind:<15}{fault.count:>10}  {_first(fault)}{fault.message}")
    for note in report.notes.values():
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

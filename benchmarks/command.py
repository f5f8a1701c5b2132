"""The table of speed and memory: the target of each part, and its measurement here.

    python -m benchmarks                       # all rows; about 8 minutes on two cores
    python -m benchmarks training memory       # some of them
    python -m benchmarks reading wait --data DIR
    python -m benchmarks embed --json now.json --against before.json
    python -m benchmarks rate                  # fraction of the machine's matrix-product rate
    python -m benchmarks operators             # time of a step by operator
    python -m benchmarks deploy                # MXNet plain and slim, onnxruntime in float and in 8 bits
    python -m benchmarks peer --torch-python P # the same networks in PyTorch, compiled: requirements-torch.txt

Every figure is of this run: both sides are interleaved in each repeat, so that other load of the machine affects both,
and a ratio is the median of the ratios within the repeats. OMP_NUM_THREADS sets the cores.

A row is printed as it is measured, and Ctrl-C prints the table so far. --against compares with an earlier run: a row is
slower where it is worse by more than twice the spread of both runs' turns, and by more than 5%.

Exit status: 0 done, and nothing slower; 1 a row is slower than before, or a failure; 2 unusable arguments or data,
reported before anything is measured; 130 Ctrl-C.
"""
from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from typing import Callable, Iterable, TextIO

from benchmarks import all_pairs, deploy, earlier, embed, gnap, head, metrics, operators, peer, rate, reading, training
from benchmarks.harness import as_run_error, machine
from benchmarks.table import Row, show
from common import cli
from deploy.arguments import STDOUT, add_json_flag, check_json_file, write_or_print_json

Measure = Callable[[int, str], Iterable[Row]]
ROWS: dict[str, Measure] = {
    "training": lambda repeats, data: training.speed(repeats), "memory": lambda repeats, data: training.memory(repeats),
    "embed": lambda repeats, data: embed.rows(repeats), "reading": reading.rows,
    "wait": lambda repeats, data: reading.wait(data), "head": lambda repeats, data: head.rows(repeats),
    "gnap": lambda repeats, data: gnap.rows(repeats), "metrics": lambda repeats, data: metrics.rows(repeats),
    "allpairs": lambda repeats, data: all_pairs.rows(repeats)}
READS_DATA = {"reading", "wait"}
PEER = "peer"  # not of the table, since it needs PyTorch
TABLES: dict[str, Callable[[int], Iterable[str]]] = {
    "rate": rate.lines, "operators": lambda repeats: operators.lines(), "deploy": deploy.lines}
PACKAGES = ("mxnet", "numpy", "opencv-python-headless", "onnxruntime")


def main(argv: list[str]) -> int:
    """Measure and print; the exit status."""
    arguments = _parse(argv)
    chosen = arguments.rows or list(ROWS)
    measures = dict(ROWS)
    if PEER in chosen:
        python = peer.check_python(arguments.torch_python)
        measures[PEER] = lambda repeats, data: peer.rows(repeats, python)
    check_json_file(arguments.json)
    before = earlier.read(arguments.against, chosen) if arguments.against else None
    out = sys.stdout
    with reading.data_folder(arguments.data, bool(READS_DATA & set(chosen))) as data:
        # With --json alone standard output is the JSON.
        with contextlib.redirect_stdout(sys.stderr if arguments.json == STDOUT else out):
            return _measure(chosen, measures, arguments, data, before, out)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.Parser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW",
                        help=f"{', '.join([*ROWS, *TABLES, PEER])} (default: {', '.join(ROWS)})")
    parser.add_argument("--data", metavar="DIR", help="a packed set for reading and wait, of 112x112 images (default: "
                        f"{reading.DATA}, or synthetic images where there is none)")
    parser.add_argument("--repeats", type=cli.at_least(1), default=7, help="turns that count, after one of warm-up")
    parser.add_argument("--torch-python", metavar="PYTHON", help="the Python that has PyTorch, for peer (default: "
                        "the one that runs this)")
    parser.add_argument("--against", metavar="FILE", help="compare with an earlier run, as --json wrote it")
    add_json_flag(parser)
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.rows if name not in (*ROWS, *TABLES, PEER)]
    if unknown:
        parser.error(f"there is no row {unknown[0]}; there are {', '.join([*ROWS, *TABLES, PEER])}")
    if (arguments.json or arguments.against) and arguments.rows and set(arguments.rows) <= set(TABLES):
        parser.error(f"--json and --against are of rows with a ratio; these have none: {', '.join(arguments.rows)}")
    return arguments


def _measure(chosen: list[str], measures: dict[str, Measure], arguments: argparse.Namespace, data: str,
             before: earlier.Run | None, out: TextIO) -> int:
    here, load = machine(PACKAGES), os.getloadavg()[0]
    print(f"{here}\nload {load:.1f}, {arguments.repeats} repeats\n", flush=True)
    measured: dict[str, list[Row]] = {}
    whole = False
    try:
        for name in chosen:
            if name in TABLES:
                for line in TABLES[name](arguments.repeats):
                    print(line, flush=True)
                continue
            for row in measures[name](arguments.repeats, data):
                print(f"{row.what}: {row.reached:.3g}, {row.detail}", flush=True)
                measured.setdefault(name, []).append(row)
        whole = True
    except (RuntimeError, subprocess.SubprocessError) as error:
        raise as_run_error(error, name) from None
    finally:
        rows = [row for found in measured.values() for row in found]
        if rows:
            print(f"\n{show(rows)}", flush=True)
        if arguments.json and rows:
            with contextlib.redirect_stdout(out):
                write_or_print_json(arguments.json, earlier.as_json(here, load, arguments.repeats, measured, whole))
    return _compared(before, rows) if before else 0


def _compared(before: earlier.Run, rows: list[Row]) -> int:
    print(f"\nAgainst the run of {before['machine']}, load {before['load']:.1f}:\n", *earlier.HEAD, sep="\n")
    slower = 0
    for line, worse in earlier.compare(before, rows):
        print(line, flush=True)
        slower += worse
    if slower:
        print(f"benchmarks: {slower} of {len(rows)} rows are slower than before", file=sys.stderr)
    return 1 if slower else 0

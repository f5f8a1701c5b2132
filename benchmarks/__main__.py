"""The table of speed and memory: what each part must reach, and what it reaches here.

    python -m benchmarks                       # all rows; about 8 minutes on two cores
    python -m benchmarks training memory       # some of them
    python -m benchmarks reading wait --data DIR
    python -m benchmarks rate                  # how far from the machine's matrix product
    python -m benchmarks operators             # where the time of a step goes
    python -m benchmarks deploy                # MXNet plain and slim, onnxruntime in float and in 8 bits

Every figure is of this run: both sides take turns inside each repeat, so that whatever else the machine does falls on
both, and a ratio is the median of the ratios within the repeats. OMP_NUM_THREADS says how many cores.
"""
from __future__ import annotations

import argparse
import os
import sys

from benchmarks import all_pairs, deploy, embed, gnap, head, metrics, operators, rate, reading, training
from benchmarks.harness import machine, set_threads_first
from benchmarks.table import show
from common.errors import UserError

ROWS = {"training": lambda repeats, data: training.speed(repeats),
        "memory": lambda repeats, data: training.memory(repeats), "embed": lambda repeats, data: embed.rows(repeats),
        "reading": reading.rows, "wait": lambda repeats, data: reading.wait(data),
        "head": lambda repeats, data: head.rows(repeats), "gnap": lambda repeats, data: gnap.rows(repeats),
        "metrics": lambda repeats, data: metrics.rows(repeats),
        "allpairs": lambda repeats, data: all_pairs.rows(repeats)}
TABLES = {"rate": lambda repeats: rate.lines(repeats), "operators": lambda repeats: operators.lines(),
          "deploy": lambda repeats: deploy.lines(repeats)}


def main() -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW",
                        help=f"{', '.join([*ROWS, *TABLES])} (default: all of the table)")
    parser.add_argument("--data", default="../shared/data/train", metavar="DIR",
                        help="a packed set for reading and wait, of 112x112 images (../shared/data/train)")
    parser.add_argument("--repeats", type=int, default=7, help="turns that count, after one of warm-up (7)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.rows if name not in {**ROWS, **TABLES}]
    if unknown:
        parser.error(f"there is no row {unknown[0]}; there are {', '.join([*ROWS, *TABLES])}")
    if arguments.repeats < 1:
        parser.error("--repeats is a number from 1")
    print(machine(("mxnet", "numpy", "opencv-python-headless", "onnxruntime")))
    print(f"load {os.getloadavg()[0]:.1f}, {arguments.repeats} repeats\n", flush=True)
    measured = []
    try:
        for name in arguments.rows or ROWS:
            if name in TABLES:
                for line in TABLES[name](arguments.repeats):
                    print(line, flush=True)
                continue
            for row in ROWS[name](arguments.repeats, arguments.data):
                print(f"{row.what}: {row.detail}", flush=True)
                measured.append(row)
    except UserError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    if measured:
        print(f"\n{show(measured)}")
    return 0


if __name__ == "__main__":
    set_threads_first()
    sys.exit(main())

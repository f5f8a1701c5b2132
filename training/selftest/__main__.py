"""The command: tests everything on the named devices, prints a table, exits with 1 where a test fails.

On GPUs the parts run in processes of their own: a crash of a driver then costs the rest of a part and is reported, and
the comparisons with the CPU can be computed without TF32, whose ten bits would hide an error, while speed is measured
with it.
"""
from __future__ import annotations

if __name__ == "__main__":  # before the other imports
    from common.interrupt import end_quietly
    end_quietly()

import logging
import os
import subprocess
import sys
import time
from typing import Iterator

from common.arguments import DEVICES
from common.cli import Parser, run
from common.huge_pages import start_with_huge_pages

DESCRIPTION = """Test on your own devices, in minutes, everything that training does, against the CPU.

  python -m training.selftest                              every GPU that computes, else the CPU
  python -m training.selftest --devices gpu:0,gpu:1
  python -m training.selftest --devices cpu:0,cpu:1 --quick

A Markdown table has the results; the exit status is 1 where a test fails. Please attach it to a report:
  python -m training.selftest --devices gpu:0,gpu:1 > selftest.md"""
PARTS = ("networks", "updates", "runs", "speed")


def build_parser() -> Parser:
    """The parser of this command."""
    parser = Parser(prog="python -m training.selftest", description=DESCRIPTION)
    parser.add_argument("--devices", default="", metavar="LIST", help=DEVICES)
    parser.add_argument("--quick", action="store_true",
                        help="smaller images, fewer networks, one preset: the same checks in half a minute; the speeds "
                             "then mean nothing")
    parser.add_argument("--part", default="", choices=("", *PARTS), metavar="NAME",
                        help="one part alone: networks, updates, runs (stop and resume) or speed")
    parser.add_argument("--rows", action="store_true", help="only the rows, as JSON, without a process for each part")
    return parser


def main(argv: list[str]) -> int:
    """Print the table row by row; the exit status."""
    options = build_parser().parse_args(argv)
    from common.environment import check_environment
    check_environment()
    from common.devices import parse_devices
    from training.selftest.report import head, verdict
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    devices = parse_devices(options.devices)
    parts = [options.part] if options.part else list(PARTS)
    if options.rows:
        for part in parts:
            for row in in_this_process(part, devices, options.quick):
                print(row.to_json(), flush=True)
        return 0
    began, rows = time.monotonic(), []
    print("\n".join(head(devices, options.quick)), flush=True)
    apart = devices[0].device_type == "gpu"
    for part in parts:
        for row in (in_own_process if apart else in_this_process)(part, devices, options.quick):
            rows.append(row)
            print(row.line(), flush=True)
    print(f"\n{verdict(rows, time.monotonic() - began)}", flush=True)
    return 1 if any(row.holds is False for row in rows) else 0


def in_this_process(part: str, devices: list, quick: bool) -> Iterator:
    """The rows of a part."""
    from training.selftest import networks, runs, speed, updates
    rows = {"networks": networks.rows, "updates": updates.rows, "runs": runs.rows, "speed": speed.rows}[part]
    yield from rows(devices, quick)


def in_own_process(part: str, devices: list, quick: bool) -> Iterator:
    """The same, computed by a process that may crash, which then gives a row."""
    from common.devices import device_name
    from training.selftest.report import Row
    named = ",".join(map(device_name, devices))
    command = [sys.executable, "-m", "training.selftest", "--rows", "--part", part, "--devices", named]
    surroundings = dict(os.environ) if part == "speed" else {"NVIDIA_TF32_OVERRIDE": "0", **os.environ}
    last = "its beginning"
    with subprocess.Popen(command + (["--quick"] if quick else []), stdout=subprocess.PIPE, text=True,
                          env=surroundings) as process:
        try:
            for line in process.stdout or ():
                if line.startswith("{"):
                    row = Row.from_json(line)
                    last = row.what
                    yield row
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"status {process.returncode}"
        yield Row(f"{part}: all of it", False, f"the process ended with {how} after: {last}")


if __name__ == "__main__":
    start_with_huge_pages()
    run(main, "training.selftest")

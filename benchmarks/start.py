"""Processor time of loading MXNet as the commands do (common/mxnet_import.py), and with `import mxnet`.

    python -m benchmarks.start

Each side is a process of its own, with the interpreter's start; they take turns. Processor time: less depends on what
else is at work.
"""
from __future__ import annotations

import resource
import statistics

from benchmarks.harness import machine, run_benchmark, run_side
from common import cli

SIDES = ("import mxnet", "from common.mxnet_import import import_mxnet; import_mxnet()")


def main(argv: list[str]) -> None:
    """Measure and print."""
    parser = cli.Parser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--repeats", type=cli.at_least(1), default=7, help="turns")
    arguments = parser.parse_args(argv)
    print(machine())
    turns = [[_processor_time(code) for code in SIDES] for _ in range(arguments.repeats)]
    plain, commands = (statistics.median(side) for side in zip(*turns))
    ratio = statistics.median(commands / plain for plain, commands in turns)
    print(f"{plain:.2f} s with import mxnet, {commands:.2f} s as the commands load it: {ratio:.2f} of the time, "
          f"medians of {arguments.repeats} turns")


def _processor_time(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_side(["-c", code])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    run_benchmark(main)

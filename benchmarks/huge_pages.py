"""Processor time of training and embedding with huge pages, which the commands request, and without.

    python -m benchmarks.huge_pages                       # MobileFaceNet with GNAP, batch 32
    python -m benchmarks.huge_pages --network r18 --batch 16

Each side is a process that computes without a pause; they take turns as a whole, since a network that rests between two
steps is slower in the first moments of the next. Processor time, of the process: less depends on what else is at work.
"""
from __future__ import annotations

import os
import statistics
import time
from typing import Callable

import mxnet as mx

from benchmarks.frontend import GluonSide, draw_batches, make_config
from benchmarks.harness import machine, network_name, run_benchmark, run_side
from benchmarks.table import SIDE
from common import cli
from common.huge_pages import SETTING, SETTINGS
from inference.embedder import Embedder

CLASSES, STEPS, WARM_UP = 1000, 10, 2
WITHOUT, WITH = "pages of 4 KiB", "huge pages"
WHAT = ("training step", "embedding")


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = cli.Parser(prog="python -m benchmarks.huge_pages", description=__doc__)
    parser.add_argument("--network", type=network_name, default="y1", help="y1, r18 and so on (y1)")
    parser.add_argument("--batch", type=cli.at_least(1), default=32, help="images")
    parser.add_argument("--repeats", type=cli.at_least(1), default=3, help="turns")
    parser.add_argument("--only", choices=WHAT, help="measure this in this process, as it is")
    arguments = parser.parse_args(argv)
    if arguments.only:
        print(*_seconds(_work(arguments.network, arguments.batch, arguments.only)))
        return 0
    print(machine())
    print(f"{arguments.network} GNAP, batch {arguments.batch}, medians of {STEPS} steps in {arguments.repeats} turns")
    for what in WHAT:
        found: dict[str, list[float]] = {WITHOUT: [], WITH: []}
        for _ in range(arguments.repeats):
            for side, seconds in found.items():
                seconds.append(_in_process([*argv, "--only", what], side))
        ratio = statistics.median(a / b for a, b in zip(found[WITH], found[WITHOUT]))
        print(f"{what}: {1e3 * statistics.median(found[WITHOUT]):.0f} ms with {WITHOUT}, "
              f"{1e3 * statistics.median(found[WITH]):.0f} with {WITH}: {ratio:.2f} of the time", flush=True)
    return 0


def _in_process(argv: list[str], side: str) -> float:
    environment = {**os.environ, SETTINGS: f"{SETTING}={int(side == WITH)}"}
    return statistics.median(map(float, run_side(["-m", "benchmarks.huge_pages", *argv], environment).split()))


def _work(network: str, batch: int, what: str) -> Callable[[], object]:
    size = (SIDE, SIDE)
    side = GluonSide(make_config(network, batch), size, CLASSES, [mx.cpu()])
    one = draw_batches(1, batch, size, CLASSES)[0]
    if what == WHAT[0]:
        return lambda: side.step(one)
    embedder = Embedder(side.model.symbol, *side.model.network_arrays(), [mx.cpu()], batch, size)
    return lambda: list(embedder.embed([one.images] * 2))


def _seconds(work: Callable[[], object]) -> list[float]:
    spent = []
    for number in range(WARM_UP + STEPS):
        began = time.process_time()
        work()
        if number >= WARM_UP:
            spent.append(time.process_time() - began)
    return spent


if __name__ == "__main__":
    run_benchmark(main)

"""Peak memory and time of a training step with --mirror-memory, with MXNet's own switch, and with neither.

    python -m benchmarks.recompute                       # MobileFaceNet with GNAP, batch 48
    python -m benchmarks.recompute --network r18 --batch 16

A step is forward and backward of the embedding network. Memory: the peak of a process of its own that makes three
steps, above the peak of one that only makes the network. Time: the sides take turns in one process.
"""
from __future__ import annotations

import os
import statistics
from typing import Callable

import mxnet as mx
import numpy as np

from benchmarks.harness import machine, network_name, peak_memory, run_benchmark, speed_ratio, take_turns
from common import cli
from training.model import TrainingModel
from training.specs import HeadSpec, ModelSpec, NetworkSpec

SIDE, STEPS, MIB = 112, 3, 2 ** 20
KEEPING, MIRRORED, SWITCH, NOTHING = "all maps kept", "--mirror-memory", "MXNET_BACKWARD_DO_MIRROR=1", "nothing"


def make_step(network: str, head: str, batch: int, mirrored: bool) -> tuple[TrainingModel, Callable[[], None]]:
    """A model, and a function that makes one step of its network."""
    spec = ModelSpec(NetworkSpec(network, 128, head), HeadSpec(128), recompute=mirrored)
    model = TrainingModel(spec, (SIDE, SIDE), 10, [mx.cpu(0)])
    model.initialize()
    data = mx.nd.array(np.random.RandomState(0).randint(0, 256, (batch, 3, SIDE, SIDE)))
    gradient = mx.nd.array(np.random.RandomState(1).randn(batch, 128))

    def step() -> None:
        model.network(data)
        model.network.backward([gradient])
        mx.nd.waitall()
    return model, step


def main(argv: list[str]) -> None:
    """Measure and print."""
    parser = cli.Parser(prog="python -m benchmarks.recompute", description=__doc__)
    parser.add_argument("--network", type=network_name, default="y1", help="y1, y2, r18, r50 and so on (y1)")
    parser.add_argument("--version-output", default="GNAP", help="the head (GNAP)")
    parser.add_argument("--batch", type=cli.at_least(1), default=48, help="images")
    parser.add_argument("--repeats", type=cli.at_least(1), default=5, help="turns that are timed")
    parser.add_argument("--only", choices=(KEEPING, MIRRORED, SWITCH, NOTHING), help="make three steps of one side")
    arguments = parser.parse_args(argv)
    what = arguments.network, arguments.version_output, arguments.batch
    if arguments.only:
        if arguments.only == SWITCH:
            os.environ["MXNET_BACKWARD_DO_MIRROR"] = "1"  # read when a graph is compiled
        _, step = make_step(*what, arguments.only == MIRRORED)
        for _ in range(0 if arguments.only == NOTHING else STEPS):
            step()
        mx.nd.waitall()
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(machine())
    print(f"{arguments.network} {arguments.version_output}, batch {arguments.batch}, forward and backward")
    shared = ["-m", "benchmarks.recompute", f"--network={what[0]}", f"--version-output={what[1]}", f"--batch={what[2]}"]
    peaks = {side: peak_memory([*shared, f"--only={side}"]) / MIB for side in (NOTHING, KEEPING, MIRRORED, SWITCH)}
    (_, keep), (_, mirror) = make_step(*what, False), make_step(*what, True)
    seconds = take_turns({KEEPING: keep, MIRRORED: mirror}, arguments.repeats)
    base = peaks.pop(NOTHING)
    for side, peak in peaks.items():
        print(f"{side:28s} {peak - base:7.0f} MiB  {(peak - base) / (peaks[KEEPING] - base):.2f} x" + (
              f"   {1000 * statistics.median(seconds[side]):7.0f} ms a step" if side in seconds else ""))
    print(f"{MIRRORED} takes {speed_ratio(seconds, MIRRORED, KEEPING):.2f} times as long")


if __name__ == "__main__":
    run_benchmark(main)

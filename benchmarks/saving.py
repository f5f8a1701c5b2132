"""How long writing a state delays training: synchronously, as it was before, and in the background.

    python -m benchmarks.saving                             # LResNet18E, 85,742 classes: 518 MiB
    python -m benchmarks.saving --classes 10000 --dir /dev/shm

A turn makes the same steps three times: without a state, with one that is waited for, with one that is written
meanwhile. Held up: how long the first step comes later, from the call to when the next step may begin. In all: how much
longer the steps take together until the state is on the disk as well.
"""
from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import mxnet as mx
import numpy as np

from benchmarks.harness import machine, network_name, run_benchmark
from common import cli
from common.mxnet_compat import momentum_arrays
from common.own_memory import own_peak_memory
from training.data.loader import Batch
from training.model import TrainingModel
from training.saving.background import BackgroundWriter
from training.saving.state import Progress, States
from training.specs import HeadSpec, ModelSpec, NetworkSpec
from training.step import update

SIDE, MIB = 112, 2 ** 20
NONE, WAITING, MEANWHILE = "no state", "written while the training waits", "written in the background"


def main(argv: list[str]) -> None:
    """Measure and print."""
    parser = cli.Parser(prog="python -m benchmarks.saving", description=__doc__)
    parser.add_argument("--network", type=network_name, default="r18", help="y1, y2, r18, r50 and so on (r18)")
    parser.add_argument("--classes", type=cli.at_least(1), default=85742, help="classes")
    parser.add_argument("--batch", type=cli.at_least(1), default=32, help="images of a step")
    parser.add_argument("--steps", type=cli.at_least(1), default=3, help="steps of a turn")
    parser.add_argument("--repeats", type=cli.at_least(1), default=3, help="turns that count, after one of warm-up")
    parser.add_argument("--dir", default=None, help="where the states go (a temporary folder)")
    arguments = parser.parse_args(argv)
    model = TrainingModel(ModelSpec(NetworkSpec(arguments.network, 512, "E"), HeadSpec(512)), (SIDE, SIDE),
                          arguments.classes, [mx.cpu(0)])
    model.initialize()
    trainer = model.make_trainer()
    generator = np.random.RandomState(0)
    batch = Batch(generator.randint(0, 256, (arguments.batch, SIDE, SIDE, 3)).astype(np.uint8),
                  generator.randint(0, arguments.classes, arguments.batch).astype(np.int32), np.arange(arguments.batch))
    print(machine(), flush=True)
    writer = BackgroundWriter()
    times: dict[str, list[tuple[float, float]]] = {NONE: [], WAITING: [], MEANWHILE: []}
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        states = States(Path(folder) / "state", {"data": {}})

        def step() -> None:
            update(model, trainer, batch, 0).read()

        def turn(side: str) -> tuple[float, float]:
            mx.nd.waitall()
            began = time.perf_counter()
            if side != NONE:
                arrays = {"net": model.state_arrays(), "head": model.head_arrays(),
                          "momentum": momentum_arrays(trainer)}
                writer.begin(lambda: states.save(Progress(), arrays))
            if side == WAITING:
                writer.wait()
            held = time.perf_counter() - began
            for _ in range(arguments.steps):
                step()
            mx.nd.waitall()
            writer.wait()
            return held, time.perf_counter() - began
        step()
        for repeat in range(arguments.repeats + 1):
            for side, taken in times.items():
                seconds = turn(side)
                if repeat:
                    taken.append(seconds)
        size = sum(path.stat().st_size for path in states.newest.iterdir()) if states.newest else 0
    print(f"{arguments.network} E, {arguments.classes} classes: a state of {size / MIB:.0f} MiB; peak memory "
          f"{own_peak_memory() / MIB:.0f} MiB; medians of {arguments.repeats} turns of {arguments.steps} steps")
    for number, what in enumerate(("held up", "in all")):
        plain, waiting, meanwhile = ([seconds[number] for seconds in times[side]] for side in times)
        base = statistics.median(plain) if number else 0.0
        held = [statistics.median(side) - base for side in (waiting, meanwhile)]
        apart = [(one - (first if number else 0), two - (first if number else 0))
                 for first, one, two in zip(plain, waiting, meanwhile)]
        ratio = "; the second is no longer than without" if min(two for _, two in apart) <= 0 else (
            f"; that is {statistics.median(one / two for one, two in apart):.1f} times as long")
        print(f"{what}: {held[0]:.2f} s {WAITING}, {held[1]:.2f} s {MEANWHILE}{ratio}", flush=True)


if __name__ == "__main__":
    run_benchmark(main)

"""What a step costs beside its operators: the time Python takes to queue it, on many devices with little to do.

    python -m benchmarks.step_overhead                    # 8 CPU devices, a network of one layer, 85,742 classes
    python -m benchmarks.step_overhead --on-nan skip --profile
    python -m benchmarks.step_overhead --network y1 --classes 1000    # a network of 290 arrays, one image a device

Devices work while Python queues the next step, so this is how short a step on them may be before they wait for Python.
It is the processor time of the one thread that queues, reading of the step before included, and not the time on the
clock: here the devices are CPU threads, which take the cores as well.
"""
from __future__ import annotations

import cProfile
import pstats
import statistics
import time

import mxnet as mx
import numpy as np

import training.model
from benchmarks.harness import machine, network_name, run_benchmark
from common import cli
from training.data.loader import Batch
from training.model import TrainingModel
from training.specs import HeadSpec, ModelSpec, NetworkSpec
from training.step import StepResult, update

ONE_LAYER, EMBEDDING, AIM_MS, WARM_UP = "one layer", 512, 10.0, 3


def main(argv: list[str]) -> None:
    """Measure and print."""
    parser = cli.Parser(prog="python -m benchmarks.step_overhead", description=__doc__)
    parser.add_argument("--devices", type=cli.at_least(1), default=8, help="CPU devices")
    parser.add_argument("--network", type=_network, default=ONE_LAYER, metavar="NAME",
                        help="as of train_softmax.py, with GNAP (default: one layer)")
    parser.add_argument("--classes", type=cli.at_least(1), default=85742, help="classes")
    parser.add_argument("--whole", action="store_true", help="the whole classification layer on each device (4 GB for "
                        "8), not a share (--fc7-parallel)")
    parser.add_argument("--partial-fc", type=cli.fraction, default=1.0, help="share of the classes in a step")
    parser.add_argument("--on-nan", choices=("stop", "skip"), default="stop", help="as of train_softmax.py")
    parser.add_argument("--steps", type=cli.at_least(1), default=10, help="steps that count")
    parser.add_argument("--profile", action="store_true", help="print where Python's time goes, by function")
    arguments = parser.parse_args(argv)
    side, network = 112, NetworkSpec(arguments.network, EMBEDDING, version_output="GNAP")
    if arguments.network == ONE_LAYER:
        side, network = 8, NetworkSpec("y1", EMBEDDING)
        training.model.build_symbol = lambda spec: _one_layer()
    devices = [mx.cpu(number) for number in range(arguments.devices)]
    head = HeadSpec(EMBEDDING, fc7_parallel=not arguments.whole, partial_fc=arguments.partial_fc)
    model = TrainingModel(ModelSpec(network, head), (side, side), arguments.classes, devices)
    model.initialize()
    trainer = model.make_trainer()
    random = np.random.RandomState(0)
    batch = Batch(random.randint(0, 256, (len(devices), side, side, 3)).astype(np.uint8),
                  random.randint(0, arguments.classes, len(devices)).astype(np.int32), np.arange(len(devices)))
    print(machine(), flush=True)
    queued: list[float] = []
    whole: list[float] = []
    before: StepResult | None = None
    profile = cProfile.Profile()
    for number in range(WARM_UP + arguments.steps):
        began, spent = time.perf_counter(), time.thread_time()
        if arguments.profile and number >= WARM_UP:
            profile.enable()
        result = update(model, trainer, batch, number, arguments.on_nan == "skip")
        if before is not None:
            before.read()
            before.finite.asscalar()
        profile.disable()
        before = result
        if number >= WARM_UP:
            queued.append((time.thread_time() - spent) * 1e3)
            whole.append((time.perf_counter() - began) * 1e3)
    median = statistics.median(queued)
    aim = f"; aim {AIM_MS:.0f}: {'met' if median < AIM_MS else 'missed'}" if arguments.network == ONE_LAYER else ""
    print(f"{len(devices)} CPU devices, {arguments.network}, {arguments.classes} classes, {arguments.steps} steps: "
          f"Python {min(queued):.1f}, {median:.1f}, {max(queued):.1f} ms a step (least, median, most) of "
          f"{statistics.median(whole):.0f} on the clock{aim}", flush=True)
    if arguments.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)


def _network(text: str) -> str:
    return text if text == ONE_LAYER else network_name(text)


def _one_layer() -> mx.sym.Symbol:
    data = mx.sym.Flatten(mx.sym.Variable("data"))
    return mx.sym.FullyConnected(data, name="fc1", num_hidden=EMBEDDING)


if __name__ == "__main__":
    run_benchmark(main)

"""Peak memory of the classification layer alone, whole, sharded and sampled, compared with --dry-run's estimate.

    python -m benchmarks.head_memory                                    # 100,000 classes on cpu:0,cpu:1
    python -m benchmarks.head_memory --classes 200000 --partial-fc 0.05

Each layout makes three training steps (forward, backward, update with momentum) in a process of its own; the memory
is the peak of that process above the peak of one with a handful of classes. Several CPU contexts share one memory, so
what is measured is the sum over the devices, divided by their number. The estimate is of the device with the most: of
the whole layer that is the one that sums the gradients. On CPUs oneDNN needs some more.
"""
from __future__ import annotations

import os
import time

import mxnet as mx
import numpy as np
from mxnet import gluon

from benchmarks.harness import machine, peak_memory, run_benchmark
from common import cli
from common.devices import parse_devices
from common.own_memory import own_peak_memory
from training.estimate import head_memory
from training.head.margin_head import INITIAL
from training.model import build_head
from training.specs import HeadSpec, OptimizerSpec

FEW, STEPS, MIB = 64, 3, 2 ** 20


def layouts(emb_size: int, rate: float) -> dict[str, HeadSpec]:
    """The layer in each layout, by its flags."""
    return {"whole on each device": HeadSpec(emb_size), "--fc7-parallel": HeadSpec(emb_size, fc7_parallel=True),
            f"--partial-fc {rate:g}": HeadSpec(emb_size, partial_fc=rate),
            f"--fc7-parallel --partial-fc {rate:g}": HeadSpec(emb_size, fc7_parallel=True, partial_fc=rate)}


def train(spec: HeadSpec, classes: int, samples: int, devices: list[mx.Context]) -> None:
    """Three steps of the layer on `samples` embeddings a device at random, and print the seconds of the last."""
    generator, optimizer = np.random.RandomState(0), OptimizerSpec()
    head = build_head(spec, optimizer, classes, devices)
    head.initialize(mx.init.Normal(INITIAL), ctx=devices)
    trainer = None
    if isinstance(head, gluon.Block):
        trainer = gluon.Trainer(head.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": optimizer.mom},
                                kvstore="device", update_on_kvstore=False)
    shape = (samples, spec.emb_size)
    embeddings = [mx.nd.array(generator.randn(*shape), ctx=device) for device in devices]
    for step in range(STEPS):
        began = time.perf_counter()
        labels = generator.randint(0, classes, (len(devices), shape[0])).astype(np.int32)
        head.start_step(labels.reshape(-1), step)
        seen = head.backward(embeddings, list(labels))
        if trainer:
            trainer.step(labels.size)
        head.reduce()
        head.update(0.1, labels.size)
        mx.nd.waitall()
    if not np.isfinite(seen.losses[0].asnumpy()).all():
        raise RuntimeError("the loss is not finite")
    print(f"{time.perf_counter() - began:.3f} s, peak {own_peak_memory() / MIB:.0f} MiB")


def main(argv: list[str]) -> None:
    """Measure every layout and print the table."""
    parser = cli.Parser(prog="python -m benchmarks.head_memory", description=__doc__)
    parser.add_argument("--classes", type=cli.at_least(1), default=100_000, help="classes")
    parser.add_argument("--per-batch-size", type=cli.at_least(1), default=32, help="samples on each device")
    parser.add_argument("--emb-size", type=cli.at_least(1), default=512, help="size of the embedding")
    parser.add_argument("--partial-fc", type=cli.fraction, default=0.1, metavar="RATE", help="fraction of the classes")
    parser.add_argument("--devices", default="cpu:0,cpu:1", help="CPU contexts (cpu:0,cpu:1)")
    parser.add_argument("--only", metavar="LAYOUT", help="train this one layout here and print its peak")
    arguments = parser.parse_args(argv)
    specs, samples = layouts(arguments.emb_size, arguments.partial_fc), arguments.per_batch_size
    devices = parse_devices(arguments.devices)
    if arguments.only:
        train(specs[arguments.only], arguments.classes, samples, devices)
        return
    print(machine())
    print(f"{arguments.classes} classes, {arguments.emb_size}-d, {len(devices)} devices ({arguments.devices}), "
          f"{arguments.per_batch_size} samples on each; MiB a device")
    shared = [f"--{name}={getattr(arguments, name.replace('-', '_'))}"
              for name in ("per-batch-size", "emb-size", "partial-fc", "devices")]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name, spec in specs.items():
        peaks = [peak_memory(["-m", "benchmarks.head_memory", *shared, f"--only={name}", f"--classes={classes}"])
                 for classes in (FEW, arguments.classes)]
        measured = (peaks[1] - peaks[0]) / len(devices) / MIB
        estimated, million = (head_memory(spec, samples, classes, len(devices)) / unit
                              for classes, unit in ((arguments.classes, MIB), (10 ** 6, 2 ** 30)))
        print(f"{name:32s} measured {measured:7.0f}   estimated {estimated:7.0f}   "
              f"for a million classes estimated {million:6.2f} GiB")


if __name__ == "__main__":
    run_benchmark(main)

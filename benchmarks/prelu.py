"""Images a second of a whole network with MXNet's PReLU and with the fast form (symbols/fast.py), and their ratio.

    python -m benchmarks.prelu                                  # MobileFaceNet, batch 32: training step and inference
    python -m benchmarks.prelu --network r18 --inference        # LResNet18, inference alone
    python -m benchmarks.prelu --repeats 3 --batch 8            # a quick look

A whole network is timed, not the activation alone, since much of PReLU's cost on CPUs is leaving and entering
oneDNN's memory layout. A training step is forward, backward and an SGD update of the embedding network, without fc7.
The two graphs take turns inside every repeat, so that whatever else the machine does falls on both; the ratio is the
median of the ratios within the repeats. Set OMP_NUM_THREADS to say how many cores.
"""
from __future__ import annotations

import argparse
import os
import statistics
import time

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

import symbols
from common.devices import parse_devices
from common.errors import UserError
from symbols.fast import accelerate
from symbols.gluon_net import embedding_block

PLAIN, FAST = "plain", "accelerated"
WARM_UP = 2


def make_block(symbol, data):
    """The block with drawn weights, compiled, and the trainer of it."""
    block = embedding_block(symbol)
    block.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2), ctx=data.context)
    block.hybridize(static_alloc=True, static_shape=True)
    block(data).wait_to_read()
    settings = {"learning_rate": 1e-4, "momentum": 0.9, "wd": 5e-4}
    return block, gluon.Trainer(block.collect_params(), "sgd", settings, kvstore=None)


def train(block, trainer, data):
    """Seconds of forward, backward and update."""
    start = time.perf_counter()
    with autograd.record():
        loss = (block(data) ** 2).sum()
    loss.backward()
    trainer.step(data.shape[0])
    mx.nd.waitall()
    return time.perf_counter() - start


def infer(block, trainer, data):
    """Seconds of a forward pass in inference mode."""
    start = time.perf_counter()
    block(data).wait_to_read()
    return time.perf_counter() - start


def measure(blocks, data, function, repeats):
    """Seconds by graph, one value a repeat."""
    seconds = {name: [] for name in blocks}
    for repeat in range(repeats + WARM_UP):
        for name, (block, trainer) in blocks.items():
            spent = function(block, trainer, data)
            if repeat >= WARM_UP:
                seconds[name].append(spent)
    return seconds


def parse():
    """The arguments, checked, and the device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prelu", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="y1", help="y1, y2, r18, r34, r50, r100 and so on (y1)")
    parser.add_argument("--version-output", default="GNAP", help="the head: E, FC, GDC, GAP or GNAP (GNAP)")
    parser.add_argument("--emb-size", type=int, default=128, help="size of the embedding (128)")
    parser.add_argument("--batch", type=int, default=32, help="images (32)")
    parser.add_argument("--side", type=int, default=112, help="height and width of an image (112)")
    parser.add_argument("--repeats", type=int, default=10, help=f"repeats that count, after {WARM_UP} that do not (10)")
    parser.add_argument("--training", action="store_true", help="the training step; without this and --inference, both")
    parser.add_argument("--inference", action="store_true", help="inference")
    parser.add_argument("--device", default="cpu:0", help="cpu:0, gpu:0 and so on (cpu:0)")
    arguments = parser.parse_args()
    if min(arguments.batch, arguments.side, arguments.repeats, arguments.emb_size) < 1:
        parser.error("--batch, --side, --repeats and --emb-size are numbers from 1")
    try:
        symbol = symbols.build(arguments.network, arguments.emb_size, arguments.version_output)
        return arguments, symbol, parse_devices(arguments.device, "--device")[0]
    except (UserError, ValueError) as error:
        parser.error(str(error))


def main():
    arguments, symbol, device = parse()
    shape = (arguments.batch, 3, arguments.side, arguments.side)
    data = mx.nd.array(np.random.RandomState(0).randint(0, 256, shape), ctx=device)
    blocks = {PLAIN: make_block(symbol, data), FAST: make_block(accelerate(symbol, shape), data)}
    print(f"{arguments.network} {arguments.version_output} {arguments.emb_size}-d, batch {arguments.batch}, {device}, "
          f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}, {arguments.repeats} repeats")
    both = arguments.training == arguments.inference
    for title, wanted, function in (("training step", arguments.training, train),
                                    ("inference", arguments.inference, infer)):
        if not (wanted or both):
            continue
        seconds = measure(blocks, data, function, arguments.repeats)
        for name, values in seconds.items():
            print(f"{title:14s} {name:12s} {arguments.batch / statistics.median(values):7.1f} images/s   "
                  f"at best {arguments.batch / min(values):7.1f}")
        ratio = statistics.median(slow / fast for slow, fast in zip(seconds[PLAIN], seconds[FAST]))
        print(f"{title:14s} {FAST} is {ratio:.2f} times as fast as {PLAIN}")


if __name__ == "__main__":
    main()

"""Milliseconds of GNAP's reweighting and pooling, ours against InsightFace's formulation, on one feature map.

    python -m benchmarks.gnap                # batch 64, 512 channels, 7 x 7: the last map of every network here
    python -m benchmarks.gnap --batch 1      # one image, as in a service

InsightFace's way is square, sum over channels, sqrt, mean over the batch, divide, tile to all channels, multiply and
pool; ours (symbols/gnap.py) never makes a second map, and takes the mean per image as the paper does. The BatchNorm
before it is the same in both, so it is left out. The two take turns inside every repeat, so that whatever else the
machine does falls on both; a ratio is the median of the ratios within the repeats. Set OMP_NUM_THREADS to say how
many cores.
"""
from __future__ import annotations

import argparse
import os
import statistics
import time

import mxnet as mx
import numpy as np

from common.devices import parse_devices
from common.errors import UserError
from symbols.gnap import norm_aware_pooling

OURS = "ours"
PASSES = ("forward", "forward and backward")


def tiled(data, channels):
    """As InsightFace's script computes it, with its mean over the batch."""
    norms = mx.sym.sqrt(mx.sym.sum(mx.sym.square(data), axis=1, keepdims=True))
    weights = mx.sym.broadcast_div(mx.sym.mean(norms), norms + 1e-10)
    weighted = data * mx.sym.tile(weights, reps=(1, channels, 1, 1))
    return mx.sym.Flatten(mx.sym.Pooling(weighted, global_pool=True, kernel=(7, 7), pool_type="avg"))


def bound(symbol, shape, training, device):
    """An executor of `symbol`, the same features for every one."""
    features = mx.nd.array(np.random.RandomState(0).normal(0, 1, shape), ctx=device)
    gradients = {"data": mx.nd.zeros(shape, ctx=device)} if training else None
    return symbol.bind(device, {"data": features}, args_grad=gradients, grad_req="write" if training else "null")


def run(executor, training, outside):
    """Seconds of one pass, until everything it computes is there."""
    start = time.perf_counter()
    output = executor.forward(is_train=training)[0]
    if training:
        executor.backward(outside)
        executor.grad_arrays[0].wait_to_read()
    output.wait_to_read()
    return time.perf_counter() - start


def measure(shape, repeats, device):
    """Seconds by (pass, variant), one value a repeat, after two repeats of warm-up."""
    data, channels = mx.sym.Variable("data"), shape[1]
    variants = {OURS: norm_aware_pooling(mx.sym, data, channels), "InsightFace's": tiled(data, channels)}
    executors = {(title, name): bound(symbol, shape, title != PASSES[0], device)
                 for title in PASSES for name, symbol in variants.items()}
    outside = mx.nd.ones((shape[0], channels), ctx=device)
    seconds = {key: [] for key in executors}
    for repeat in range(repeats + 2):
        for key, executor in executors.items():
            spent = run(executor, key[0] != PASSES[0], outside)
            if repeat >= 2:
                seconds[key].append(spent)
    return seconds


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gnap", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="images (64)")
    parser.add_argument("--channels", type=int, default=512, help="channels of the map (512)")
    parser.add_argument("--side", type=int, default=7, help="height and width of the map (7)")
    parser.add_argument("--repeats", type=int, default=50, help="repeats that count, after two that do not (50)")
    parser.add_argument("--device", default="cpu:0", help="cpu:0, gpu:0 and so on (cpu:0)")
    arguments = parser.parse_args()
    if min(arguments.batch, arguments.channels, arguments.side, arguments.repeats) < 1:
        parser.error("--batch, --channels, --side and --repeats are numbers from 1")
    try:
        device = parse_devices(arguments.device, "--device")[0]
    except UserError as error:
        parser.error(str(error))
    shape = (arguments.batch, arguments.channels, arguments.side, arguments.side)
    seconds = measure(shape, arguments.repeats, device)
    print(f"batch {shape[0]}, {shape[1]} x {shape[2]} x {shape[3]}, {device}, "
          f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}, {arguments.repeats} repeats")
    for (title, name), values in seconds.items():
        ratio = statistics.median(value / own for value, own in zip(values, seconds[title, OURS]))
        print(f"{title:21s} {name:14s} median {1000 * statistics.median(values):7.2f} ms   "
              f"least {1000 * min(values):7.2f} ms   {ratio:.2f} x {OURS}")


if __name__ == "__main__":
    main()

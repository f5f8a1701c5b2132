"""A training step's and an embedding's FLOP/s relative to this machine's float32 matrix product.

The rate is of oneDNN's product (FullyConnected) of square matrices of 2,048, in turns with the steps. A step counts as
three forward passes (forward, gradients of the maps, gradients of the weights), a pass as two operations for each
multiply-add.
"""
from __future__ import annotations

import statistics
from typing import Iterator

import mxnet as mx
import numpy as np

import symbols
from benchmarks.embed import OURS, sides
from benchmarks.harness import take_turns
from benchmarks.table import NETWORKS, SIDE
from benchmarks.training import BATCH, FAST, make_step
from symbols.count import flops_and_params

SIZE, IMAGES = 2048, 64
PRODUCT, STEP = "product", "step"


def lines(repeats: int) -> Iterator[str]:
    """A Markdown table: the fraction of the product's FLOP/s that each network reaches."""
    left, right = (mx.nd.array(np.random.RandomState(seed).randn(SIZE, SIZE)) for seed in (0, 1))
    yield ("| network | million multiply-adds an image | product, GFLOP/s | step, GFLOP/s | of the product "
           "| embedding, GFLOP/s | of the product |")
    yield "|---|---|---|---|---|---|---|"
    images = np.random.RandomState(1).randint(0, 256, (IMAGES, SIDE, SIDE, 3)).astype(np.uint8)
    for network, settings in NETWORKS.items():
        macs, _ = flops_and_params(symbols.build(*settings), (1, 3, SIDE, SIDE))
        seconds = take_turns({PRODUCT: lambda: _product(left, right), STEP: make_step(network, FAST),
                              OURS: sides(network, images)[OURS]}, repeats, warm_up=2)
        done = {PRODUCT: 2 * SIZE ** 3, STEP: 3 * 2 * macs * BATCH, OURS: 2 * macs * IMAGES}
        rate = {name: count / statistics.median(seconds[name]) / 1e9 for name, count in done.items()}
        yield (f"| {network} | {macs / 1e6:.0f} | {rate[PRODUCT]:.0f} | {rate[STEP]:.0f} | "
                   f"{rate[STEP] / rate[PRODUCT]:.0%} | {rate[OURS]:.0f} | {rate[OURS] / rate[PRODUCT]:.0%} |")


def _product(left: mx.nd.NDArray, right: mx.nd.NDArray) -> None:
    mx.nd.FullyConnected(left, right, no_bias=True, num_hidden=SIZE).wait_to_read()

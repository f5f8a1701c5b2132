"""GNAP's reweighting and pooling, ours against InsightFace's formulation, forward.

InsightFace's way is square, sum over channels, sqrt, mean over the batch, divide, tile to all channels, multiply and
pool; ours (symbols/gnap.py) never allocates a second map, and uses the mean per image as the paper does. Measured on
the last map of MobileFaceNet (512 x 7 x 7), batch 32; the share is of the whole network's forward pass in inference
mode, in the inference form.
"""
from __future__ import annotations

import statistics

import mxnet as mx
import numpy as np

import symbols
from benchmarks.embed import draw_parameters
from benchmarks.harness import speed_ratios, take_turns
from benchmarks.table import SIDE, Row
from inference.embedder import Embedder
from symbols.gnap import norm_aware_pooling

BATCH, CHANNELS, MAP = 32, 512, 7
OURS, TILED, NETWORK = "ours", "tiled", "network"


def tiled(data: mx.sym.Symbol) -> mx.sym.Symbol:
    """As InsightFace's script computes it, with its mean over the batch."""
    norms = mx.sym.sqrt(mx.sym.sum(mx.sym.square(data), axis=1, keepdims=True))
    weights = mx.sym.broadcast_div(mx.sym.mean(norms), norms + 1e-10)
    weighted = data * mx.sym.tile(weights, reps=(1, CHANNELS, 1, 1))
    return mx.sym.Flatten(mx.sym.Pooling(weighted, global_pool=True, kernel=(MAP, MAP), pool_type="avg"))


def rows(repeats: int) -> list[Row]:
    """The ratio of the two formulations, and the share of the network."""
    features = mx.nd.array(np.random.RandomState(0).normal(0, 1, (BATCH, CHANNELS, MAP, MAP)))
    data = mx.sym.Variable("data")
    bound = {name: symbol.bind(mx.cpu(), {"data": features}, grad_req="null")
             for name, symbol in ((TILED, tiled(data)), (OURS, norm_aware_pooling(mx.sym, data, CHANNELS)))}
    symbol = symbols.build("y1", 128, "GNAP")
    embedder = Embedder(symbol, *draw_parameters(symbol), [mx.cpu()], BATCH, (SIDE, SIDE))
    images = np.random.RandomState(1).randint(0, 256, (BATCH, SIDE, SIDE, 3)).astype(np.uint8)
    functions = {name: lambda executor=executor: executor.forward(is_train=False)[0].wait_to_read()
                 for name, executor in bound.items()}
    seconds = take_turns({**functions, NETWORK: lambda: list(embedder.embed([images]))}, max(repeats, 30), warm_up=3)
    spent = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    return [Row("GNAP, forward, of the tile formulation", speed_ratios(seconds, TILED, OURS), 4.0, None,
                f"{spent[OURS]:.2f} against {spent[TILED]:.2f} ms"),
            Row("GNAP, forward, share of MobileFaceNet", speed_ratios(seconds, OURS, NETWORK), None, 0.02,
                f"{spent[OURS]:.2f} of {spent[NETWORK]:.1f} ms for {BATCH} images", least=True)]

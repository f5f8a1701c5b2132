"""CPU cores as streams, each with its own worker of MXNet's engine, that compute different images in parallel.

In MXNet every device id has its own worker, on CPUs too, whatever the id. So a stream is a device id that nothing else
uses, whose worker is limited to the stream's threads. Two cores with a network each embed 1.3 times as many images as
both on one operator after the other: no core waits for the other's half, and the maps of a few images stay in a core's
cache (`python -m benchmarks embed`).
"""
from __future__ import annotations

import os

import mxnet as mx

from common.environment import threads
from common.mxnet_compat import set_worker_threads

UNFUSED = mx.cpu(1)  # MXNet fuses by itself only on cpu(0), and some networks wrongly (`embedder`)
MOST = 8  # streams: each holds another copy of the network's parameters
_NUMBERS = 64  # the device ids of streams of a width begin at a multiple of this; far above ids that users name



def open_streams(images: int) -> list[mx.Context]:
    """Devices over which to spread the computing of `images` at a time, one or more; OMP_NUM_THREADS bounds them."""
    number = max(min(threads(), images, MOST), 1)
    width = max(threads() // number, 1)
    streams = [mx.cpu(_NUMBERS * width + stream) for stream in range(number)]
    for stream in streams:
        set_worker_threads(stream, width)  # every time, since a fork of this process starts new workers
    return streams


def partition(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """`symbol` with oneDNN's fused operators, for inference on a stream: MXNet applies them by itself only on
    cpu(0)."""
    if mx.runtime.Features().is_enabled("MKLDNN") and os.environ.get("MXNET_SUBGRAPH_BACKEND") != "NONE":
        return symbol.get_backend_symbol("MKLDNN")
    return symbol


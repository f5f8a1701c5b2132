"""A CPU's cores as streams, each with a worker of MXNet's engine to itself, that compute different images at a time.

Every device number has a worker of its own in MXNet, on CPUs too, whatever it is. So a stream is a number that nothing
else uses, whose worker is told to open no more threads than the stream has. Two cores with a network each embed 1.3
times as many images as both on one operator after the other: nobody waits for the other's half, and the maps of a few
images stay in a core's cache (`python -m benchmarks embed`).
"""
from __future__ import annotations

import os

import mxnet as mx

from common.environment import threads
from common.mxnet_compat import set_worker_threads

MOST = 8  # streams: each has the network's parameters once more
_NUMBERS = 64  # streams of a certain width begin at a multiple of this; far above devices that users name



def open_streams(images: int) -> list[mx.Context]:
    """Devices over which to spread the computing of `images` at a time, one or more; OMP_NUM_THREADS bounds them."""
    number = max(min(threads(), images, MOST), 1)
    width = max(threads() // number, 1)
    streams = [mx.cpu(_NUMBERS * width + stream) for stream in range(number)]
    for stream in streams:
        set_worker_threads(stream, width)  # every time, since a fork of this process begins new workers
    return streams


def partition(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """`symbol` with what oneDNN computes in one, for inference on a stream: MXNet does it by itself only on cpu(0)."""
    if mx.runtime.Features().is_enabled("MKLDNN") and os.environ.get("MXNET_SUBGRAPH_BACKEND") != "NONE":
        return symbol.get_backend_symbol("MKLDNN")
    return symbol


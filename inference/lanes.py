"""A CPU's cores as lanes, each with a worker of MXNet's engine to itself, that compute different images at a time.

Every device number has a worker of its own in MXNet, on CPUs too, whatever it is. So a lane is a number that nothing
else uses, whose worker is told to open no more threads than the lane has. Two cores with a network each embed 1.3 times
as many images as both on one operator after the other: nobody waits for the other's half, and the maps of a few
images stay in a core's cache (`python -m benchmarks embed`).
"""
from __future__ import annotations

import ctypes
import os
import threading

import mxnet as mx
from mxnet.base import _LIB, check_call

from common.environment import threads

MOST = 8  # lanes: each has the network's parameters once more
_NUMBERS = 64  # lanes of a certain width begin at a multiple of this; far above devices that users name


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("number", ctypes.c_int32)]


_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_kept: dict[int, object] = {}  # by width, what a worker calls, which must live as long as that may be


def open_lanes(images: int) -> list[mx.Context]:
    """Devices over which to spread the computing of `images` at a time, one or more; OMP_NUM_THREADS bounds them."""
    number = max(min(threads(), images, MOST), 1)
    width = max(threads() // number, 1)
    lanes = [mx.cpu(_NUMBERS * width + lane) for lane in range(number)]
    for lane in lanes:
        _set_width(lane, width)
    return lanes


def partition(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """`symbol` with what oneDNN computes in one, for inference on a lane: MXNet does it by itself only on cpu(0)."""
    if mx.runtime.Features().is_enabled("MKLDNN") and os.environ.get("MXNET_SUBGRAPH_BACKEND") != "NONE":
        return symbol.get_backend_symbol("MKLDNN")
    return symbol


def _set_width(lane: mx.Context, width: int) -> None:
    """Queue, before what follows on the lane, that its worker is to use `width` threads.

    Every time, since a fork of this process ends all workers and begins new ones.
    """
    def in_worker(_context: int, caller: int) -> None:
        if threading.get_ident() != caller:  # MXNet's NaiveEngine has no workers
            _LIB.MXSetNumOMPThreads(ctypes.c_int(width))
    function = _kept.setdefault(width, _FUNCTION(in_worker))
    device = _Device(mx.Context.devstr2type[lane.device_type], lane.device_id)
    check_call(_LIB.MXEnginePushSync(function, ctypes.c_void_p(threading.get_ident()), None, ctypes.byref(device),
                                     None, 0, None, 0, None, 0, b"lane_width"))

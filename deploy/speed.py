"""Measures embedding speed of several models, interleaved, so that other load affects all equally."""
from __future__ import annotations

import functools
import statistics
import time
from typing import Callable, Mapping

import mxnet as mx
import numpy as np

from deploy.agreement import Run

IMAGES, REPEATS = 16, 5


def bound_mxnet(symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                auxiliary: Mapping[str, mx.nd.NDArray], shape: tuple[int, ...]) -> Run:
    """MXNet's executor on a CPU for (n, 3, H, W) images of `shape`, as `mx.model.load_checkpoint` and bind give it."""
    bound = symbol.simple_bind(mx.cpu(), grad_req="null", data=shape)
    bound.copy_params_from(dict(arguments), dict(auxiliary), allow_extra_params=True)
    return lambda images: bound.forward(is_train=False, data=mx.nd.array(images))[0].asnumpy()


def rates(sides: Mapping[str, Callable[[], object]], images: int, repeats: int = REPEATS) -> dict[str, float]:
    """Images/s of each side, `images` per call: the median over turns, after one of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return {name: images / statistics.median(values) for name, values in seconds.items()}


def run_rates(runs: Mapping[str, Run], images: np.ndarray, repeats: int = REPEATS) -> dict[str, float]:
    """`rates` of functions of the same images."""
    return rates({name: functools.partial(run, images) for name, run in runs.items()}, len(images), repeats)

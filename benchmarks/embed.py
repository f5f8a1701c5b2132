"""Embedding images: inference/embedder.py against the plain graph (PReLU as LeakyReLU), and against onnxruntime.

A turn embeds 64 images. The plain side is MXNet's executor over batches of 32, with everything that it optimises by
itself; both MXNet sides take bytes and turn them into floats. onnxruntime gets prepared floats, and the faster of
batches of 8 and 32 counts. All three must give the same embeddings.
"""
from __future__ import annotations

import functools
import statistics
from typing import Callable, Iterator

import mxnet as mx
import numpy as np

import symbols
from benchmarks.harness import speed_ratios, take_turns
from benchmarks.onnx_side import MISSING, onnx_forward
from benchmarks.table import NETWORKS, SIDE, Row
from inference.embedder import Embedder
from symbols.graph import prelu_slopes

IMAGES, BATCH = 64, 32
OURS, PLAIN = "ours", "plain"
MUST = {"MobileFaceNet": 3.4, "LResNet18E": 1.5}


def draw_parameters(symbol: mx.sym.Symbol) -> tuple[dict[str, mx.nd.NDArray], dict[str, mx.nd.NDArray]]:
    """Arguments and auxiliary states as a trained network might have them, some slopes above 1 and below 0."""
    random, slopes = np.random.RandomState(0), set(prelu_slopes(symbol))
    shapes, _, states = symbol.infer_shape(data=(1, 3, SIDE, SIDE))

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name in slopes:
            return random.uniform(-1, 1.3, shape)
        if name.endswith(("_gamma", "_var")):
            return random.uniform(0.5, 1.5, shape)
        return random.normal(0, 0.1 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[1:])), shape)
    arguments, auxiliary = (
        {name: mx.nd.array(draw(name, shape)) for name, shape in zip(names, given) if name != "data"}
        for names, given in ((symbol.list_arguments(), shapes), (symbol.list_auxiliary_states(), states)))
    return arguments, auxiliary


def sides(network: str, images: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """The functions that embed `images`, by side."""
    symbol = symbols.build(*NETWORKS[network])
    arguments, auxiliary = draw_parameters(symbol)
    embedder = Embedder(symbol, arguments, auxiliary, [mx.cpu()], BATCH, (SIDE, SIDE))
    batches = [images[first:first + BATCH] for first in range(0, len(images), BATCH)]
    bound = symbol.simple_bind(mx.cpu(), grad_req="null", data=(BATCH, 3, SIDE, SIDE))
    bound.copy_params_from(arguments, auxiliary)

    def plain(batch: np.ndarray) -> np.ndarray:
        data = mx.nd.array(batch, dtype=np.uint8).transpose((0, 3, 1, 2)).astype(np.float32)
        return bound.forward(is_train=False, data=data)[0].asnumpy()
    made: dict[str, Callable[[], np.ndarray]] = {
            PLAIN: lambda: np.concatenate([plain(batch) for batch in batches]),
            OURS: lambda: np.concatenate([part[0] for part in embedder.embed(batches)])}
    floats = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
    try:
        forward = onnx_forward(symbol, {**arguments, **auxiliary}, (BATCH, 3, SIDE, SIDE))
    except ImportError:
        print(MISSING)
        return made

    def in_batches(size: int) -> np.ndarray:
        return np.concatenate([forward(floats[first:first + size]) for first in range(0, len(floats), size)])
    for size in (8, BATCH):
        made[f"onnxruntime, batches of {size}"] = functools.partial(in_batches, size)
    return made


def rows(repeats: int) -> Iterator[Row]:
    """Both rows of each network: against the plain graph and, where it is installed, against onnxruntime."""
    images = np.random.RandomState(1).randint(0, 256, (IMAGES, SIDE, SIDE, 3)).astype(np.uint8)
    for network in NETWORKS:
        functions = sides(network, images)
        expected = functions[PLAIN]()
        for name, function in functions.items():
            if np.abs(function() - expected).max() > 1e-4 * np.abs(expected).max():
                raise RuntimeError(f"{network}: {name} does not give the plain graph's embeddings")
        seconds = take_turns(functions, repeats)
        rate = {name: IMAGES / statistics.median(values) for name, values in seconds.items()}
        yield Row(f"embedding, {network}", speed_ratios(seconds, PLAIN, OURS), MUST[network], None,
                  f"{rate[OURS]:.1f} against {rate[PLAIN]:.1f} images/s")
        others = [name for name in rate if name not in (OURS, PLAIN)]
        if others:
            best = max(others, key=lambda name: rate[name])
            told = ", ".join(f"{rate[name]:.1f} ({name})" for name in others)
            yield Row(f"embedding, {network}, of onnxruntime", speed_ratios(seconds, best, OURS), None,
                      1 / 1.2, f"{rate[OURS]:.1f} against {told} images/s")

"""Runtimes of a deployed model: plain MXNet, slim, and this project's embedder; onnxruntime in float and in 8 bits.

A turn embeds 32 images with each. Plain MXNet is `mx.model.load_checkpoint` and bind, of the checkpoint and of what
`deploy export --slim` makes of it, batches of 32; `Embedder` and `OnnxEmbedder` are what the commands use. All but the
8-bit one must give the same embeddings. Weights are random, so the cosine of 8 bits does not apply to a trained model.
"""
from __future__ import annotations

import functools
import statistics
from typing import Callable, Iterator

import mxnet as mx
import numpy as np

import symbols
from benchmarks.embed import draw_parameters
from benchmarks.harness import speed_ratio, take_turns
from benchmarks.table import NETWORKS, SIDE
from deploy.agreement import draw_images
from deploy.checkpoint import Checkpoint
from deploy.eight_bit import has_vnni, quantise
from deploy.slim import size_of, slim
from deploy.speed import bound_mxnet
from inference.embedder import Embedder
from inference.onnx_embedder import OnnxEmbedder
from symbols.onnx_export import to_onnx

IMAGES, CALIBRATION = 32, 32
PLAIN, SLIM, OURS, FLOAT, EIGHT = "plain MXNet", "plain MXNet, slim", "Embedder", "onnxruntime", "onnxruntime, 8 bits"
HEAD = "| network | computed by | images/s | times plain MXNet | times onnxruntime | MiB | cosine to plain MXNet |"
MIB = 1 << 20


def lines(repeats: int) -> Iterator[str]:
    """The table, row by row."""
    yield f"this CPU has {'' if has_vnni() else 'no '}VNNI\n"
    yield HEAD
    yield "|---|---|---|---|---|---|---|"
    for network in NETWORKS:
        sides, sizes = _sides(network)
        expected = sides[PLAIN]()
        cosines = {name: _cosine(expected, side()) for name, side in sides.items()}
        wrong = [name for name, cosine in cosines.items() if cosine < 1 - 1e-6 and name != EIGHT]
        if wrong:
            raise RuntimeError(f"{network}: {wrong[0]} does not give the plain graph's embeddings")
        seconds = take_turns(sides, repeats)
        for name in sides:
            yield (f"| {network} | {name} | {IMAGES / statistics.median(seconds[name]):.1f} | "
                   f"{speed_ratio(seconds, PLAIN, name):.2f} | {speed_ratio(seconds, FLOAT, name):.2f} | "
                   f"{sizes[name] / MIB:.1f} | {cosines[name]:.4f} |")


def _sides(network: str) -> tuple[dict[str, Callable[[], np.ndarray]], dict[str, int]]:
    """The embedding functions by name, and the size of each model's file."""
    symbol = symbols.build(*NETWORKS[network])
    arguments, auxiliary = draw_parameters(symbol)
    emb_size = int(symbol.infer_shape(data=(1, 3, SIDE, SIDE))[1][0][1])
    whole = Checkpoint(network, "", "fc1", symbol, arguments, auxiliary, (SIDE, SIDE), emb_size)
    small, _ = slim(whole)
    float_ = to_onnx(symbol, whole.parameters, (1, 3, SIDE, SIDE)).SerializeToString()
    eight = quantise(float_, draw_images(CALIBRATION, (SIDE, SIDE), 1), draw_images(16, (SIDE, SIDE), 2)).content
    data = draw_images(IMAGES, (SIDE, SIDE))
    images = data.transpose(0, 2, 3, 1).astype(np.uint8)
    plain, slimmed = (bound_mxnet(one.symbol, one.arguments, one.auxiliary, data.shape) for one in (whole, small))
    embedders: dict[str, Embedder | OnnxEmbedder] = {
        OURS: Embedder(symbol, arguments, auxiliary, [mx.cpu()], IMAGES, (SIDE, SIDE)),
        FLOAT: OnnxEmbedder(float_, IMAGES), EIGHT: OnnxEmbedder(eight, IMAGES)}
    sides: dict[str, Callable[[], np.ndarray]] = {PLAIN: lambda: plain(data), SLIM: lambda: slimmed(data)}
    for name, embedder in embedders.items():
        sides[name] = functools.partial(_embed, embedder, images)
    return sides, {PLAIN: size_of(whole), SLIM: size_of(small), OURS: size_of(whole), FLOAT: len(float_),
                   EIGHT: len(eight)}


def _embed(embedder: Embedder | OnnxEmbedder, images: np.ndarray) -> np.ndarray:
    return next(embedder.embed([images]))[0]


def _cosine(expected: np.ndarray, found: np.ndarray) -> float:
    """The mean over images."""
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    return float(((expected.astype(np.float64) * found).sum(axis=1) / lengths).mean())

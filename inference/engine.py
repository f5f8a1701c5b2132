"""Chooses the library that computes a checkpoint's embeddings: MXNet, or onnxruntime on the graph converted to ONNX."""
from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Mapping, Sequence, Union

import numpy as np

from common.errors import UserError
from inference.onnx_embedder import OnnxEmbedder

if TYPE_CHECKING:
    import mxnet as mx

    from inference.embedder import Embedder

log = logging.getLogger(__name__)
ENGINES = ("auto", "mxnet", "onnx")
AGREE = 1e-5  # largest difference of a component of a unit-length embedding
IMAGES, TURNS = 32, 3
AnyEmbedder = Union["Embedder", OnnxEmbedder]


def open_engine(engine: str, symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                auxiliary: Mapping[str, mx.nd.NDArray], devices: Sequence[mx.Context], batch_size: int,
                image_size: tuple[int, int]) -> AnyEmbedder:
    """A checkpoint ready to embed by `engine`, one of ENGINES.

    auto: on CPUs the one that is faster on synthetic images here, if both agree to 1e-5; on GPUs MXNet. UserError where
    the parameters do not fit the network at this image size, or `onnx` is required and the network cannot be converted.
    """
    from inference.embedder import Embedder  # imports MXNet, which takes seconds

    if engine == "mxnet" or engine == "auto" and any(device.device_type != "cpu" for device in devices):
        return Embedder(symbol, arguments, auxiliary, devices, batch_size, image_size)
    ours = Embedder(symbol, arguments, auxiliary, devices, batch_size, image_size)  # which also checks the parameters
    try:
        from symbols.onnx_export import to_onnx  # needs onnx, which embedding by MXNet does not

        content = to_onnx(symbol, {**arguments, **auxiliary}, (1, 3, *ours.image_size)).SerializeToString()
        theirs = OnnxEmbedder(content, batch_size)
    except (ImportError, ValueError, UserError) as error:
        if engine == "onnx":
            raise UserError(f"`engine` onnx: {error}; `engine` mxnet computes it") from None
        log.info("engine: MXNet (the network cannot be converted to ONNX: %s)", error)
        return ours
    return theirs if engine == "onnx" else faster(ours, theirs)


def faster(ours: Embedder, theirs: OnnxEmbedder) -> AnyEmbedder:
    """The faster engine; `ours` where they do not agree to 1e-5."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (min(IMAGES, ours.batch_size), *ours.image_size, 3)).astype(np.uint8)
    sides: tuple[AnyEmbedder, AnyEmbedder] = (ours, theirs)
    found: list[np.ndarray] = []
    seconds: list[list[float]] = [[], []]
    for turn in range(TURNS + 1):
        for place, embedder in enumerate(sides):
            began = time.perf_counter()
            (views,) = embedder.embed([images])
            if turn:
                seconds[place].append(time.perf_counter() - began)
            else:  # a warm-up, whose embeddings are compared
                found.append(views[0] / np.maximum(np.linalg.norm(views[0], axis=1, keepdims=True), 1e-30))
    apart = float(np.abs(found[0] - found[1]).max())
    rates = [len(images) / min(times) for times in seconds]
    if not apart <= AGREE:  # NaN too
        log.warning("engine: MXNet; onnxruntime's embeddings differ by %.1e, more than %g", apart, AGREE)
        return ours
    chosen = int(rates[1] > rates[0])
    log.info("engine: %s (MXNet %.0f, onnxruntime %.0f images/s here; they differ by %.0e)",
             ("MXNet", "onnxruntime")[chosen], *rates, apart)
    return sides[chosen]

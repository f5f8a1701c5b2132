"""Cross-layer equalisation: brings the channels of a map to similar ranges before quantisation, exactly.

A map's channels share one 8-bit scale. Where one is a hundred times as wide as another, the narrow one keeps two or
three levels: MobileFaceNet's maps are like that. PReLU and ReLU are positively homogeneous, f(s x) = s f(x) for s > 0,
so the producer of a channel may be scaled up by s and the weights that consume it down by s (cross-layer equalisation,
arXiv:1906.04721). Weights of a depthwise convolution have a scale for each channel and are not affected; those of
others share one for each output, so the compromise s = sqrt is best for both.
"""
from __future__ import annotations

from typing import Any, Dict, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HOMOGENEOUS = ("PRelu", "Relu", "LeakyRelu")
WIDEST = 1000.0  # largest factor of a channel
BATCH = 8
Arrays = Dict[str, np.ndarray]


class Link(NamedTuple):
    """maker: the producer of a map, a Conv or a BatchNormalization; value: the map's name at its consumer; taker: the
    Conv that is its only consumer."""

    maker: Any
    value: str
    taker: Any


def equalise(model: onnx.ModelProto, images: np.ndarray) -> int:
    """Scale channels of `model`, in place, by their ranges on (n, 3, H, W) images; how many maps were."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    links = _links(model, set(stored))
    ranges = _ranges(model, [link.value for link in links], images)
    for link in links:
        widths = ranges[link.value]
        weight = numpy_helper.to_array(stored[link.taker.input[1]])
        depthwise = weight.shape[1] == 1 and weight.shape[0] == len(widths)
        widest = float(widths.max())
        if widest <= 0:
            continue
        scale = (widest / np.maximum(widths, widest * 1e-9)) ** (1.0 if depthwise else 0.5)
        scale = np.minimum(scale, WIDEST).astype(np.float32)
        for name in link.maker.input[1:3]:
            array = numpy_helper.to_array(stored[name])
            _set(stored[name], array * scale.reshape(-1, *[1] * (array.ndim - 1)))
        _set(stored[link.taker.input[1]], weight / scale.reshape((-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)))
    return len(links)


def _links(model: onnx.ModelProto, stored: set[str]) -> list[Link]:
    makers = {name: node for node in model.graph.node for name in node.output}
    takers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)

    def ours(names: list[str]) -> bool:
        return all(name in stored and len(takers[name]) == 1 for name in names)
    found = []
    outputs = {value.name for value in model.graph.output}
    for taker in model.graph.node:
        if taker.op_type != "Conv" or not ours(taker.input[1:2]):
            continue
        filters, inputs = _filters(model, taker)
        if _groups(taker) != 1 and (_groups(taker), 1) != (filters, inputs):
            continue
        value = taker.input[0]
        maker = makers.get(value)
        between = [value]
        if maker is not None and maker.op_type in HOMOGENEOUS:
            between.append(maker.input[0])
            maker = makers.get(maker.input[0])
        if (maker is not None and maker.op_type in ("Conv", "BatchNormalization") and ours(maker.input[1:3])
                and all(len(takers[name]) == 1 and name not in outputs for name in between)):
            found.append(Link(maker, value, taker))
    return found


def _groups(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _filters(model: onnx.ModelProto, node: Any) -> tuple[int, int]:
    """How many filters a convolution has, and of how many channels each."""
    return next((tensor.dims[0], tensor.dims[1]) for tensor in model.graph.initializer if tensor.name == node.input[1])


def _ranges(model: onnx.ModelProto, names: list[str], images: np.ndarray) -> Arrays:
    """(C,) of each map, the largest absolute value of every channel."""
    import onnxruntime

    if not names:
        return {}
    telling = onnx.ModelProto()
    telling.CopyFrom(model)
    telling.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(telling.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ranges: Arrays = {}
    for first in range(0, len(images), BATCH):
        found = session.run(names, {model.graph.input[0].name: images[first:first + BATCH]})
        for name, array in zip(names, found):
            widths = np.abs(array).max(axis=(0, 2, 3))
            ranges[name] = np.maximum(ranges[name], widths) if name in ranges else widths
    return ranges


def _set(tensor: Any, array: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), tensor.name))

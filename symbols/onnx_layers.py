"""The layers of networks in ONNX's operators: convolution, BatchNorm, products, activations, pooling.

Each is a function from an MXNet node to its output value; ValueError, in a few words, where ONNX has no equivalent.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from symbols.onnx_writer import Context, Value


def convolution(node: Context) -> Value:
    """Convolution, grouped and dilated too."""
    if node.get("layout") not in (None, "None", "NCHW"):
        raise ValueError("is not NCHW")
    pad = node.pair("pad", 0)
    return node.value(node.add("Conv", node.names(), kernel_shape=node.pair("kernel", 1), pads=pad + pad,
                               strides=node.pair("stride", 1), dilations=node.pair("dilate", 1),
                               group=int(node.get("num_group", 1))))


def batch_norm(node: Context) -> Value:
    """BatchNorm with its running statistics; a fixed gamma counts as 1."""
    if node.get("axis", 1) != 1:
        raise ValueError("is not over axis 1")
    names = node.names()
    if node.get("fix_gamma", True):
        names[1] = node.as_parameter(1, np.ones_like(node.parameter(1)))
    return node.value(node.add("BatchNormalization", names, epsilon=float(node.get("eps", 1e-3))))


def fully_connected(node: Context) -> Value:
    """Fully connected: a matrix product, of flattened maps or of rows."""
    names = node.names()
    if not node.get("flatten", True) and len(node.inputs[0].shape) != 2:
        weight = node.writer.constant(f"{node.name}_transposed", node.parameter(1).T)
        product = node.add("MatMul", [names[0], weight], "_product" if len(names) > 2 else "")
        return node.value(node.add("Add", [product, names[2]]) if len(names) > 2 else product)
    if len(node.inputs[0].shape) != 2:
        names[0] = node.add("Flatten", names[:1], "_flat", axis=1)
    return node.value(node.add("Gemm", names, transB=1))


def leaky_relu(node: Context) -> Value:
    """LeakyReLU's kinds; the slopes of PReLU are (C, 1, 1)."""
    kind, (name, *_) = node.get("act_type", "leaky"), node.names()
    if kind == "prelu":
        slope = node.parameter(1)
        axes = len(node.inputs[0].shape) - 2
        return node.value(node.add("PRelu", [name, node.as_parameter(1, slope.reshape(-1, *[1] * axes))]))
    if kind in ("leaky", "elu"):
        return node.value(node.add({"leaky": "LeakyRelu", "elu": "Elu"}[kind], [name],
                                   alpha=float(node.get("slope", 0.25))))
    if kind == "selu":
        return node.value(node.add("Selu", [name]))
    raise ValueError(f"has act_type {kind}")


def activation(node: Context) -> Value:
    """Activation's kinds."""
    kinds = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}
    return node.value(node.add(kinds[node.get("act_type")], node.names()))


def pooling(node: Context) -> Value:
    """Pooling, global or over a window."""
    kind = node.get("pool_type", "max")
    if kind not in ("avg", "max"):
        raise ValueError(f"has pool_type {kind}")
    if node.get("global_pool", False):
        return node.value(node.add({"avg": "GlobalAveragePool", "max": "GlobalMaxPool"}[kind], node.names()))
    pad, convention = node.pair("pad", 0), node.get("pooling_convention", "valid")
    if convention not in ("valid", "full"):
        raise ValueError(f"has pooling_convention {convention}")
    own: dict[str, Any] = {"kernel_shape": node.pair("kernel", 1), "strides": node.pair("stride", 1), "pads": pad + pad}
    if convention == "full":
        own["ceil_mode"] = 1
    if kind == "avg":
        sides = list(zip(node.inputs[0].shape[2:], pad, own["kernel_shape"], own["strides"]))
        if convention == "full" and any(-(-(length + 2 * more - size) // stride) * stride - more >= length
                                        for length, more, size, stride in sides):
            raise ValueError("averages over windows beyond the image")
        padding = node.get("count_include_pad") not in (False, 0) and any(pad)
        if padding and convention == "full" and any((length + 2 * more - size) % stride
                                                    for length, more, size, stride in sides):
            raise ValueError("averages over padding in windows beyond it")  # which runtimes count differently
        own["count_include_pad"] = int(padding)
    return node.value(node.add({"avg": "AveragePool", "max": "MaxPool"}[kind], node.names(), **own))


def l2_normalisation(node: Context) -> Value:
    """L2Normalization, over the axes of its mode."""
    axes = {"instance": list(range(1, len(node.inputs[0].shape))), "channel": [1],
            "spatial": list(range(2, len(node.inputs[0].shape)))}[node.get("mode", "instance")]
    (name,) = node.names()
    squares = node.add("ReduceSum", [node.add("Mul", [name, name], "_squares")], "_sum", axes=axes, keepdims=1)
    length = node.add("Sqrt", [node.add("Add", [squares, node.number(float(node.get("eps", 1e-10)))], "_above_0")],
                      "_length")
    return node.value(node.add("Div", [name, length]))


def clip(node: Context) -> Value:
    """Clip between two bounds."""
    bounds = [node.writer.constant(f"{node.name}_{key}", np.array(float(node.get(key)), np.float32))
              for key in ("a_min", "a_max")]
    return node.value(node.add("Clip", [*node.names(), *bounds]))

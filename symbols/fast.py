"""The same network, faster on CPUs, with the same parameters.

MXNet's PReLU is the hot spot there: it leaves oneDNN's blocked layout and runs scalar code. But

    prelu(x) = a * x + (1 - a) * relu(x)

is exact, and each term is a depthwise 1x1 convolution, which stays in the layout (`python -m benchmarks.prelu`). The
slope keeps its name and its shape (C,), so that checkpoints are those of the plain graph.

It is also right where MXNet's is not: that one may write over its own input, and the gradient it then gives to the
slope is slope times the true one (seen on CPUs in MobileFaceNet's last PReLU, with the heads FC, GAP and GNAP).
"""
from __future__ import annotations

from typing import Sequence

import mxnet as mx

from symbols.graph import Entry, Graph, Node, is_on, is_prelu, rewrite
from symbols.shapes import infer_shapes
from symbols.symbol_utils import PRELU_SLOPE


def for_devices(symbol: mx.sym.Symbol, data_shape: tuple[int, ...], devices: Sequence[mx.Context]) -> mx.sym.Symbol:
    """What is to run of `symbol` on `devices`: its fast form where all of them are CPUs."""
    if all(device.device_type == "cpu" for device in devices):
        return accelerate(symbol, data_shape)
    return symbol


def accelerate(symbol: mx.sym.Symbol, data_shape: tuple[int, ...]) -> mx.sym.Symbol:
    """`symbol` with every PReLU over a map as two depthwise convolutions; data_shape: (N, 3, H, W), any N.

    The variables of the result say their shapes, since MXNet cannot infer those of slopes through a reshape.
    """
    shapes = infer_shapes(symbol, data_shape)

    def replace(graph: Graph, node: Node) -> Entry | None:
        name = node["name"]
        if node["op"] == "null" and name != "data":
            node.setdefault("attrs", {})["__shape__"] = str(tuple(shapes[name]))
        shape = shapes.get(f"{name}_output", ())
        if not is_prelu(node) or len(shape) != 4:
            return None
        data, slope = node["inputs"]
        # Where an initializer looks, since it can no longer tell a slope by its operator.
        graph.nodes[slope[0]]["attrs"]["__init__"] = mx.init.Constant(PRELU_SLOPE).dumps()
        depthwise = dict(num_filter=shape[1], num_group=shape[1], kernel=(1, 1), no_bias=True)
        slope = graph.add("Reshape", f"{name}_slope", [slope], shape=(-1, 1, 1, 1))
        rest = graph.add("_rminus_scalar", f"{name}_rest", [slope], scalar=1)
        positive = graph.add("Activation", f"{name}_positive", [data], act_type="relu")
        line = graph.add("Convolution", f"{name}_line", [data, slope], **depthwise)
        bend = graph.add("Convolution", f"{name}_bend", [positive, rest], **depthwise)
        return graph.add("elemwise_add", name, [line, bend])
    return rewrite(symbol, replace)


def flatten_inputs(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """`symbol` with a Flatten before every FullyConnected, which flattens its input anyway; the values are the same.

    Without it, MXNet 1.9.1 ends the second forward pass in inference mode of foreign checkpoints such as InsightFace's
    y1 (`Check failed: !IsMKLDNNData()`).
    """
    def replace(graph: Graph, node: Node) -> Entry | None:
        if node["op"] == "FullyConnected" and is_on(node, "flatten"):
            node["inputs"][0] = graph.add("Flatten", f"{node['name']}_flat_input", [node["inputs"][0]])
        return None
    return rewrite(symbol, replace)

"""The training form of a network on CPUs: the same function and parameters, faster.

MXNet's PReLU is the bottleneck there: it leaves oneDNN's blocked layout and runs scalar code. Three exact forms stay in
it, with z = -x:

    prelu(x) = a * x + (1 - a) * relu(x)   each term a depthwise 1x1 convolution
    -prelu(x) = z + (a - 1) * relu(z)      one depthwise convolution, where signs may be flipped
    prelu(x) = x + (1 - a) * relu(z)       one, behind a BatchNorm

The second needs -x, which a BatchNorm in front gives with its gamma and beta negated, and convolutions behind that take
the negated result, with their weights negated. Most PReLUs of these networks are placed so. The third takes z of a
second BatchNorm of the same map. Both write, read and keep for the backward pass one map fewer than the first (`python
-m benchmarks training`, `python -m benchmarks memory`). The slope keeps its name and its shape (C,), as all parameters
do, so that checkpoints are those of the plain graph.

It is also correct where MXNet's is not: that one may overwrite its own input, and its gradient of the slope is then
slope times the true one (seen on CPUs in MobileFaceNet's last PReLU, with the heads FC, GAP and GNAP). So GPUs train on
the plain graph where their gradient of slopes is right (`symbols.prelu_check` tests each), else on this form.
"""
from __future__ import annotations

import json
import logging
from typing import Sequence

import mxnet as mx

from symbols.graph import Entry, Graph, Node, consumers, is_on, is_prelu, prelu_slopes, rewrite, to_json
from symbols.prelu_check import slope_gradients_hold
from symbols.shapes import infer_shapes
from symbols.symbol_utils import PRELU_SLOPE

log = logging.getLogger(__name__)


def for_devices(symbol: mx.sym.Symbol, data_shape: tuple[int, ...], devices: Sequence[mx.Context]) -> mx.sym.Symbol:
    """The form of `symbol` to run on `devices`: the fast one where all of them are CPUs."""
    if all(device.device_type == "cpu" for device in devices):
        return accelerate(symbol, data_shape)
    return symbol


def for_training(symbol: mx.sym.Symbol, data_shape: tuple[int, ...], devices: Sequence[mx.Context]) -> mx.sym.Symbol:
    """The form of `symbol` to train on `devices`: on CPUs the fast one; on GPUs the plain one.

    Where a GPU computes a wrong gradient of PReLU slopes, the fast form, which is exact, is used there as well.
    """
    running = for_devices(symbol, data_shape, devices)
    if running is not symbol or not prelu_slopes(symbol):
        return running
    wrong = [f"{device.device_type}:{device.device_id}" for device in devices if not slope_gradients_hold(device)]
    if not wrong:
        return symbol
    log.info("%s: MXNet's PReLU computes a wrong gradient of its slopes there; convolutions are used instead",
             ", ".join(wrong))
    return accelerate(symbol, data_shape)


def accelerate(symbol: mx.sym.Symbol, data_shape: tuple[int, ...]) -> mx.sym.Symbol:
    """`symbol` with every PReLU over a map as depthwise convolutions; data_shape: (N, 3, H, W), any N.

    The variables of the result have explicit shapes, since MXNet cannot infer those of slopes through a reshape.
    """
    shapes = infer_shapes(symbol, data_shape)
    maps = {name[:-len("_output")] for name, shape in shapes.items() if name.endswith("_output") and len(shape) == 4}
    turned = _turned(symbol, maps)

    def replace(graph: Graph, node: Node) -> Entry | None:
        name = node["name"]
        if node["op"] == "null" and name != "data":
            node.setdefault("attrs", {})["__shape__"] = str(tuple(shapes[name]))
        for place in turned.get(name, ()):
            node["inputs"][place] = graph.add("negative", f"{name}_turned{place}", [node["inputs"][place]])
        if not is_prelu(node) or name not in maps:
            return None
        # For the initializer, which can no longer recognise a slope by its operator.
        graph.nodes[node["inputs"][1][0]]["attrs"]["__init__"] = mx.init.Constant(PRELU_SLOPE).dumps()
        return _depthwise(graph, node, shapes[f"{name}_output"][1], name in turned)
    return rewrite(symbol, replace)


def _opposite(graph: Graph, norm: Node, name: str) -> Entry:
    """The negated map of BatchNorm `norm`, without another map to keep for the backward pass.

    A momentum of 1 leaves the running statistics, which both share, to `norm`.
    """
    data, gamma, beta, *statistics = norm["inputs"]
    gamma, beta = (graph.add("negative", f"{name}_{which}", [entry])
                   for which, entry in (("gamma", gamma), ("beta", beta)))
    return graph.add("BatchNorm", name, [data, gamma, beta, *statistics], **{**norm["attrs"], "momentum": 1})


def _depthwise(graph: Graph, node: Node, channels: int, is_turned: bool) -> Entry:
    name, (data, slope) = node["name"], node["inputs"]
    depthwise = dict(num_filter=channels, num_group=channels, kernel=(1, 1), no_bias=True)
    slope = graph.add("Reshape", f"{name}_slope", [slope], shape=(-1, 1, 1, 1))
    norm = graph.nodes[data[0]]
    has_opposite = not is_turned and norm["op"] == "BatchNorm" and not is_on(norm, "fix_gamma")
    bent = _opposite(graph, norm, f"{name}_opposite") if has_opposite else data
    positive = graph.add("Activation", f"{name}_positive", [bent], act_type="relu")
    rest = graph.add("_minus_scalar" if is_turned else "_rminus_scalar", f"{name}_rest", [slope], scalar=1)
    bend = graph.add("Convolution", f"{name}_bend", [positive, rest], **depthwise)
    if is_turned or has_opposite:
        # Not elemwise_add: MXNet's inference pass would fuse that with the convolution in front, and lose the relu.
        return graph.add("add_n", name, [data, bend], num_args=2)
    line = graph.add("Convolution", f"{name}_line", [data, slope], **depthwise)
    return graph.add("elemwise_add", name, [line, bend])


def _turned(symbol: mx.sym.Symbol, maps: set[str]) -> dict[str, tuple[int, ...]]:
    """By name, which inputs of a node are negated so that the PReLUs between them take and give negated maps.

    The PReLUs themselves are among the names, with none. maps: the nodes whose output is (N, C, H, W).
    """
    nodes = json.loads(to_json(symbol))["nodes"]
    users = consumers(symbol)
    turned: dict[str, tuple[int, ...]] = {}
    for number, node in enumerate(nodes):
        if not is_prelu(node) or node["name"] not in maps:
            continue
        before = nodes[node["inputs"][0][0]]
        if before["op"] != "BatchNorm" or is_on(before, "fix_gamma") or users[node["inputs"][0][0]] != [number]:
            continue
        behind = [nodes[user] if user is not None else None for user in users[number]]
        if all(user is not None and user["op"] == "Convolution" and user["inputs"][0][0] == number for user in behind):
            turned.update({node["name"]: (), before["name"]: (1, 2), **{user["name"]: (1,) for user in behind}})
    return turned


def flatten_inputs(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """`symbol` with a Flatten before every FullyConnected, which flattens its input anyway; the values are the same.

    Without it, MXNet 1.9.1 fails in the second forward pass in inference mode of foreign checkpoints such as
    InsightFace's y1 (`Check failed: !IsMKLDNNData()`).
    """
    def replace(graph: Graph, node: Node) -> Entry | None:
        if node["op"] == "FullyConnected" and is_on(node, "flatten"):
            node["inputs"][0] = graph.add("Flatten", f"{node['name']}_flat_input", [node["inputs"][0]])
        return None
    return rewrite(symbol, replace)

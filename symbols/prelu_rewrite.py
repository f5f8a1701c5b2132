"""The training form of a network on CPUs: the same function and parameters, faster and in less memory.

MXNet's PReLU is the bottleneck there: it leaves oneDNN's blocked layout and runs scalar code. Three exact forms stay in
it:

    s * prelu(x) = BN(c; s a gamma, s a beta) + relu(BN(c; (s - s a) gamma, (s - s a) beta))
    prelu(x) = x + (1 - a) * relu(BN(c; -gamma, -beta))
    prelu(x) = a * x + (1 - a) * relu(x)

the first two behind a BatchNorm, x = BN(c; gamma, beta).

In the first of them the sign s is 1 where a <= 1 and -1 where a > 1, by channel: s - s a is |1 - a|, which passes a
ReLU. So it gives the map with the signs s, which only convolutions take, with the signs in their weights. Most PReLUs
of these networks are placed so. Factors 1 - a and a in the others are depthwise 1x1 convolutions. Nothing is kept for
the backward pass in the first but the input and the result (`python -m benchmarks training`, `python -m benchmarks
memory`): a BatchNorm keeps its input, and with a ReLU as one operator the signs of its output (`symbols.fused_norm`).
The slope keeps its name and its shape (C,), as all parameters do, so that checkpoints are those of the plain graph.

It is also correct where MXNet's is not: that one may overwrite its own input, and its gradient of the slope is then
slope times the true one (seen on CPUs in MobileFaceNet's last PReLU, with the heads FC, GAP and GNAP). So GPUs train on
the plain graph where their gradient of slopes is right (`symbols.prelu_check` tests each), else on this form.
"""
from __future__ import annotations

import json
import logging
from typing import Sequence

import mxnet as mx

from symbols.fused_norm import add_norm_with_relu, in_blocks, is_available
from symbols.graph import (
    Entry,
    Graph,
    Node,
    consumers,
    groups_of,
    is_depthwise,
    is_on,
    is_prelu,
    prelu_slopes,
    rewrite,
    to_json,
)
from symbols.prelu_check import slope_gradients_hold
from symbols.shapes import infer_shapes
from symbols.symbol_utils import PRELU_SLOPE

log = logging.getLogger(__name__)
LEAST = 1e-12  # in place of 1 - a = 0: far below the rounding of any other 1 - a, and relu has a gradient there


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
    return accelerate(symbol, data_shape, fused=False)


def accelerate(symbol: mx.sym.Symbol, data_shape: tuple[int, ...], fused: bool | None = None) -> mx.sym.Symbol:
    """`symbol` with every PReLU over a map in one of the exact forms; data_shape: (N, 3, H, W), any N.

    fused: BatchNorm with ReLU as one operator; by default where MXNet has it. The variables of the result have explicit
    shapes, since MXNet cannot infer those of slopes through a reshape.
    """
    shapes = infer_shapes(symbol, data_shape)
    maps = {name[:-len("_output")] for name, shape in shapes.items() if name.endswith("_output") and len(shape) == 4}
    takers = _takers_of_signs(symbol, maps, shapes)
    whole = _in_blocks(symbol, shapes)
    if whole and not (is_available() if fused is None else fused):
        whole = set()
    signs: dict[str, Entry] = {}  # by PReLU

    def replace(graph: Graph, node: Node) -> Entry | None:
        name = node["name"]
        if node["op"] == "null" and name != "data":
            node.setdefault("attrs", {})["__shape__"] = str(tuple(shapes[name]))
        if name in takers:
            node["inputs"][1] = _with_signs(graph, node, signs[takers[name]], shapes)
        if not is_prelu(node) or name not in maps:
            return None
        # For the initializer, which can no longer recognise a slope by its operator.
        graph.nodes[node["inputs"][1][0]]["attrs"]["__init__"] = mx.init.Constant(PRELU_SLOPE).dumps()
        if name in takers.values():
            result, signs[name] = _two_norms(graph, node, name in whole)
            return result
        return _depthwise(graph, node, shapes[f"{name}_output"][1], name in whole)
    return rewrite(symbol, replace)


def _two_norms(graph: Graph, node: Node, fused: bool) -> tuple[Entry, Entry]:
    """A PReLU behind a BatchNorm as the sum of two, and its (C,) signs."""
    name, (data, slope) = node["name"], node["inputs"]
    norm = graph.nodes[data[0]]
    source, gamma, beta, *statistics = norm["inputs"]
    convex = graph.add("_lesser_equal_scalar", f"{name}_convex", [slope], scalar=1)
    doubled = graph.add("_mul_scalar", f"{name}_doubled", [convex], scalar=2)
    sign = graph.add("BlockGrad", f"{name}_sign", [graph.add("_minus_scalar", f"{name}_signs", [doubled], scalar=1)])
    line = graph.add("elemwise_mul", f"{name}_line", [sign, slope])
    bend = graph.add("_plus_scalar", f"{name}_bend", [graph.add("elemwise_sub", f"{name}_rest", [sign, line])],
                     scalar=LEAST)

    # Gamma itself: with beta as an input of it, parameters keep the order that they have in the plain graph.
    gamma = graph.add("_identity_with_attr_like_rhs", f"{name}_ordered", [gamma, beta])

    # Not stacked for one product: broadcast_mul and slicing take ten times as long as products of small arrays.
    def scaled(factor: Entry) -> list[Entry]:
        label = graph.nodes[factor[0]]["name"]
        return [source, *(graph.add("elemwise_mul", f"{label}_{which}", [entry, factor])
                          for which, entry in (("gamma", gamma), ("beta", beta))), *statistics]

    # This takes the place of norm, which no node uses any more.
    straight = graph.add("BatchNorm", norm["name"], scaled(line), **norm["attrs"])
    bent = add_norm_with_relu(graph, f"{name}_positive", norm, scaled(bend), fused)
    return graph.add("add_n", name, [straight, bent], num_args=2), sign


def _with_signs(graph: Graph, node: Node, sign: Entry, shapes: dict[str, tuple[int, ...]]) -> Entry:
    """The weight of a convolution over a map with signs.

    Its gradient is computed as fast only by elemwise_mul: broadcast_mul takes 25 ns a weight for the signs', which are
    not needed.
    """
    name, weight = node["name"], node["inputs"][1]
    shape = tuple(shapes[graph.nodes[weight[0]]["name"]])
    column = graph.add("Reshape", f"{name}_column", [sign],
                       shape=(-1, 1, 1, 1) if is_depthwise(node) else (1, -1, 1, 1))
    wide = graph.add("broadcast_to", f"{name}_signs", [column], shape=shape)
    return graph.add("elemwise_mul", f"{name}_signed", [weight, wide])


def _depthwise(graph: Graph, node: Node, channels: int, fused: bool) -> Entry:
    name, (data, slope) = node["name"], node["inputs"]
    depthwise = dict(num_filter=channels, num_group=channels, kernel=(1, 1), no_bias=True)
    slope = graph.add("Reshape", f"{name}_slope", [slope], shape=(-1, 1, 1, 1))
    norm = graph.nodes[data[0]]
    behind = _is_free_norm(norm)
    if behind:
        source, gamma, beta, *statistics = norm["inputs"]
        turned = [graph.add("negative", f"{name}_{which}", [entry]) for which, entry in (("gamma", gamma),
                                                                                       ("beta", beta))]
        positive = add_norm_with_relu(graph, f"{name}_positive", norm, [source, *turned, *statistics], fused)
    else:
        positive = graph.add("Activation", f"{name}_positive", [data], act_type="relu")
    rest = graph.add("_rminus_scalar", f"{name}_rest", [slope], scalar=1)
    bend = graph.add("Convolution", f"{name}_bend", [positive, rest], **depthwise)
    if behind:
        # Not elemwise_add: MXNet's inference pass would fuse that with the convolution in front, and lose the relu.
        return graph.add("add_n", name, [data, bend], num_args=2)
    line = graph.add("Convolution", f"{name}_line", [data, slope], **depthwise)
    return graph.add("elemwise_add", name, [line, bend])


def _in_blocks(symbol: mx.sym.Symbol, shapes: dict[str, tuple[int, ...]]) -> set[str]:
    """The PReLUs behind a convolution and a BatchNorm whose maps are in oneDNN's blocks: so are those of that
    convolution and of all that follow."""
    nodes = json.loads(to_json(symbol))["nodes"]
    users = consumers(symbol)

    def blocked(node: Node) -> bool:
        return node["op"] == "Convolution" and in_blocks(node, shapes[nodes[node["inputs"][1][0]]["name"]])

    found = set()
    for number, node in enumerate(nodes):
        if not is_prelu(node):
            continue
        norm = nodes[node["inputs"][0][0]]
        behind = [nodes[user] for user in users[number] if user is not None]
        if (norm["op"] == "BatchNorm" and blocked(nodes[norm["inputs"][0][0]])
                and all(blocked(user) for user in behind if user["op"] == "Convolution")):
            found.add(node["name"])
    return found


def _takers_of_signs(symbol: mx.sym.Symbol, maps: set[str], shapes: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """By the name of a convolution, that of the PReLU whose map it takes with signs: one that is the only consumer of a
    BatchNorm, and whose own consumers are all such convolutions. maps: the nodes whose output is (N, C, H, W)."""
    nodes = json.loads(to_json(symbol))["nodes"]
    users = consumers(symbol)
    takers: dict[str, str] = {}
    for number, node in enumerate(nodes):
        if not is_prelu(node) or node["name"] not in maps:
            continue
        before = node["inputs"][0][0]
        if not _is_free_norm(nodes[before]) or users[before] != [number]:
            continue
        channels = shapes[f"{node['name']}_output"][1]
        behind = [nodes[user] if user is not None else None for user in users[number]]
        if all(user is not None and user["inputs"][0][0] == number and _takes_signs(user, nodes, channels)
               for user in behind):
            takers.update({user["name"]: node["name"] for user in behind if user is not None})
    return takers


def _takes_signs(node: Node, nodes: Sequence[Node], channels: int) -> bool:
    """Whether signs of `channels` inputs can go into its weight, a variable of its own."""
    return (node["op"] == "Convolution" and nodes[node["inputs"][1][0]]["op"] == "null"
            and (groups_of(node) == 1 or is_depthwise(node) and groups_of(node) == channels))


def _is_free_norm(node: Node) -> bool:
    """Whether it is a BatchNorm whose gamma counts."""
    return node["op"] == "BatchNorm" and not is_on(node, "fix_gamma")


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

"""The inference form of a network: the same function, faster on CPUs, with folded parameters.

A BatchNorm behind a convolution or a fully connected layer is folded into its weights. With q = 1 - a,

    prelu(x) = a * x + relu(q * x)        where q >= 0, and with the sign s of q in general
    s * prelu(x) = s * a * x + relu(|q| * x)

so PReLU is two depthwise 1x1 convolutions, whose relu and sum oneDNN fuses; the layers that take the map behind absorb
the sign s into their weights. (Training uses the forms of `prelu_rewrite`, which keep the parameters.)
"""
from __future__ import annotations

import json
from typing import Dict, Mapping

import mxnet as mx
import numpy as np

from symbols.graph import Entry, Graph, Node, consumers, groups_of, is_depthwise, is_on, is_prelu, rewrite, to_json
from symbols.shapes import infer_shapes

Arrays = Dict[str, mx.nd.NDArray]
DENSE = ("Convolution", "FullyConnected")


def fold(symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray], auxiliary: Mapping[str, mx.nd.NDArray],
         data_shape: tuple[int, ...]) -> tuple[mx.sym.Symbol, Arrays, Arrays]:
    """Symbol, arguments and auxiliary states with the same output in inference mode, up to rounding.

    data_shape: (N, 3, H, W), any N. The inputs are not modified.
    """
    folded, values, states = fold_batch_norms(symbol, arguments, auxiliary)
    maps = {name[:-len("_output")]: shape[1] for name, shape in infer_shapes(folded, data_shape).items()
            if name.endswith("_output") and len(shape) == 4}
    return _bend_prelus(folded, values, states, maps)


def fold_batch_norms(symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                     auxiliary: Mapping[str, mx.nd.NDArray]) -> tuple[mx.sym.Symbol, Arrays, Arrays]:
    """Fold each BatchNorm that is the only consumer of a convolution or fully connected layer.

    That layer's weights and bias are scaled instead; a bias it did not have is named NAME_bias.
    """
    nodes, users = json.loads(to_json(symbol))["nodes"], consumers(symbol)
    values, states = dict(arguments), dict(auxiliary)
    dropped, biased = set(), set()
    for number, node in enumerate(nodes):
        before = node["inputs"][0][0] if node["op"] == "BatchNorm" else None
        if before is None or nodes[before]["op"] not in DENSE or users[before] != [number]:
            continue
        if nodes[before]["op"] == "FullyConnected" and not is_on(nodes[before], "flatten"):
            continue  # the BatchNorm is over another axis than the layer's outputs
        dense, names = nodes[before], [nodes[entry[0]]["name"] for entry in nodes[before]["inputs"][1:]]
        if not all(name in values and users[entry[0]] == [before]
                   for name, entry in zip(names, dense["inputs"][1:])):
            continue  # weights that are computed, or shared with another layer
        gamma, beta, mean, variance = (_double({**values, **states}[nodes[entry[0]]["name"]])
                                       for entry in node["inputs"][1:5])
        with np.errstate(invalid="ignore", divide="ignore"):  # NaN of a negative variance, which the embeddings show
            scale = 1 / np.sqrt(variance + float(node.get("attrs", {}).get("eps", 1e-3)))
        scale = scale if is_on(node, "fix_gamma") else gamma * scale
        weight = values[names[0]]
        bias = _double(values[names[1]]) if len(names) > 1 else 0.0
        values[names[0]] = _like(_double(weight) * scale.reshape((-1,) + (1,) * (weight.ndim - 1)), weight)
        values[_bias_name(dense, names)] = _like(beta + (bias - mean) * scale, weight)
        dropped.add(node["name"])
        if len(names) == 1:
            biased.add(dense["name"])

    def replace(graph: Graph, node: Node) -> Entry | None:
        if node["name"] in biased:
            node["attrs"]["no_bias"] = "False"
            node["inputs"].append(graph.variable(f"{node['name']}_bias"))
        return node["inputs"][0] if node["name"] in dropped else None
    return _with_own(rewrite(symbol, replace), values, states)


def _bend_prelus(symbol: mx.sym.Symbol, arguments: Arrays, states: Arrays,
                 maps: Mapping[str, int]) -> tuple[mx.sym.Symbol, Arrays, Arrays]:
    nodes, users = json.loads(to_json(symbol))["nodes"], consumers(symbol)
    values, bent = dict(arguments), set()
    for number, node in enumerate(nodes):
        if not (is_prelu(node) and node["name"] in maps and nodes[node["inputs"][1][0]]["name"] in values):
            continue
        slope = np.broadcast_to(_double(values[nodes[node["inputs"][1][0]]["name"]]), (maps[node["name"]],))
        sign = np.where(slope > 1, -1.0, 1.0)
        weights = _weights_behind(nodes, users, number, values)
        if (sign > 0).all():
            bent.add(node["name"])
        elif weights is not None:
            bent.add(node["name"])
            for name, depthwise in weights:
                along = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
                values[name] = _like(_double(values[name]) * sign.reshape(along), values[name])
        else:
            sign = np.ones_like(sign)
        like = values[nodes[node["inputs"][1][0]]["name"]]
        values[f"{node['name']}_line_weight"] = _like((sign * slope).reshape(-1, 1, 1, 1), like)
        bend = np.abs(1 - slope) if node["name"] in bent else 1 - slope
        values[f"{node['name']}_bend_weight"] = _like(bend.reshape(-1, 1, 1, 1), like)

    def replace(graph: Graph, node: Node) -> Entry | None:
        name = node["name"]
        if f"{name}_bend_weight" not in values or not is_prelu(node):
            return None
        data, depthwise = node["inputs"][0], dict(num_filter=maps[name], num_group=maps[name], kernel=(1, 1),
                                                  no_bias=True)
        bend = data if name in bent else graph.add("Activation", f"{name}_positive", [data], act_type="relu")
        bend = graph.add("Convolution", f"{name}_bend", [bend, graph.variable(f"{name}_bend_weight")], **depthwise)
        if name in bent:
            bend = graph.add("Activation", f"{name}_positive", [bend], act_type="relu")
        line = graph.add("Convolution", f"{name}_line", [data, graph.variable(f"{name}_line_weight")], **depthwise)
        return graph.add("elemwise_add", name, [line, bend])
    return _with_own(rewrite(symbol, replace), values, states)


def _weights_behind(nodes: list[Node], users: list[list[int | None]], number: int,
                    values: Arrays) -> list[tuple[str, bool]] | None:
    """The weights of the layers that consume the map of node `number`, and whether they are depthwise; None where a
    consumer is of another kind."""
    found = []
    for user in users[number]:
        if user is None or nodes[user]["op"] != "Convolution" or nodes[user]["inputs"][0][0] != number:
            return None
        weight = nodes[user]["inputs"][1][0]
        depthwise = is_depthwise(nodes[user])
        if nodes[weight]["name"] not in values or users[weight] != [user] or not (
                depthwise and values[nodes[weight]["name"]].shape[1] == 1 or groups_of(nodes[user]) == 1):
            return None
        found.append((nodes[weight]["name"], depthwise))
    return found


def _bias_name(dense: Node, names: list[str]) -> str:
    return names[1] if len(names) > 1 else f"{dense['name']}_bias"


def _with_own(symbol: mx.sym.Symbol, values: Arrays, states: Arrays) -> tuple[mx.sym.Symbol, Arrays, Arrays]:
    own = symbol.list_arguments()
    return (symbol, {name: values[name] for name in own if name in values},
            {name: states[name] for name in symbol.list_auxiliary_states()})


def _double(array: mx.nd.NDArray) -> np.ndarray:
    return array.asnumpy().astype(np.float64)


def _like(value: np.ndarray, array: mx.nd.NDArray) -> mx.nd.NDArray:
    return mx.nd.array(value, ctx=mx.cpu(), dtype=array.dtype)

"""ReLU of a BatchNorm as one operator, BatchNormWithReLU: the map between them is neither written nor kept for the
backward pass. Builds of MXNet with oneDNN have it, for float32 on CPUs; elsewhere two operators compute the same.

Its backward pass reads bits in the order of the map that the forward pass read. MXNet 1.9.1 gives it another order, and
so wrong gradients without an error, where that map is in another layout than the gradient: behind an array from
outside, or where a convolution's channels do not fill oneDNN's blocks. So it is used only between convolutions whose
channels do (`in_blocks`).
"""
from __future__ import annotations

import functools
import json
import re
from typing import Callable

import mxnet as mx
import numpy as np
from mxnet import autograd

from symbols.graph import Entry, Graph, Node, groups_of, to_json

OPERATOR = "_contrib_BatchNormWithReLU"
SIGNS = 3  # the output with the signs, which the backward pass reads
SETTINGS = ("eps", "momentum", "fix_gamma", "use_global_stats")  # that it shares with BatchNorm
BLOCK = 16  # channels, the largest of oneDNN's
COLOURS = 3  # channels of images, from which oneDNN writes blocks too
Norm = Callable[..., mx.nd.NDArray]


def add_norm_with_relu(graph: Graph, name: str, norm: Node, inputs: list[Entry], fused: bool) -> Entry:
    """A second BatchNorm of the map of `norm`, with a ReLU: data, gamma, beta and `norm`'s running statistics.

    A momentum of 1 leaves these, which both share, to `norm`. fused: as one operator.
    """
    settings = {key: value for key, value in norm["attrs"].items() if key in SETTINGS}
    node = {"op": OPERATOR, "name": name, "inputs": inputs, "attrs": {**settings, "momentum": "1"}}
    return graph.append(node) if fused else add_separately(graph, node)


def in_blocks(node: Node, weight: tuple[int, ...]) -> bool:
    """Whether oneDNN computes a convolution, with a weight of the shape `weight`, in blocks of channels: it is dense or
    depthwise, not dilated, and has whole blocks on both sides."""
    groups, filters = groups_of(node), int(node["attrs"]["num_filter"])
    taken = groups * weight[1]
    return (groups in (1, taken) and filters % BLOCK == 0 and (taken % BLOCK == 0 or taken == COLOURS)
            and all(int(step) == 1 for step in re.findall(r"\d+", node["attrs"].get("dilate", "1"))))


def keep_signs(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """`symbol` with the signs of every BatchNormWithReLU as further outputs, which no gradient comes from.

    MXNet allots them as much memory as the map, of which oneDNN writes a bit for each value. As outputs they share it
    with no other array, so that the rest is never touched and the process does not grow by it.
    """
    graph = json.loads(to_json(symbol))
    graph["heads"] += [[number, SIGNS, 0] for number, node in enumerate(graph["nodes"]) if node["op"] == OPERATOR]
    return mx.sym.load_json(json.dumps(graph))


def add_separately(graph: Graph, node: Node) -> Entry:
    """BatchNorm and ReLU for a node of OPERATOR."""
    norm = graph.add("BatchNorm", f"{node['name']}_norm", node["inputs"], **node["attrs"])
    return graph.add("Activation", node["name"], [norm], act_type="relu")


@functools.lru_cache(maxsize=None)
def is_available() -> bool:
    """Whether this MXNet has the operator and it computes between convolutions what the two do, backward pass included.
    Tried once per process, on the CPU."""
    fused = getattr(mx.nd.contrib, "BatchNormWithReLU", None)
    if fused is None:
        return False

    def separate(*inputs: mx.nd.NDArray, **settings: object) -> mx.nd.NDArray:
        return mx.nd.relu(mx.nd.BatchNorm(*inputs, **settings))

    try:
        found = trained(fused)
    except mx.MXNetError:  # a build without oneDNN, or MXNET_MKLDNN_ENABLED=0
        return False
    return all(np.allclose(one, two, rtol=1e-3, atol=1e-4) for one, two in zip(found, trained(separate)))


def trained(norm: Norm) -> list[np.ndarray]:
    """The output and gradients of one training step of a small network with `norm` as the rewritten networks have it,
    before and behind every kind of convolution."""
    random = np.random.RandomState(0)
    device = mx.cpu()
    parameters = []

    def parameter(*shape: int) -> mx.nd.NDArray:
        array = mx.nd.array(random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape), ctx=device)
        array.attach_grad()
        parameters.append(array)
        return array

    body, channels = parameter(2, 3, 24, 24), 3
    with autograd.record():
        for filters, kernel, groups, stride, has_slope in (
                (32, 3, 1, 2, False), (32, 3, 32, 1, True), (64, 1, 1, 1, False), (64, 3, 64, 2, False),
                (32, 3, 1, 1, True), (32, 1, 1, 1, True), (16, 3, 1, 2, False)):
            body = mx.nd.Convolution(
                body, parameter(filters, channels // groups, kernel, kernel), num_filter=filters,
                kernel=(kernel, kernel), num_group=groups, stride=(stride, stride), pad=(kernel // 2, kernel // 2),
                no_bias=True)
            gamma, beta = parameter(filters), parameter(filters)
            straight, bent = (one(body, gamma, beta, mx.nd.zeros(filters, ctx=device), mx.nd.ones(filters, ctx=device),
                                  fix_gamma=False) for one in (mx.nd.BatchNorm, norm))
            if has_slope:
                bent = mx.nd.Convolution(bent, parameter(filters, 1, 1, 1), num_filter=filters, kernel=(1, 1),
                                         num_group=filters, no_bias=True)
            body, channels = mx.nd.add_n(straight, bent), filters
        output = mx.nd.Pooling(body, kernel=(2, 2), pool_type="avg")
    output.backward(mx.nd.array(random.normal(0, 1, output.shape), ctx=device))
    return [array.asnumpy() for array in (output, *(item.grad for item in parameters))]

"""ReLU of a BatchNorm as one operator, BatchNormWithReLU: the map between them is neither written nor kept for the
backward pass. Builds of MXNet with oneDNN have it, for float32 on CPUs; elsewhere two operators compute the same.

Its backward pass reads bits in the order of the map that the forward pass read. MXNet 1.9.1 gives it another order, and
so wrong gradients without an error, where that map is in the plain layout and the gradient in oneDNN's, as behind an
array from outside. So only a convolution's own map, of channels that fill oneDNN's blocks, is given to it.
"""
from __future__ import annotations

import functools
from typing import Callable

import mxnet as mx
import numpy as np
from mxnet import autograd

from symbols.graph import Entry, Graph, Node

OPERATOR = "_contrib_BatchNormWithReLU"
SETTINGS = ("eps", "momentum", "fix_gamma", "use_global_stats")  # that it shares with BatchNorm
BLOCK = 16  # channels, the largest of oneDNN's
Norm = Callable[..., mx.nd.NDArray]


def add_norm_with_relu(graph: Graph, name: str, norm: Node, inputs: list[Entry], fused: bool) -> Entry:
    """A second BatchNorm of the map of `norm`, with a ReLU: data, gamma, beta and `norm`'s running statistics.

    A momentum of 1 leaves these, which both share, to `norm`. fused: as one operator, where the map allows it.
    """
    settings = {key: value for key, value in norm["attrs"].items() if key in SETTINGS}
    node = {"op": OPERATOR, "name": name, "inputs": inputs, "attrs": {**settings, "momentum": "1"}}
    source = graph.nodes[inputs[0][0]]
    in_blocks = source["op"] == "Convolution" and int(source["attrs"]["num_filter"]) % BLOCK == 0
    return graph.append(node) if fused and in_blocks else add_separately(graph, node)


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
    """The output and gradients of one training step of a small network, with every kind of convolution of the networks
    before and behind `norm`."""
    random = np.random.RandomState(0)
    device = mx.cpu()

    def parameter(*shape: int) -> mx.nd.NDArray:
        array = mx.nd.array(random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape), ctx=device)
        array.attach_grad()
        return array

    layers = [(32, 3, 1, 2), (32, 3, 32, 1), (64, 1, 1, 1), (64, 3, 64, 2), (32, 3, 1, 1), (16, 3, 1, 2)]
    parameters, channels = [], 3
    for filters, kernel, groups, _ in layers:
        parameters.append((parameter(filters, channels // groups, kernel, kernel), parameter(filters),
                           parameter(filters)))
        channels = filters
    body = data = parameter(2, 3, 24, 24)
    with autograd.record():
        for (filters, kernel, groups, stride), (weight, gamma, beta) in zip(layers, parameters):
            body = mx.nd.Convolution(body, weight, num_filter=filters, kernel=(kernel, kernel), num_group=groups,
                                     stride=(stride, stride), pad=(kernel // 2, kernel // 2), no_bias=True)
            body = norm(body, gamma, beta, mx.nd.zeros(filters, ctx=device), mx.nd.ones(filters, ctx=device),
                        fix_gamma=False)
        output = mx.nd.Pooling(body, kernel=(2, 2), pool_type="avg")
    output.backward(mx.nd.array(random.normal(0, 1, output.shape), ctx=device))
    return [array.asnumpy() for array in (output, data.grad, *(item.grad for arrays in parameters for item in arrays))]

"""ReLU of a BatchNorm as one operator, BatchNormWithReLU: the map between them is neither written nor kept for the
backward pass. Builds of MXNet with oneDNN have it, for float32 on CPUs; elsewhere two operators compute the same."""
from __future__ import annotations

import functools
from typing import Callable

import mxnet as mx
import numpy as np
from mxnet import autograd

from symbols.graph import Entry, Graph, Node

OPERATOR = "_contrib_BatchNormWithReLU"
SETTINGS = ("eps", "momentum", "fix_gamma", "use_global_stats")  # that it shares with BatchNorm
SHAPE = (2, 16, 4, 4)


def add_norm_with_relu(graph: Graph, name: str, norm: Node, inputs: list[Entry], fused: bool) -> Entry:
    """A second BatchNorm of the map of `norm`, with a ReLU: data, gamma, beta and `norm`'s running statistics.

    A momentum of 1 leaves these, which both share, to `norm`.
    """
    settings = {key: value for key, value in norm["attrs"].items() if key in SETTINGS}
    node = {"op": OPERATOR, "name": name, "inputs": inputs, "attrs": {**settings, "momentum": "1"}}
    return graph.append(node) if fused else add_separately(graph, node)


def add_separately(graph: Graph, node: Node) -> Entry:
    """BatchNorm and ReLU for a node of OPERATOR."""
    norm = graph.add("BatchNorm", f"{node['name']}_norm", node["inputs"], **node["attrs"])
    return graph.add("Activation", node["name"], [norm], act_type="relu")


@functools.lru_cache(maxsize=None)
def is_available() -> bool:
    """Whether this MXNet has the operator and it computes what the two do, backward pass included. Tried once per
    process, on the CPU."""
    operator = getattr(mx.nd.contrib, "BatchNormWithReLU", None)
    if operator is None:
        return False
    try:
        found = _trained(operator)
    except mx.MXNetError:  # a build without oneDNN, or MXNET_MKLDNN_ENABLED=0
        return False
    return all(np.allclose(one, two, rtol=1e-4, atol=1e-5) for one, two in
               zip(found, _trained(lambda *inputs, **settings: mx.nd.relu(mx.nd.BatchNorm(*inputs, **settings)))))


def _trained(operator: Callable[..., mx.nd.NDArray]) -> list[np.ndarray]:
    """Output and gradients of one training step of `operator`."""
    random = np.random.RandomState(0)
    data, gamma, beta, outside = (mx.nd.array(random.normal(0, 1, shape))
                                  for shape in (SHAPE, SHAPE[1], SHAPE[1], SHAPE))
    for array in (data, gamma, beta):
        array.attach_grad()
    with autograd.record():
        output = operator(data, gamma, beta, mx.nd.zeros(SHAPE[1]), mx.nd.ones(SHAPE[1]), fix_gamma=False)
    output.backward(outside)
    return [array.asnumpy() for array in (output, data.grad, gamma.grad, beta.grad)]

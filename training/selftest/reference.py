"""The reference of a device's results: the same graph of basic operators, computed on the CPU."""
from __future__ import annotations

from typing import Mapping

import mxnet as mx
import numpy as np
from mxnet import autograd

from symbols.gluon_net import embedding_block
from symbols.graph import Entry, Graph, Node, is_prelu, prelu_slopes, rewrite

Values = Mapping[str, np.ndarray]
NOTHING = 1e-2  # gradients this small relative to the largest are mostly rounding errors


def without_dropout(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """`symbol` without its Dropout layers, which are random on every device."""
    return rewrite(symbol, lambda graph, node: node["inputs"][0] if node["op"] == "Dropout" else None)


def by_basic_operators(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """`symbol` with PReLU over maps as relu(x) - slope * relu(-x), whose gradients MXNet gets right everywhere."""
    def replace(graph: Graph, node: Node) -> Entry | None:
        if not is_prelu(node):
            return None
        name, (data, slope) = node["name"], node["inputs"]
        slope = graph.add("Reshape", f"{name}_a", [slope], shape=(1, -1, 1, 1))
        negative = graph.add("relu", f"{name}_c", [graph.add("negative", f"{name}_b", [data])])
        line = graph.add("broadcast_mul", f"{name}_d", [negative, slope])
        return graph.add("elemwise_sub", name, [graph.add("relu", f"{name}_e", [data]), line])
    return rewrite(symbol, replace)


def draw(symbol: mx.sym.Symbol, data: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Values for every argument and state of `symbol`, and images 0 to 255 as `data`."""
    random = np.random.RandomState(seed)
    shapes, _, states = symbol.infer_shape(data=data)
    slopes = prelu_slopes(symbol)
    values: dict[str, np.ndarray] = {}
    for name, shape in zip([*symbol.list_arguments(), *symbol.list_auxiliary_states()], [*shapes, *states]):
        if name == "data":
            value = random.uniform(0, 255, shape)
        elif name in slopes:
            value = random.uniform(0.1, 0.9, shape)
        elif name.endswith(("gamma", "var")):
            value = random.uniform(0.5, 1.5, shape)
        else:
            value = random.normal(0, 0.1 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[1:])), shape)
        values[name] = value.astype(np.float32)
    return values


def train_bound(symbol: mx.sym.Symbol, values: Values, outside: np.ndarray) -> dict[str, np.ndarray]:
    """Output and gradients of `symbol` on the CPU, bound and not fused; outside: the gradient of the output."""
    arguments = {name: mx.nd.array(values[name]) for name in symbol.list_arguments()}
    gradients = {name: array.zeros_like() for name, array in arguments.items() if name != "data"}
    requests = {name: "null" if name == "data" else "write" for name in arguments}
    states = {name: mx.nd.array(values[name]) for name in symbol.list_auxiliary_states()}
    bound = symbol.bind(mx.cpu(), arguments, args_grad=gradients, grad_req=requests, aux_states=states)
    output = bound.forward(is_train=True)[0].asnumpy()
    bound.backward(mx.nd.array(outside))
    return {"output": output, **{name: array.asnumpy() for name, array in gradients.items()}}


def train_block(symbol: mx.sym.Symbol, values: Values, outside: np.ndarray, device: mx.Context,
                shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The same on `device`, as training runs it: a compiled Gluon block. shapes: of all parameters."""
    block = embedding_block(symbol)
    parameters = {parameter.name: parameter for parameter in block.collect_params().values()}
    for name, parameter in parameters.items():
        parameter.shape = shapes[name]
    block.initialize(mx.init.Zero(), ctx=device)
    for name, parameter in parameters.items():
        if parameter.grad_req != "null" or name in symbol.list_auxiliary_states():
            parameter.set_data(mx.nd.array(values[name]))
    block.hybridize(static_alloc=True, static_shape=True)
    with autograd.record():
        output = block(mx.nd.array(values["data"], ctx=device))
    output.backward(mx.nd.array(outside, ctx=device))
    return {"output": output.asnumpy(), **{name: parameter.grad(device).asnumpy()
                                           for name, parameter in parameters.items() if parameter.grad_req != "null"}}


def furthest(found: Values, expected: Values) -> tuple[float, str]:
    """The largest relative difference of any array, and its name; infinite where it is not finite."""
    lengths = {name: float(np.linalg.norm(expected[name].astype(np.float64))) for name in found}
    least = NOTHING * max((length for name, length in lengths.items() if name != "output"), default=0.0)
    worst, whose = 0.0, "output"
    for name, value in found.items():
        if not np.isfinite(value).all():
            return float("inf"), name
        difference = float(np.linalg.norm(value.astype(np.float64) - expected[name]))
        part = difference / max(lengths[name], least, 1e-12)
        if part > worst:
            worst, whose = part, name
    return worst, whose

"""Export of a network to ONNX, node by node from its graph: opset 11, dynamic batch size, no redundant nodes.

    to_onnx(symbol, parameters, (1, 3, 112, 112)).SerializeToString()

What MXNet's own exporter writes for these networks needed repair (slopes of PReLU, gammas that are fixed, parameters
listed as inputs) and expanded GNAP to 25 nodes, some of which several runtimes lack. Here BatchNorms behind a
convolution or a fully connected layer are folded into its weights, Dropout is removed, and GNAP is written as equations
(1) to (3).
"""
from __future__ import annotations

import json
from typing import Mapping

import mxnet as mx
import numpy as np
import onnx

from symbols.folding import fold_batch_norms
from symbols.gnap import NO_NORM, norm_aware_pooling
from symbols.graph import Entry, Node, layer_of, to_json
from symbols.onnx_operators import OPERATORS, Context
from symbols.onnx_writer import Shape, Value, Writer
from symbols.shapes import infer_shapes
from symbols.subgraph import HOLE, match

INPUT = "data"
FIRST_NODES = 8  # whose names InsightFace's loader inspects
STEP = 1e30  # turns a slope into a step: 1 above a bound, 0 elsewhere
TINY = 1e-30


def to_onnx(symbol: mx.sym.Symbol, parameters: Mapping[str, mx.nd.NDArray], data_shape: tuple[int, ...]
            ) -> onnx.ModelProto:
    """The embedding network for any number of images of data_shape, (N, 3, H, W), float32 RGB from 0 to 255.

    parameters: arguments and auxiliary states by name. The input is `data`, the output has the name of the symbol's.
    ValueError, naming the layer, where an operator is not supported or data_shape does not fit the network.
    """
    output = layer_of(symbol.list_outputs()[0])
    states = set(symbol.list_auxiliary_states())
    symbol, arguments, auxiliary = fold_batch_norms(
        symbol, {key: value for key, value in parameters.items() if key not in states},
        {key: parameters[key] for key in states})
    given = {key: value.asnumpy().astype(np.float32) for key, value in {**arguments, **auxiliary}.items()}
    return _Export(symbol, given, data_shape).model(output)


class _Export:
    """Writes one graph."""

    def __init__(self, symbol: mx.sym.Symbol, parameters: Mapping[str, np.ndarray],
                 data_shape: tuple[int, ...]) -> None:
        source = json.loads(to_json(symbol))
        self.nodes: list[Node] = source["nodes"]
        self.head: Entry = source["heads"][0]
        self.parameters, self.data = parameters, Value(INPUT, (1, *data_shape[1:]), 0)
        self.shapes = [infer_shapes(symbol, (count, *data_shape[1:])) for count in (1, 2)]
        self.gnap = self._find_gnap()
        self.writer = Writer()
        self.values: dict[tuple[int, int], Value] = {}

    def model(self, output: str) -> onnx.ModelProto:
        """Write what the head needs."""
        for name in (output, *self.parameters):
            self.writer.reserve(name)
        needed = self._needed()
        for number, node in enumerate(self.nodes):
            if number in needed:
                self._write(number, node)
        last = self.values[self.head[0], self.head[1]]
        if last.constant is not None or last.batch != 0:
            raise ValueError(f"{output} does not depend on the image")
        dimension = int(np.prod(last.shape[1:]))
        name = last.name if len(last.shape) == 2 else self.writer.add("Flatten", [last.name], f"{output}_flat", axis=1)
        self._rename(name, output)
        self._show_that_it_normalises()
        for key, array in self.parameters.items():
            self.writer.constants.setdefault(key, array)
        return self.writer.model(self.data, output, dimension)

    def _find_gnap(self) -> dict[int, tuple[Entry, str]]:
        """By the last node of each GNAP block, its input map and what its mean is taken over."""
        found = {}
        for number, node in enumerate(self.nodes):
            shape = self.shapes[0].get(f"{node['name']}_output", ()) if node["op"] == "Flatten" else ()
            for over in ("image", "batch") if len(shape) == 2 else ():
                pattern = norm_aware_pooling(mx.sym, mx.sym.Variable(HOLE), shape[1], mean_over=over)
                entry = match(self.nodes, number, pattern)
                if entry is not None:
                    found[number] = (entry, over)
        return found

    def _needed(self) -> set[int]:
        needed: set[int] = set()
        todo = [self.head[0]]
        while todo:
            number = todo.pop()
            if number not in needed:
                needed.add(number)
                entries = [self.gnap[number][0]] if number in self.gnap else self.nodes[number]["inputs"]
                todo += [entry[0] for entry in entries]
        return needed

    def _write(self, number: int, node: Node) -> None:
        name = node["name"]
        if node["op"] == "null":
            if name != INPUT and name not in self.parameters:
                raise ValueError(f"{name} has no value")
            self.values[number, 0] = self.data if name == INPUT else Value(
                name, self.parameters[name].shape, None, self.parameters[name])
            return
        if number in self.gnap:
            entry, over = self.gnap[number]
            self.values[number, 0] = self._gnap(name, self.values[entry[0], entry[1]], over)
            return
        operator = OPERATORS.get(node["op"])
        if operator is None:
            raise ValueError(f"{name} is of the operator {node['op']}, which has no form in ONNX here")
        inputs = [self.values[entry[0], entry[1]] for entry in node["inputs"]]
        context = Context(self.writer, name, node.get("attrs", {}), inputs, self._outputs(name))
        try:
            made = operator(context)
        except ValueError as error:
            raise ValueError(f"{name} ({node['op']}) {error}") from None
        for place, value in enumerate(made if isinstance(made, list) else [made]):
            self.values[number, place] = value

    def _outputs(self, name: str) -> list[tuple[Shape, int | None]]:
        """The shape of each of a node's outputs, for one image, and its batch axis."""
        names = [f"{name}_output"] if f"{name}_output" in self.shapes[0] else []
        while not names or (names[0] != f"{name}_output" and f"{name}_output{len(names)}" in self.shapes[0]):
            names.append(f"{name}_output{len(names)}")
        found = []
        for key in names:
            one, two = (shapes[key] for shapes in self.shapes)
            apart = [axis for axis, (a, b) in enumerate(zip(one, two)) if a != b]
            if len(apart) > 1:
                raise ValueError(f"{name} does not keep the images of a batch apart")
            found.append((one, apart[0] if apart else None))
        return found

    def _gnap(self, name: str, features: Value, over: str) -> Value:
        """Equations (1) to (3) of `symbols/gnap.py` and the pooling, in operators that every runtime has."""
        add, write = self.writer.add, self.writer

        def number(suffix: str, value: float) -> str:
            return write.constant(f"{name}_{suffix}", np.array([value], np.float32))
        # (1), its sum over channels as a convolution with ones: OpenCV 4.8's ReduceL2 and ReduceSum are wrong on this
        # axis.
        squares = add("Mul", [features.name, features.name], f"{name}_squares")
        ones = write.constant(f"{name}_ones", np.ones((1, features.shape[1], 1, 1), np.float32))
        sums = add("Conv", [squares, ones, number("above_0", TINY)], f"{name}_sums", kernel_shape=[1, 1])
        norms = add("Sqrt", [sums], f"{name}_norms")
        if over == "image":
            mean = add("GlobalAveragePool", [norms], f"{name}_mean")  # (2)
        else:
            mean = add("ReduceMean", [norms], f"{name}_mean", axes=[0, 2, 3], keepdims=1)
        mean = add("Max", [mean, number("tiny", TINY)], f"{name}_mean_above_0")
        relative = add("Div", [norms, mean], f"{name}_relative")
        least = number("no_norm", NO_NORM)
        above = add("Sub", [relative, least], f"{name}_above")
        step = add("Mul", [above, number("step", STEP)], f"{name}_step")
        keep = add("Clip", [step, write.constant(f"{name}_zero", np.array(0, np.float32)),
                            write.constant(f"{name}_one", np.array(1, np.float32))], f"{name}_keep")
        bounded = add("Max", [relative, least], f"{name}_bounded")
        weights = add("Div", [keep, bounded], f"{name}_weights")
        weighted = add("Mul", [features.name, weights], f"{name}_weighted")  # (3)
        pooled = add("GlobalAveragePool", [weighted], f"{name}_pooled")
        return Value(add("Flatten", [pooled], name, axis=1), (1, features.shape[1]), 0)

    def _rename(self, name: str, output: str) -> None:
        """Give the last value the name of the network's output."""
        for node in self.writer.nodes:
            for names in (node.input, node.output):
                for place, own in enumerate(names):
                    if own == name:
                        names[place] = output

    def _show_that_it_normalises(self) -> None:
        """Where the first nodes' names do not show it, put a subtraction of 0 and a multiplication by 1 first:
        otherwise InsightFace's loader would normalise an input that the network normalises itself."""
        first = [node.name for node in self.writer.nodes[:FIRST_NODES]]
        if all(any(name.startswith(op) for name in first) for op in ("Sub", "Mul")):
            return
        nodes, self.writer.nodes = self.writer.nodes, []
        zero = self.writer.constant("nothing", np.zeros(1, np.float32))
        one = self.writer.constant("once", np.ones(1, np.float32))
        raw = self.writer.add("Mul", [self.writer.add("Sub", [INPUT, zero], "Sub_nothing"), one], "Mul_once")
        for node in nodes:
            for place, name in enumerate(node.input):
                if name == INPUT:
                    node.input[place] = raw
        self.writer.nodes += nodes

"""Builder of an ONNX graph: its nodes, its constants, and the shape and batch axis of every value."""
from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 11, 6  # which onnxruntime, OpenCV's dnn, TensorRT and the converters for phones read
Shape = Tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A tensor of the graph.

    name: its name in ONNX. shape: for one image. batch: the batch axis, None where it is the same for all of them.
    constant: its values where they depend on no image; with `batch`, those for one image, which are the same for each.
    """

    name: str
    shape: Shape
    batch: int | None = None
    constant: np.ndarray | None = None


class Writer:
    """Collects nodes. Names are unique; constants that no node uses are left out of the graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self._names: set[str] = set()

    def constant(self, name: str, array: np.ndarray) -> str:
        """The name of the constant `array`: the one asked for where it is free."""
        name = self._free(name)
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def reserve(self, name: str) -> None:
        """Reserve a name for a value from outside the graph."""
        self._names.add(name)

    def add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Append a node, whose only output has the node's name; returns that name.

        Names of Sub and Mul begin with the operator: by such names InsightFace's loader recognises that a network
        normalises by itself.
        """
        output = self._free(name)
        label = output if op not in ("Sub", "Mul") or output.startswith(op) else f"{op}_{output.lstrip('_')}"
        self.nodes.append(helper.make_node(op, inputs, [output], label, **attributes))
        return output

    def add_split(self, inputs: list[str], name: str, outputs: int, **attributes: Any) -> list[str]:
        """Append a Split with several outputs; returns their names."""
        names = [self._free(f"{name}_{number}") for number in range(outputs)]
        self.nodes.append(helper.make_node("Split", inputs, names, self._free(name), **attributes))
        return names

    def model(self, data: Value, output: str, dimension: int) -> onnx.ModelProto:
        """The graph from `data`, any number of images, to the value `output`, (N, dimension)."""
        taken = {name for node in self.nodes for name in node.input}
        stored = [numpy_helper.from_array(array, name) for name, array in self.constants.items() if name in taken]
        graph = helper.make_graph(
            self.nodes, "embedding",
            [helper.make_tensor_value_info(data.name, TensorProto.FLOAT, ["N", *data.shape[1:]])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", dimension])], stored)
        return helper.make_model(graph, producer_name="face-recognition-mxnet", ir_version=IR_VERSION,
                                 opset_imports=[helper.make_opsetid("", OPSET)])

    def _free(self, name: str) -> str:
        number, wanted = 0, name
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name


@dataclass
class Context:
    """An MXNet node being converted. outputs: shape for one image and batch axis of each output."""

    writer: Writer
    name: str
    attributes: dict[str, str]
    inputs: list[Value]
    outputs: list[tuple[Shape, int | None]]

    def get(self, key: str, default: Any = None) -> Any:
        """An attribute as a Python value."""
        text = self.attributes.get(key)
        if text is None:
            return default
        try:
            return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
        except (ValueError, SyntaxError):
            return text

    def pair(self, key: str, default: int) -> list[int]:
        """An attribute of two lengths, (H, W)."""
        found = self.get(key)
        return [int(value) for value in found] if found else [default, default]

    def names(self) -> list[str]:
        """The inputs' names; constants that are not parameters are written."""
        return [self.name_of(value) for value in self.inputs]

    def name_of(self, value: Value) -> str:
        """A value's name; a computed constant is written first."""
        if value.name or value.constant is None:
            return value.name
        return self.writer.constant(f"{self.name}_constant", value.constant)

    def number(self, value: float, suffix: str = "number") -> str:
        """A scalar constant."""
        return self.writer.constant(f"{self.name}_{suffix}", np.array([value], np.float32))

    def whole(self, values: list[int], suffix: str) -> str:
        """A constant of integers."""
        return self.writer.constant(f"{self.name}_{suffix}", np.array(values, np.int64))

    def add(self, op: str, inputs: list[str], suffix: str = "", **attributes: Any) -> str:
        """Append a node."""
        return self.writer.add(op, inputs, self.name + suffix, **attributes)

    def value(self, name: str, output: int = 0) -> Value:
        """The node's output, under the ONNX name `name`."""
        return Value(name, *self.outputs[output])

    def as_parameter(self, number: int, array: np.ndarray) -> str:
        """The parameter that input `number` is, in another shape."""
        name, constants = self.inputs[number].name, self.writer.constants
        if name and (name not in constants or constants[name].shape == array.shape):
            constants[name] = array
            return name
        return self.writer.constant(f"{self.name}_parameter", array)

    def parameter(self, number: int) -> np.ndarray:
        """The values of input `number`."""
        array = self.inputs[number].constant
        if array is None:
            raise ValueError("has parameters that are computed")
        return array

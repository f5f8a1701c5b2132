"""MXNet operators in terms of ONNX's, opset 11: for each a function from a node's inputs to its output value.

The operators of face networks and of common wrappers around them; not the losses and classifiers behind an embedding.
ValueError, in a few words, where a node has attributes without an ONNX equivalent.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, List, Union

import numpy as np

from symbols import onnx_layers as layers
from symbols.onnx_writer import Context, Value

Made = Union[Value, List[Value]]
Operator = Callable[[Context], Made]


def _same(node: Context) -> Value:
    return node.inputs[0]


def _cast(node: Context) -> Value:
    if node.get("dtype") not in ("float32", "float16", "float64"):
        raise ValueError(f"is to {node.get('dtype')}")
    return node.inputs[0]  # an ONNX file of ours is float32 throughout


def _unary(op: str) -> Operator:
    return lambda node: node.value(node.add(op, node.names()))


def _binary(op: str) -> Operator:
    return lambda node: node.value(node.add(op, node.names()))


def _comparison(op: str, inverse: bool = False) -> Operator:
    def written(node: Context) -> Value:
        names = node.names()
        if len(names) == 1:
            names.append(node.number(float(node.get("scalar"))))
        found = node.add(op, names, "_is")
        found = node.add("Not", [found], "_is_not") if inverse else found
        return node.value(node.add("Cast", [found], to=1))
    return written


def _scalar(op: str, turned: bool = False) -> Operator:
    def written(node: Context) -> Value:
        names = [*node.names(), node.number(float(node.get("scalar")))]
        return node.value(node.add(op, names[::-1] if turned else names))
    return written


def _square(node: Context) -> Value:
    return node.value(node.add("Mul", node.names() * 2))


def _rsqrt(node: Context) -> Value:
    return node.value(node.add("Reciprocal", [node.add("Sqrt", node.names(), "_root")]))


def _like(number: float) -> Operator:
    def written(node: Context) -> Value:
        shape, batch = node.outputs[0]
        return Value("", shape, batch, np.full(shape, number, np.float32))
    return written


def _filled(number: float) -> Operator:
    return lambda node: Value("", node.outputs[0][0], None, np.full(node.outputs[0][0], number, np.float32))


def _reduction(op: str) -> Callable[[Context], Value]:
    def written(node: Context) -> Value:
        data, axes = node.inputs[0], node.get("axis")
        count = len(data.shape)
        chosen = set(range(count)) if axes in (None, (), []) else {
            axis % count for axis in ([axes] if isinstance(axes, int) else axes)}
        if node.get("exclude", False):
            chosen = set(range(count)) - chosen
        keep = bool(node.get("keepdims", False))
        if data.constant is not None and not data.name:
            if data.batch in chosen and op == "ReduceSum":
                raise ValueError("depends on the batch size")
            known = {"ReduceSum": np.sum, "ReduceMean": np.mean, "ReduceMax": np.max, "ReduceMin": np.min}
            reduce: Any = known.get(op)
            if reduce is None:
                raise ValueError("is the norm of a constant")
            result = np.asarray(reduce(data.constant, axis=tuple(sorted(chosen)), keepdims=keep), np.float32)
            return Value("", result.shape, node.outputs[0][1], result)
        return node.value(node.add(op, node.names(), axes=sorted(chosen), keepdims=int(keep)))
    return written


def _norm(node: Context) -> Value:
    return _reduction({2: "ReduceL2", 1: "ReduceL1"}[int(node.get("ord", 2))])(node)


def _reshape(node: Context) -> Value:
    shape, batch = node.outputs[0]
    if node.inputs[0].constant is not None and not node.inputs[0].name:
        return Value("", shape, batch, node.inputs[0].constant.reshape(shape))
    lengths = [-1 if axis == batch else length for axis, length in enumerate(shape)]
    return node.value(node.add("Reshape", [*node.names(), node.whole(lengths, "shape")]))


def _flatten(node: Context) -> Value:
    return node.value(node.add("Flatten", node.names(), axis=1))


def _transpose(node: Context) -> Value:
    axes = node.get("axes") or tuple(range(len(node.inputs[0].shape)))[::-1]
    return node.value(node.add("Transpose", node.names(), perm=[int(axis) for axis in axes]))


def _concat(node: Context) -> Value:
    return node.value(node.add("Concat", node.names(), axis=int(node.get("dim", 1))))


def _split(node: Context) -> list[Value]:
    axis, count = int(node.get("axis", 1)) % len(node.inputs[0].shape), int(node.get("num_outputs"))
    names = node.writer.add_split(node.names(), node.name, count, axis=axis)
    if node.get("squeeze_axis", False):
        names = [node.writer.add("Squeeze", [name], f"{name}_flat", axes=[axis]) for name in names]
    return [node.value(name, number) for number, name in enumerate(names)]


def _slice(node: Context) -> Value:
    begin, end = list(node.get("begin")), list(node.get("end"))
    if any(step not in (None, 1) for step in node.get("step") or ()):
        raise ValueError("slices with steps")
    return _sliced(node, list(range(len(begin))), begin, end)


def _slice_axis(node: Context) -> Value:
    axis = int(node.get("axis")) % len(node.inputs[0].shape)
    return _sliced(node, [axis], [node.get("begin")], [node.get("end")])


def _sliced(node: Context, axes: list[int], begin: list[int | None], end: list[int | None]) -> Value:
    data = node.inputs[0]
    taken = [(axis, first or 0, (1 << 31) - 1 if last is None else last)
             for axis, first, last in zip(axes, begin, end) if (first, last) != (None, None)]
    taken = [(axis, first, last) for axis, first, last in taken
             if axis == data.batch or (first, min(last, data.shape[axis])) != (0, data.shape[axis])]
    if not taken:
        return replace(data, shape=node.outputs[0][0])
    parts = [node.whole(list(values), suffix) for values, suffix in zip(
        ([first for _, first, _ in taken], [last for _, _, last in taken], [axis for axis, _, _ in taken]),
        ("begin", "end", "axes"))]
    return node.value(node.add("Slice", [*node.names(), *parts]))


def _batch_dot(node: Context) -> Value:
    names = node.names()
    for number, key in enumerate(("transpose_a", "transpose_b")):
        if node.get(key, False):
            names[number] = node.add("Transpose", [names[number]], f"_{key}", perm=[0, 2, 1])
    return node.value(node.add("MatMul", names))


def _tile(node: Context) -> Value:
    reps = [int(value) for value in node.get("reps")]
    if len(reps) != len(node.inputs[0].shape):
        raise ValueError(f"repeats {len(reps)} axes of {len(node.inputs[0].shape)}")
    return node.value(node.add("Tile", [*node.names(), node.whole(reps, "repeats")]))


SUM = _binary("Sum")
SCALARS = {("_plus_scalar", "_PlusScalar"): "Add", ("_minus_scalar", "_MinusScalar"): "Sub",
           ("_mul_scalar", "_MulScalar"): "Mul", ("_div_scalar", "_DivScalar"): "Div",
           ("_power_scalar", "_PowerScalar"): "Pow", ("_maximum_scalar", "_MaximumScalar"): "Max",
           ("_minimum_scalar", "_MinimumScalar"): "Min"}
OPERATORS: dict[str, Operator] = {
    "Convolution": layers.convolution, "Convolution_v1": layers.convolution, "BatchNorm": layers.batch_norm,
    "BatchNorm_v1": layers.batch_norm, "FullyConnected": layers.fully_connected, "LeakyReLU": layers.leaky_relu,
    "Activation": layers.activation, "Pooling": layers.pooling, "Pooling_v1": layers.pooling, "clip": layers.clip,
    "L2Normalization": layers.l2_normalisation, "batch_dot": _batch_dot,
    "Reshape": _reshape, "reshape": _reshape, "expand_dims": _reshape, "Flatten": _flatten, "flatten": _flatten,
    "transpose": _transpose, "Concat": _concat, "concat": _concat, "SliceChannel": _split, "split": _split,
    "slice": _slice, "slice_axis": _slice_axis, "tile": _tile, "norm": _norm, "square": _square, "rsqrt": _rsqrt,
    "Cast": _cast, "cast": _cast, "ones_like": _like(1), "zeros_like": _like(0), "_ones": _filled(1),
    "_zeros": _filled(0), "add_n": SUM, "ElementWiseSum": SUM,
    **dict.fromkeys(("Dropout", "_copy", "identity", "BlockGrad", "stop_gradient", "MakeLoss"), _same),
    **dict.fromkeys(("elemwise_add", "_plus", "_Plus", "broadcast_add", "broadcast_plus"), _binary("Add")),
    **dict.fromkeys(("elemwise_sub", "_minus", "_Minus", "broadcast_sub", "broadcast_minus"), _binary("Sub")),
    **dict.fromkeys(("elemwise_mul", "_mul", "_Mul", "broadcast_mul"), _binary("Mul")),
    **dict.fromkeys(("elemwise_div", "_div", "_Div", "broadcast_div"), _binary("Div")),
    **dict.fromkeys(("_maximum", "_Maximum", "broadcast_maximum"), _binary("Max")),
    **dict.fromkeys(("_minimum", "_Minimum", "broadcast_minimum"), _binary("Min")),
    **dict.fromkeys(("broadcast_greater", "_greater_scalar"), _comparison("Greater")),
    **dict.fromkeys(("broadcast_lesser", "_lesser_scalar"), _comparison("Less")),
    **dict.fromkeys(("broadcast_greater_equal", "_greater_equal_scalar"), _comparison("Less", inverse=True)),
    **dict.fromkeys(("broadcast_lesser_equal", "_lesser_equal_scalar"), _comparison("Greater", inverse=True)),
    "_equal_scalar": _comparison("Equal"), "_not_equal_scalar": _comparison("Equal", inverse=True),
    **{name: _scalar(op) for names, op in SCALARS.items() for name in names},
    **{name: _scalar(op, turned=True) for name, op in (("_rminus_scalar", "Sub"), ("_RMinusScalar", "Sub"),
                                                       ("_rdiv_scalar", "Div"), ("_RDivScalar", "Div"))},
    **{name: _unary(op) for name, op in (
        ("sqrt", "Sqrt"), ("abs", "Abs"), ("exp", "Exp"), ("log", "Log"), ("relu", "Relu"), ("sigmoid", "Sigmoid"),
        ("tanh", "Tanh"), ("softsign", "Softsign"), ("negative", "Neg"), ("sign", "Sign"), ("cos", "Cos"),
        ("sin", "Sin"), ("arccos", "Acos"))},
    **{name: _reduction(op) for name, op in (("mean", "ReduceMean"), ("sum", "ReduceSum"), ("sum_axis", "ReduceSum"),
                                             ("max", "ReduceMax"), ("min", "ReduceMin"))},
}

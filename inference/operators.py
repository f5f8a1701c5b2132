"""Whitelist of the operators of face networks, and of the values of their attributes.

An untrusted graph is run only where each of its nodes is one of these. Left out on purpose are those that take
addresses or callbacks (`_NDArray`, `_Native`, `Custom`), contain subgraphs, or move data outside the network.
Bounds are generous for any face network, and tight enough that no kernel, group or shape makes MXNet divide by zero or
write past an array.
"""
from __future__ import annotations

import math
import re
from typing import Callable, Dict, NamedTuple

from inference.attributes import (
    Rule,
    among,
    axes,
    dropped,
    exactly,
    flag,
    integer,
    integers,
    number,
    permutation,
    places,
    reshaping,
    size,
)

LARGEST = 1 << 24  # of an axis, or of values in one constant
TYPE = among("float16", "float32", "float64", "uint8", "int8", "int32", "int64")
Attributes = Dict[str, str]


class Operator(NamedTuple):
    """inputs: how many a node takes, by its attributes; attributes: rule by name, required where in `needs`;
    outputs: how many it has; check: raises ValueError where attributes do not go together; states: from which input on
    inputs must be plain variables."""

    inputs: Callable[[Attributes], tuple[int, ...]]
    attributes: dict[str, Rule] = {}
    needs: tuple[str, ...] = ()
    outputs: Callable[[Attributes], int] = lambda attributes: 1
    check: Callable[[Attributes], None] = lambda attributes: None
    states: int | None = None


def _takes(*counts: int) -> Callable[[Attributes], tuple[int, ...]]:
    return lambda attributes: counts


def _dense_inputs(attributes: Attributes) -> tuple[int, ...]:
    return (2,) if _on(attributes, "no_bias") else (3,)


def _several(attributes: Attributes) -> tuple[int, ...]:
    return (int(attributes["num_args"]),)


def _on(attributes: Attributes, name: str) -> bool:
    return attributes.get(name, "False") in ("True", "true", "1")


def _numbers(text: str | None) -> list[int]:
    return [int(word) for word in re.findall(r"-?\d+", text or "")]


def _check_convolution(attributes: Attributes) -> None:
    groups, filters = int(attributes.get("num_group", 1)), int(attributes["num_filter"])
    if filters % groups:
        raise ValueError(f"{filters} filters in {groups} groups")


def _check_pooling(attributes: Attributes) -> None:
    kernel, pad = _numbers(attributes.get("kernel")), _numbers(attributes.get("pad"))
    if not kernel and not _on(attributes, "global_pool"):
        raise ValueError("has no kernel")
    if kernel and any(before >= length for before, length in zip(pad, kernel)) and not _on(attributes, "global_pool"):
        raise ValueError("pads by more than its kernel")


def _check_constant(attributes: Attributes) -> None:
    if math.prod(_numbers(attributes["shape"])) > LARGEST:
        raise ValueError(f"is a constant of shape {attributes['shape']}")


def _check_reshape(attributes: Attributes) -> None:
    if not _numbers(attributes.get("shape")):
        raise ValueError("has no shape")


CUDNN = {name: dropped for name in ("cudnn_tune", "cudnn_off", "workspace")}
CONVOLUTION = Operator(_dense_inputs, {
    "kernel": integers(2, 1, 512), "stride": integers(2, 1, 512, empty=True), "dilate": integers(2, 1, 64, empty=True),
    "pad": integers(2, 0, 512, empty=True), "num_filter": integer(1, 1 << 16), "num_group": integer(1, 1 << 16),
    "no_bias": flag, "layout": among("NCHW", "None"), **CUDNN}, ("kernel", "num_filter"), check=_check_convolution)
BATCH_NORM = Operator(_takes(5), {
    "eps": number(1e-12, 1), "momentum": number(0, 1), "fix_gamma": flag, "use_global_stats": flag,
    "output_mean_var": exactly("False"), "axis": exactly("1"), "cudnn_off": dropped, "min_calib_range": dropped,
    "max_calib_range": dropped}, states=1)
POOLING = Operator(_takes(1), {
    "kernel": integers(2, 1, 512, empty=True), "stride": integers(2, 1, 512, empty=True),
    "pad": integers(2, 0, 512, empty=True), "pool_type": among("avg", "max", "sum"), "global_pool": flag,
    "pooling_convention": among("valid", "full", "same"), "count_include_pad": among("True", "False", "1", "0", "None"),
    "layout": among("NCHW", "None"), "cudnn_off": dropped}, check=_check_pooling)
SOFTMAX_OUTPUT = Operator(_takes(1, 2), {
    "grad_scale": number(), "ignore_label": number(), "multi_output": flag, "use_ignore": flag, "preserve_shape": flag,
    "normalization": among("null", "batch", "valid"), "out_grad": flag, "smooth_alpha": number(0, 1)})
REGRESSION = Operator(_takes(1, 2), {"grad_scale": number()})
UNARY = Operator(_takes(1))
BINARY = Operator(_takes(2))
SCALAR = Operator(_takes(1), {"scalar": number(), "is_int": flag}, ("scalar",))
REDUCTION = Operator(_takes(1), {"axis": axes, "keepdims": flag, "exclude": flag})
SUM_OF_SEVERAL = Operator(_several, {"num_args": integer(1, 256)}, ("num_args",))
CONSTANT = Operator(_takes(0), {"shape": integers(None, 1, LARGEST), "dtype": TYPE, "ctx": dropped}, ("shape",),
                    check=_check_constant)
SOFTMAX = Operator(_takes(1), {"axis": integer(-6, 6), "temperature": among("None", "1", "1.0"),
                               "dtype": dropped, "use_length": exactly("False")})
CAST = Operator(_takes(1), {"dtype": TYPE}, ("dtype",))
RESHAPE = Operator(_takes(1), {"shape": reshaping, "reverse": exactly("False"), "target_shape": exactly("(0,0)", "()"),
                               "keep_highest": exactly("False")}, check=_check_reshape)
SPLIT = Operator(_takes(1), {"num_outputs": integer(1, 256), "axis": integer(-6, 6), "squeeze_axis": flag},
                 ("num_outputs",), outputs=lambda attributes: int(attributes["num_outputs"]))
CONCAT = Operator(_several, {"num_args": integer(1, 256), "dim": integer(-6, 6)}, ("num_args",))
PICK = Operator(_takes(2), {"axis": integer(-6, 6), "keepdims": flag, "mode": among("clip", "wrap")})
ONE_HOT = Operator(_takes(1), {"depth": integer(1, LARGEST), "on_value": number(), "off_value": number(),
                               "dtype": TYPE}, ("depth",))

OPERATORS: dict[str, Operator] = {
    "BatchNorm": BATCH_NORM, "BatchNorm_v1": BATCH_NORM, "Convolution": CONVOLUTION, "Convolution_v1": CONVOLUTION,
    "FullyConnected": Operator(_dense_inputs, {"num_hidden": integer(1, LARGEST), "no_bias": flag, "flatten": flag},
                               ("num_hidden",)),
    "Activation": Operator(_takes(1), {"act_type": among("relu", "sigmoid", "tanh", "softrelu", "softsign")},
                           ("act_type",)),
    "LeakyReLU": Operator(
        lambda attributes: (2,) if attributes.get("act_type") == "prelu" else (1,),
        {"act_type": among("leaky", "prelu", "elu", "selu", "gelu"), "slope": number(-1e6, 1e6),
         "lower_bound": number(-1e6, 1e6), "upper_bound": number(-1e6, 1e6)}),
    "Pooling": POOLING, "Pooling_v1": POOLING,
    "Dropout": Operator(_takes(1), {"p": number(0, 0.999), "mode": exactly("training"), "axes": exactly("()"),
                                    "cudnn_off": dropped}),
    "L2Normalization": Operator(_takes(1), {"eps": number(0, 1), "mode": among("instance", "channel", "spatial")}),
    "SoftmaxActivation": Operator(_takes(1), {"mode": among("instance", "channel")}),
    "SoftmaxOutput": SOFTMAX_OUTPUT, "Softmax": SOFTMAX_OUTPUT, "softmax": SOFTMAX, "log_softmax": SOFTMAX,
    "clip": Operator(_takes(1), {"a_min": number(), "a_max": number()}, ("a_min", "a_max")),
    "where": Operator(_takes(3)),  # InsightFace's ArcFace
    "amp_multicast": Operator(lambda attributes: (int(attributes["num_outputs"]),), {
        "num_outputs": integer(1, 256), "cast_narrow": flag}, ("num_outputs",),
        outputs=lambda attributes: int(attributes["num_outputs"])),
    "Cast": CAST, "cast": CAST, "amp_cast": CAST, "Reshape": RESHAPE, "reshape": RESHAPE, "SliceChannel": SPLIT,
    "split": SPLIT, "Concat": CONCAT, "concat": CONCAT, "pick": PICK, "one_hot": ONE_HOT,
    "transpose": Operator(_takes(1), {"axes": permutation}),
    "tile": Operator(_takes(1), {"reps": integers(None, 1, LARGEST)}, ("reps",)),  # InsightFace's GNAP
    "expand_dims": Operator(_takes(1), {"axis": integer(-6, 6)}, ("axis",)),
    "batch_dot": Operator(_takes(2), {"transpose_a": flag, "transpose_b": flag, "forward_stype": exactly("None")}),
    "broadcast_like": Operator(_takes(2), {"lhs_axes": axes, "rhs_axes": axes}),
    "slice": Operator(_takes(1), {"begin": places, "end": places, "step": exactly("()", "[]")}, ("begin", "end")),
    "slice_axis": Operator(_takes(1), {"axis": integer(-6, 6), "begin": size, "end": size}, ("axis", "begin", "end")),
    "MakeLoss": Operator(_takes(1), {"grad_scale": number(), "valid_thresh": number(),
                                     "normalization": among("null", "batch", "valid")}),
    "norm": Operator(_takes(1), {"ord": among("1", "2"), "axis": axes, "keepdims": flag}),
    "_ones": CONSTANT, "_zeros": CONSTANT,
    **dict.fromkeys(("elemwise_add", "_plus", "_Plus", "elemwise_sub", "_minus", "_Minus", "elemwise_mul", "_mul",
                     "_Mul", "elemwise_div", "_div", "_Div", "_maximum", "_Maximum", "_minimum", "_Minimum",
                     "broadcast_add", "broadcast_plus", "broadcast_sub", "broadcast_minus", "broadcast_mul",
                     "broadcast_div", "broadcast_maximum", "broadcast_minimum", "broadcast_greater",
                     "broadcast_greater_equal", "broadcast_lesser", "broadcast_lesser_equal"), BINARY),
    **dict.fromkeys((f"_{name}_scalar" for name in (
        "plus", "minus", "rminus", "mul", "div", "rdiv", "power", "maximum", "minimum", "greater", "greater_equal",
        "lesser", "lesser_equal", "equal", "not_equal")), SCALAR),
    **dict.fromkeys(("_PlusScalar", "_MinusScalar", "_RMinusScalar", "_MulScalar", "_DivScalar", "_RDivScalar",
                     "_PowerScalar", "_MaximumScalar", "_MinimumScalar"), SCALAR),
    **dict.fromkeys(("Flatten", "flatten", "square", "sqrt", "rsqrt", "abs", "exp", "log", "relu", "sigmoid", "tanh",
                     "softsign", "negative", "_copy", "identity", "BlockGrad", "stop_gradient", "ones_like",
                     "zeros_like", "sign", "cos", "sin", "arccos"), UNARY),
    **dict.fromkeys(("mean", "sum", "sum_axis", "max", "min"), REDUCTION),
    **dict.fromkeys(("add_n", "ElementWiseSum"), SUM_OF_SEVERAL),
    **dict.fromkeys(("LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput"), REGRESSION),
}

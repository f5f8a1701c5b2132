"""Limits on the cost of an untrusted network: a few nodes are enough to demand more memory or time than any machine
has."""
from __future__ import annotations

import contextlib
import io
import json
import math

import mxnet as mx

from symbols.graph import to_json

# LResNet100E at 112x112: 0.8 million values in its largest map, 32 million in all, 12 thousand million multiply-adds.
LARGEST_MAP, ALL_MAPS = 1 << 24, 1 << 28
MOST_MULTIPLY_ADDS = 5 * 10 ** 11
PRODUCTS = ("Convolution", "Convolution_v1", "FullyConnected", "batch_dot")


def check_cost(symbol: mx.sym.Symbol, data_shape: tuple[int, ...]) -> None:
    """ValueError, in a few words, where one image of `data_shape`, (N, 3, H, W), takes more values or multiply-adds
    than any network for faces; `infer_shapes` must have succeeded before."""
    internals = symbol.get_internals()
    with contextlib.redirect_stdout(io.StringIO()):
        arguments, outputs, _ = internals.infer_shape(data=(1, *data_shape[1:]))
    given = dict(zip(internals.list_arguments(), arguments))
    maps = [(name, shape) for name, shape in zip(internals.list_outputs(), outputs) if name not in given]
    for name, shape in maps:
        if math.prod(shape) > LARGEST_MAP:
            raise ValueError(f"{name} would have {math.prod(shape)} values for one image")
    total = sum(math.prod(shape) for _, shape in maps)
    if total > ALL_MAPS:
        raise ValueError(f"its maps would have {total} values for one image")
    shapes = {**given, **_largest(maps)}
    work = 0
    nodes = json.loads(to_json(symbol))["nodes"]
    for node in nodes:
        if node["op"] == "LeakyReLU" and len(node["inputs"]) > 1:
            slope, out = _shape_of(nodes[node["inputs"][1][0]], shapes), shapes[f"{node['name']}_output"]
            if len(slope) != 1 or slope[0] not in (1, *out[1:2]):
                raise ValueError(f"{node['name']} has a slope of shape {slope} for maps of {out[1:]}")
        if node["op"] in PRODUCTS:
            out = shapes[f"{node['name']}_output"]
            weight = _shape_of(nodes[node["inputs"][1][0]], shapes)
            inner = math.prod(weight[1:]) if node["op"] != "batch_dot" else max(weight)
            work += math.prod(out) * inner
            if len(out) == 4 and out[2] * out[3] * inner > ALL_MAPS:
                raise ValueError(f"{node['name']} would unfold {out[2] * out[3] * inner} values for one image")
    if work > MOST_MULTIPLY_ADDS:
        raise ValueError(f"it would take {work:.0e} multiply-adds for one image")


def _largest(maps: list[tuple[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]]:
    """By name, the largest shape: nodes may share a name."""
    return dict(sorted(maps, key=lambda item: math.prod(item[1])))


def _shape_of(node: dict, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    name = node["name"]
    return shapes.get(name if node["op"] == "null" else f"{name}_output") or shapes.get(f"{name}_output0") or (1,)

"""Parameters of a network, and multiply-adds of its forward pass."""
from __future__ import annotations

import json
import math

import mxnet as mx

from symbols.shapes import infer_shapes


def flops_and_params(symbol: mx.sym.Symbol, data_shape: tuple[int, ...]) -> tuple[int, int]:
    """(multiply-adds of one image, parameters).

    Counted as in the papers: convolutions and fully connected layers; auxiliary states are not parameters.
    data_shape: (N, 3, H, W), any N.
    """
    shapes = infer_shapes(symbol, (1, *data_shape[1:]))
    nodes = json.loads(symbol.tojson())["nodes"]
    macs = 0
    for node in nodes:
        if node["op"] in ("Convolution", "FullyConnected"):
            weight = nodes[node["inputs"][1][0]]
            if weight["op"] == "null":  # without the constant ones that sum GNAP's channels
                macs += math.prod(shapes[f"{node['name']}_output"]) * math.prod(shapes[weight["name"]][1:])
    return macs, sum(math.prod(shapes[name]) for name in symbol.list_arguments() if name != "data")

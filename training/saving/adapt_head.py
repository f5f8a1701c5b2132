"""Adapts a state to a run whose classification layer is stored differently, or has another loss.

A whole layer's momentum is the trainer's; a sharded or sampled one keeps its own beside the weights.
"""
from __future__ import annotations

from typing import Mapping

import mxnet as mx

from training.head.layer import Layer
from training.head.shard import momentum_of

Arrays = Mapping[str, mx.nd.NDArray]


def adapt_head(layer: Layer, whole: bool, head: Arrays, momentum: Arrays) -> tuple[dict, dict]:
    """(head, momentum) as a layer of this kind saves them; others are left out.

    whole: on every device, with parameters of the trainer. A bias that the state lacks starts at 0.
    """
    weights = {name: head[name] for name in layer.arrays if name in head}
    moving = {name: head.get(momentum_of(name), momentum.get(name)) for name in weights}
    moving = {name: value for name, value in moving.items() if value is not None}
    others = {name: value for name, value in momentum.items() if not name.startswith("fc7_")}
    if whole:
        return weights, {**others, **moving}
    return {**weights, **{momentum_of(name): value for name, value in moving.items()}}, others

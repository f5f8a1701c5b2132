"""What a run will cost, before it runs: parameters, multiply-adds, memory on each device."""
from __future__ import annotations

import math
from dataclasses import dataclass

import mxnet as mx

from symbols.count import flops_and_params
from symbols.shapes import infer_shapes, parameter_names
from training.config import Config

FLOAT = 4


@dataclass(frozen=True)
class Estimate:
    """parameters and macs (multiply-adds of one image) of the embedding; head_parameters of fc7; bytes a device."""

    parameters: int
    macs: int
    head_parameters: int
    memory: int


def estimate(symbol: mx.sym.Symbol, config: Config, image_size: tuple[int, int], num_classes: int) -> Estimate:
    """Estimate a training step.

    Memory: weights, gradients and momentum of network and head, every layer's output kept for the backward pass with as
    much again for its gradient, and three arrays of batch x classes in the head.
    """
    shape = (1, 3, *image_size)
    macs, parameters = flops_and_params(symbol, shape)
    head = num_classes * config.emb_size
    activations = 2 * _outputs(symbol, shape) * config.per_batch_size
    logits = 3 * config.per_batch_size * num_classes
    return Estimate(parameters, macs, head, FLOAT * (3 * (parameters + head) + activations + logits))


def _outputs(symbol: mx.sym.Symbol, shape: tuple[int, ...]) -> int:
    variables = {"data", *parameter_names(symbol)}
    return sum(math.prod(output) for name, output in infer_shapes(symbol, shape).items() if name not in variables)

"""What a run will cost, before it runs: parameters, multiply-adds, memory on each device."""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import mxnet as mx

from symbols.count import flops_and_params
from symbols.segments import choose_cuts
from symbols.shapes import infer_shapes, parameter_names
from training.config import Config
from training.shard import CHUNK

FLOAT, HALF = 4, 2  # bytes


@dataclass(frozen=True)
class Estimate:
    """parameters and macs (multiply-adds of one image) of the embedding; head_parameters of fc7; bytes on each device,
    of the network and of fc7."""

    parameters: int
    macs: int
    head_parameters: int
    network_memory: int
    head_memory: int


def estimate(symbol: mx.sym.Symbol, config: Config, image_size: tuple[int, int], num_classes: int,
             devices: int) -> Estimate:
    """Estimate a training step.

    Memory of the network: weights, gradients and momentum, every layer's output kept for the backward pass with as much
    again for its gradient. In float16 those take half, and there is a float16 copy of the weights. Mirrored, it is the
    maps of one segment, and three times what passes between segments (kept, put out, and its gradient).
    """
    shape = (1, 3, *image_size)
    macs, parameters = flops_and_params(symbol, shape)
    activations = 2 * _outputs(symbol, shape) * config.per_batch_size
    if config.mirror_memory:
        cuts = choose_cuts(symbol, shape)
        activations = (3 * cuts.kept + 2 * cuts.inner) * config.per_batch_size
    network = FLOAT * (3 * parameters + activations)
    if config.dtype == "float16":
        network = FLOAT * 3 * parameters + HALF * (parameters + activations)
    return Estimate(parameters, macs, num_classes * config.emb_size, network,
                    head_memory(config, num_classes, devices))


def head_memory(config: Config, num_classes: int, devices: int) -> int:
    """Bytes that a training step of the classification layer takes on one device, the fullest.

    Weights and momentum of the device's classes; of those that take part the gradient, a copy of the weights where they
    are sampled, and two arrays of samples x classes; what the update takes at a time. Where several devices hold the
    whole layer, a gradient of each on the one that adds them up. `python -m benchmarks.head_memory` measures.
    """
    samples, rows = config.per_batch_size, num_classes
    if config.fc7_parallel:
        samples, rows = samples * devices, math.ceil(rows / devices)
    taking = math.ceil(config.partial_fc * rows)
    copies = 2 * rows + taking * (1 if config.partial_fc == 1 else 2)
    if devices > 1 and not config.fc7_parallel and config.partial_fc == 1:
        copies += devices * rows
    return FLOAT * (copies * config.emb_size + 2 * samples * taking + 3 * min(CHUNK, taking * config.emb_size))


def compare_heads(config: Config, num_classes: int, devices: int) -> str:
    """The classification layer's memory in each of its layouts, for the log."""
    rate = config.partial_fc if config.partial_fc < 1 else 0.1
    layouts = {"whole": dict(fc7_parallel=False, partial_fc=1.0), "--fc7-parallel": dict(fc7_parallel=True,
               partial_fc=1.0), f"--partial-fc {rate:g}": dict(fc7_parallel=False, partial_fc=rate),
               "both": dict(fc7_parallel=True, partial_fc=rate)}
    return ", ".join(f"{name} {head_memory(replace(config, **flags), num_classes, devices) / 2 ** 30:.2f} GiB"
                     for name, flags in layouts.items())


def _outputs(symbol: mx.sym.Symbol, shape: tuple[int, ...]) -> int:
    variables = {"data", *parameter_names(symbol)}
    return sum(math.prod(output) for name, output in infer_shapes(symbol, shape).items() if name not in variables)

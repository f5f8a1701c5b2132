"""Estimates the cost of a run: parameters, multiply-adds, memory on each device."""
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import mxnet as mx

from common.mxnet_compat import allotted_megabytes
from symbols.count import flops_and_params
from symbols.segments import choose_cuts, split
from training.head.shard import CHUNK
from training.saving.contents import FLOAT
from training.specs import HeadSpec, ModelSpec

HALF = 2  # bytes of a float16
UNSHARED = 1.6  # measured: the segments' arrays cannot share memory perfectly
PLANNED = 16  # images of the plan: the planner reports whole megabytes


@dataclass(frozen=True)
class Estimate:
    """parameters and macs (multiply-adds of one image) of the embedding; head_parameters of fc7; bytes on each device,
    of the network and of fc7."""

    parameters: int
    macs: int
    head_parameters: int
    network_memory: int
    head_memory: int

    @property
    def state_memory(self) -> int:
        """Bytes of the host's memory that hold a copy of weights and momentum while a state is written."""
        return 2 * FLOAT * (self.parameters + self.head_parameters)


def estimate(symbol: mx.sym.Symbol, spec: ModelSpec, samples: int, image_size: tuple[int, int], num_classes: int,
             devices: int) -> Estimate:
    """Estimate a training step with so many samples on each device at a time.

    Memory of the network: weights, gradients and momentum, and what MXNet's planner allocates for the maps. With
    recomputation, those are the largest segment's and three times what passes between segments (kept, put out, and its
    gradient), times UNSHARED, and no more than without. float16 is assumed to halve the maps, and has a float16 copy of
    the weights.
    """
    shape = (1, 3, *image_size)
    macs, parameters = flops_and_params(symbol, shape)
    maps = _planned(symbol, shape)
    if spec.recompute:
        cuts = choose_cuts(symbol, shape)
        inner = 0
        for segment in split(symbol, cuts.places):
            inner = max(inner, _planned(segment, shape))
            shape = tuple(segment.infer_shape(data=shape)[1][0])
        maps = min(maps, int(UNSHARED * (3 * FLOAT * cuts.kept + inner)))
    network = 3 * FLOAT * parameters + maps * samples
    if spec.float16:
        network = 3 * FLOAT * parameters + HALF * parameters + maps * samples // 2
    return Estimate(parameters, macs, num_classes * spec.head.emb_size, network,
                    head_memory(spec.head, samples, num_classes, devices))


def head_memory(spec: HeadSpec, samples: int, num_classes: int, devices: int) -> int:
    """Bytes of a training step of the classification layer on the device with the most.

    Weights and momentum of the device's classes; of the sampled ones the gradient, a copy of the weights where they are
    sampled, and two arrays of samples x classes; what the update takes at a time. Where several devices hold the whole
    layer, a gradient of each on the one that adds them up. `python -m benchmarks.head_memory` measures.
    """
    rows = num_classes
    if spec.fc7_parallel:
        samples, rows = samples * devices, math.ceil(rows / devices)
    taking = math.ceil(spec.partial_fc * rows)
    copies = 2 * rows + taking * (1 if spec.partial_fc == 1 else 2)
    if devices > 1 and not spec.fc7_parallel and spec.partial_fc == 1:
        copies += devices * rows
    return FLOAT * (copies * spec.emb_size + 2 * samples * taking + 3 * min(CHUNK, taking * spec.emb_size))


def compare_heads(spec: HeadSpec, samples: int, num_classes: int, devices: int) -> str:
    """The classification layer's memory in each of its layouts, for the log."""
    rate = spec.partial_fc if spec.partial_fc < 1 else 0.1
    layouts: dict[str, dict[str, Any]] = {
        "whole": dict(fc7_parallel=False, partial_fc=1.0), "`fc7_parallel`": dict(fc7_parallel=True, partial_fc=1.0),
        f"`partial_fc` {rate:g}": dict(fc7_parallel=False, partial_fc=rate),
        "both": dict(fc7_parallel=True, partial_fc=rate)}
    return ", ".join(f"{name} {head_memory(replace(spec, **layout), samples, num_classes, devices) / 2 ** 30:.2f} GiB"
                     for name, layout in layouts.items())


def _planned(symbol: mx.sym.Symbol, shape: tuple[int, ...]) -> int:
    """Bytes that MXNet's memory planner allocates for the maps of one image, forward and backward."""
    allotted = []
    for images in (1, 1 + PLANNED):
        requests = {name: "null" if name == "data" else "write" for name in symbol.list_arguments()}
        bound = symbol.simple_bind(mx.cpu(), data=(images, *shape[1:]), grad_req=requests)
        allotted.append(allotted_megabytes(bound))
    return (allotted[1] - allotted[0]) * 2 ** 20 // PLANNED

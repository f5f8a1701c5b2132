"""Checks the arrays of a state against a network and its classification layer."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

import mxnet as mx
import numpy as np

from training.head.shard import momentum_of
from training.precision import LEAST, MOST
from training.saving.names import ARRAYS

LOSS_SCALE = "loss_scale"  # not a parameter, but part of a state
MOST_COPIES = 65536  # of running statistics: devices of all workers
FLOAT = 4  # bytes of a float32, as all arrays of a state are

Shapes = Mapping[str, "tuple[int, ...]"]


@dataclass(frozen=True)
class Contents:
    """Shapes by name: net of parameters and auxiliary states, those in `auxiliary` with copies; head of all that the
    classification layer of any loss may have, of which it must have fc7_weight."""

    net: Shapes
    auxiliary: frozenset[str]
    head: Shapes

    def most_bytes(self) -> int:
        """An upper bound of the size of a file of such arrays."""
        shapes = [*self.net.values(), *self._head_arrays().values()]
        copies = MOST_COPIES // 64 * sum(_size(self.net[name]) for name in self.auxiliary)
        return FLOAT * (sum(map(_size, shapes)) + copies) + (1 << 20) + 1024 * len(shapes)

    def check(self, arrays: Mapping[str, Mapping[str, mx.nd.NDArray]]) -> None:
        """ValueError, naming the first array at fault, where `arrays` of a state are not these."""
        net, head, momentum = (arrays[part] for part in ARRAYS)
        copies = {name.partition("@")[2] for name in net if "@" in name} or {"0"}
        required = [name for name in self.net if name not in self.auxiliary]
        required += [f"{name}@{number}" for name in sorted(self.auxiliary) for number in range(len(copies))]
        for part, there, names, shape_of in (
                ("net", net, required, self._net_shape), ("head", head, ("fc7_weight",), self._head_arrays().get),
                ("momentum", momentum, (), {**self.net, **self.head}.get)):
            missing = [name for name in names if name not in there]
            if missing:
                raise ValueError(f"{part}.params lacks {missing[0]}")
            for name, value in there.items():
                _check_array(f"{name!r} in {part}.params", value, shape_of(name))
        scale = net.get(LOSS_SCALE)
        if scale is not None and not (LEAST <= float(scale[0].asscalar()) <= MOST and (scale >= 0).asnumpy().all()):
            raise ValueError("the loss scale in net.params is invalid")

    def _net_shape(self, name: str) -> tuple[int, ...] | None:
        if name == LOSS_SCALE:
            return (3,)
        base, at, number = name.partition("@")
        if at and not (base in self.auxiliary and number.isascii() and number.isdigit()
                       and len(number) < 6 and int(number) < MOST_COPIES):
            return None
        return self.net.get(base)

    def _head_arrays(self) -> Shapes:
        return {**self.head, **{momentum_of(name): shape for name, shape in self.head.items()}}


def _check_array(title: str, value: mx.nd.NDArray, shape: tuple[int, ...] | None) -> None:
    if shape is None:
        raise ValueError(f"{title} is not of this network"[:200])
    if tuple(value.shape) != tuple(shape) or value.dtype != np.float32:
        raise ValueError(f"{title} is {np.dtype(value.dtype).name} {tuple(value.shape)}, not float32 {tuple(shape)}")
    array = value.asnumpy()
    if not np.isfinite(array.sum()) and not np.isfinite(array).all():
        raise ValueError(f"{title} is not finite")


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))

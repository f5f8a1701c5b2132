"""SGD whose step is applied or skipped by a flag on the device, without synchronisation.

MXNet's update has no such flag, and its scalars (a learning rate of 0) do not help: 0 times NaN is NaN, and momentum
updates the weights without a gradient. So the step is computed into the gradient's memory, which is overwritten, and
applied where the flag is 1; meanwhile a copy of the momentum is kept. An applied step is MXNet's, bit for bit.
"""
from __future__ import annotations

from typing import Any, Sequence

import mxnet as mx

from common.mxnet_compat import split_into

CHUNK = 1 << 20  # values that are updated at a time, so that copies stay small
SMALL = 1 << 16  # largest number of values of an array that is updated together with others
MOST_AT_ONCE = 32  # such arrays


class Gate:
    """good: (1,), 1 or 0, on any device; its copies go to the others on demand, without synchronisation."""

    def __init__(self, good: mx.nd.NDArray) -> None:
        self.good = good
        self._conditions: dict[tuple[mx.Context, tuple[int, ...]], mx.nd.NDArray] = {}

    def choose(self, new: mx.nd.NDArray, old: mx.nd.NDArray, out: mx.nd.NDArray) -> None:
        """out := `new` where the flag is 1, else `old`: arrays of one shape, on one device."""
        mx.nd.where(self._condition(out.context, out.shape), new, old, out=out)

    def _condition(self, device: mx.Context, shape: tuple[int, ...]) -> mx.nd.NDArray:
        """The flag for each value: on CPUs `where` takes twice as long with one for a whole row."""
        if (device, shape) not in self._conditions:
            flag = self.good.as_in_context(device).reshape((1,) * len(shape))
            self._conditions[device, shape] = mx.nd.broadcast_to(flag, shape)
        return self._conditions[device, shape]


def move(weight: mx.nd.NDArray, gradient: mx.nd.NDArray, moving: mx.nd.NDArray | None, gate: Gate | None,
         **settings: Any) -> None:
    """An in-place step of SGD, as MXNet's sgd_mom_update with these settings; with a gate, only where that is open.

    moving: the momentum's array, None without. With a gate, `gradient` is overwritten.
    """
    if gate is None:
        _step(weight, gradient, moving, weight, **settings)
        return
    if weight.size > CHUNK:
        flat = [None if array is None else array.reshape((-1,)) for array in (weight, gradient, moving)]
        for first in range(0, weight.size, CHUNK):
            old, new, speed = (None if array is None else array[first:first + CHUNK] for array in flat)
            move(old, new, speed, gate, **settings)
        return
    before = None if moving is None else moving.copy()
    _step(weight, gradient, moving, gradient, **settings)
    gate.choose(gradient, weight, weight)
    if moving is not None:
        gate.choose(moving, before, moving)


def _step(weight: mx.nd.NDArray, gradient: mx.nd.NDArray, moving: mx.nd.NDArray | None, out: mx.nd.NDArray,
          lr: float, wd: float, **settings: Any) -> None:
    if moving is None:  # the operator that a Trainer uses: sgd_update rounds otherwise
        mx.nd.multi_sgd_update(weight, gradient, out=out, num_weights=1, lrs=[lr], wds=[wd], **settings)
    else:
        mx.nd.sgd_mom_update(weight, gradient, moving, out=out, lr=lr, wd=wd, **settings)


class GatedSGD(mx.optimizer.SGD):
    """MXNet's SGD, through `gate` where there is one; small arrays are then updated as one, since a network has
    hundreds, and each operator costs Python tens of microseconds."""

    gate: Gate | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._flat: dict[int, tuple[mx.nd.NDArray, mx.nd.NDArray]] = {}  # by id: an array, and itself as (n,)

    @property
    def aggregate_num(self) -> int:
        """The number of arrays per call of `update_multi_precision`."""
        return MOST_AT_ONCE if self.gate is not None else self._at_once

    @aggregate_num.setter
    def aggregate_num(self, number: int) -> None:
        self._at_once = number

    def update_multi_precision(self, index: int | Sequence[int], weight: Sequence[mx.nd.NDArray],
                               grad: Sequence[mx.nd.NDArray], state: Sequence[mx.nd.NDArray | None]) -> None:
        """Update some weights with their gradients; called by a Trainer's updaters."""
        if self.gate is None:
            super().update_multi_precision(index, weight, grad, state)
            return
        if isinstance(index, int):  # as updaters do where MXNET_OPTIMIZER_AGGREGATION_SIZE is 0
            index, weight, grad, state = [index], [weight], [grad], [state]
        self._update_count(index)
        together: dict[tuple[float, float], list[tuple[mx.nd.NDArray, mx.nd.NDArray, mx.nd.NDArray]]] = {}
        for array, gradient, moving, lr, wd in zip(weight, grad, state, self._get_lrs(index), self._get_wds(index)):
            if moving is None or array.size > SMALL:
                move(array, gradient, moving, self.gate, lr=lr, wd=wd, **self._settings())
            else:
                together.setdefault((lr, wd), []).append((array, gradient, moving))
        for (lr, wd), triples in together.items():
            self._move_together(triples, lr, wd)

    def _move_together(self, triples: list[tuple[mx.nd.NDArray, mx.nd.NDArray, mx.nd.NDArray]], lr: float,
                       wd: float) -> None:
        places = [[self._as_flat(array) for array in arrays] for arrays in zip(*triples)]
        weight, gradient, moving = (mx.nd.concat(*arrays, dim=0) for arrays in places)
        move(weight, gradient, moving, self.gate, lr=lr, wd=wd, **self._settings())
        split_into(weight, places[0])
        split_into(moving, places[2])

    def _as_flat(self, array: mx.nd.NDArray) -> mx.nd.NDArray:
        if id(array) not in self._flat:
            self._flat[id(array)] = array, array.reshape((-1,))
        return self._flat[id(array)][1]

    def _settings(self) -> dict[str, float]:
        return {"rescale_grad": self.rescale_grad, **({"momentum": self.momentum} if self.momentum else {})}

"""SGD whose step is applied or skipped by a flag on the device, without synchronisation.

MXNet's update has no such flag, and its scalars (a learning rate of 0) do not help: 0 times NaN is NaN, and momentum
updates the weights without a gradient. So the step is computed into the gradient's memory, which is overwritten, and
applied where the flag is 1; meanwhile a copy of the momentum is kept. An applied step is MXNet's, bit for bit.
"""
from __future__ import annotations

import sys
from typing import Any, Sequence

import mxnet as mx

from common.mxnet_compat import are_the_same, prepared_but_attributes, split_into

CHUNK = 1 << 20  # values that are updated at a time, so that copies stay small
SMALL = 1 << 16  # largest number of values of an array that is updated together with others
MOST_AT_ONCE = 32  # arrays that are updated by one operator


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


class PreparedSGD:
    """Steps of MXNet's SGD in place, which cost Python little where the arrays are those of the step before."""

    def __init__(self) -> None:
        self._arrays: list[mx.nd.NDArray] = []

    def __call__(self, weights: Sequence[mx.nd.NDArray], gradients: Sequence[mx.nd.NDArray],
                 momenta: Sequence[mx.nd.NDArray | None], lrs: Sequence[float], wds: Sequence[float],
                 **settings: float) -> None:
        """A step with MXNet's settings of multi_sgd_mom_update; momenta: None for all of them without momentum."""
        moving, alone = momenta[0] is not None, momenta[0] is not None and len(weights) == 1
        kinds = (weights, gradients, momenta) if moving else (weights, gradients)
        arrays = [array for of_one in zip(*kinds) for array in of_one]
        if not are_the_same(arrays, self._arrays):
            # alone, sgd_mom_update takes two thirds of the time for the same bits; sgd_update rounds otherwise
            name = "sgd_mom_update" if alone else "multi_sgd_mom_update" if moving else "multi_sgd_update"
            self._arrays, self._queue = arrays, prepared_but_attributes(name, arrays, weights)
        self._queue({**settings, "lr": lrs[0], "wd": wds[0]} if alone else
                    {**settings, "lrs": lrs, "wds": wds, "num_weights": len(weights)})


class GatedSGD(mx.optimizer.SGD):
    """MXNet's SGD, through `gate` where there is one. A network has hundreds of arrays, and each operator costs Python
    tens of microseconds, so many small ones are updated by one."""

    gate: Gate | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.aggregate_num = sys.maxsize  # an updater gives all arrays of a device at once
        self._groups: dict[tuple[int, int], list[tuple[list[int], PreparedSGD]]] = {}
        self._flat: dict[int, tuple[mx.nd.NDArray, mx.nd.NDArray]] = {}  # by id: an array, and itself as (n,)

    def update_multi_precision(self, index: int | Sequence[int], weight: Sequence[mx.nd.NDArray],
                               grad: Sequence[mx.nd.NDArray], state: Sequence[mx.nd.NDArray | None]) -> None:
        """Update some weights with their gradients; called by a Trainer's updaters."""
        if isinstance(index, int):  # as some updaters do
            index, weight, grad, state = [index], [weight], [grad], [state]
        self._update_count(index)
        lrs, wds = self._get_lrs(index), self._get_wds(index)
        if self.gate is None:
            for group, step in self._groups_of(weight):
                weights, gradients, momenta = ([arrays[place] for place in group] for arrays in (weight, grad, state))
                step(weights, gradients, momenta, lrs=[lrs[place] for place in group],
                     wds=[wds[place] for place in group], **self._settings())
            return
        together: dict[tuple[float, float], list[tuple[mx.nd.NDArray, mx.nd.NDArray, mx.nd.NDArray]]] = {}
        for array, gradient, moving, lr, wd in zip(weight, grad, state, lrs, wds):
            if moving is None or array.size > SMALL:
                move(array, gradient, moving, self.gate, lr=lr, wd=wd, **self._settings())
            else:
                together.setdefault((lr, wd), []).append((array, gradient, moving))
        for (lr, wd), triples in together.items():
            for start in range(0, len(triples), MOST_AT_ONCE):
                self._move_together(triples[start:start + MOST_AT_ONCE], lr, wd)

    def _update_count(self, index: Sequence[int]) -> None:
        """One array counts for all of a device, which are updated at once."""
        super()._update_count(index[:1])

    def _groups_of(self, weights: Sequence[mx.nd.NDArray]) -> list[tuple[list[int], PreparedSGD]]:
        """Places of arrays that one operator updates: large ones alone, others with some of sizes alike, since it walks
        through all as far as through the longest. By the first array, which each device has its own of."""
        key = id(weights[0]), len(weights)
        if key not in self._groups:
            groups: list[list[int]] = []
            for place in sorted(range(len(weights)), key=lambda place: -weights[place].size):
                longest = weights[groups[-1][0]].size if groups else sys.maxsize
                if longest > SMALL or weights[place].size * 2 < longest or len(groups[-1]) == MOST_AT_ONCE:
                    groups.append([])
                groups[-1].append(place)
            self._groups[key] = [(group, PreparedSGD()) for group in groups]
        return self._groups[key]

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

"""A shard of the classification layer on one device: some rows, their momentum, and their part of a softmax.

With unit embeddings times the scale D and weights w, a logit is z = D w / |w|. The weights are never normalised, which
would take a copy of them: the product with w is scaled afterwards, and since

    dL/dw = sum_n p_n D_n / |w|  -  w / |w|^2  sum_n p_n z_n          p = dL/dz

the second term is subtracted once the gradient of a whole step is complete. A step thus needs one gradient of the
sampled rows, and two arrays of (samples, rows).
"""
from __future__ import annotations

from typing import Iterator, Mapping

import mxnet as mx
import numpy as np

from common.devices import put
from common.mxnet_compat import Queue, prepared, set_rows
from training.bound_graph import Arrays, BoundGraph
from training.gate import Gate, PreparedSGD, move
from training.head import graphs
from training.head.layer import Layer
from training.head.shard_pass import ShardPass

CHUNK = 2 ** 22  # largest number of elements of a temporary array of the update


class Shard:
    """Classes low .. high - 1 of `layer`.

    arrays: fc7_weight, (high - low, emb_size) on the device, for softmax with a bias fc7_bias, (high - low,), and the
    momentum of each as NAME@momentum; none before `load_rows`. A step is start_step, then the passes that `bind` makes
    once a micro-batch, then add_radial and update.
    """

    def __init__(self, layer: Layer, low: int, high: int, device: mx.Context, accumulate: bool = False) -> None:
        self.layer, self.low, self.high, self.device = layer, low, high, device
        self.names, self.accumulate = list(layer.arrays), accumulate
        self.arrays: dict[str, mx.nd.NDArray] = {}
        self.gradients: dict[str, mx.nd.NDArray] = {}
        self._numbers: np.ndarray | None = None  # the sampled rows; _rows: the same on the device
        self._rows: mx.nd.NDArray | None = None
        self._sgd = {name: PreparedSGD() for name in self.names}
        self._taking: dict[str, mx.nd.NDArray] = {}  # another dict where its arrays are others

    def load_rows(self, whole: Mapping[str, mx.nd.NDArray]) -> None:
        """Load this shard's rows from whole arrays; what is not given is 0 where there was nothing."""
        for name in self.names:
            for key in (name, momentum_of(name)):
                if key in whole:
                    self.arrays[key] = whole[key][self.low:self.high].copyto(self.device)
            if name not in self.arrays:
                self.arrays[name] = mx.nd.zeros((self.high - self.low, *self.layer.arrays[name].shape[1:]),
                                                ctx=self.device)

    def state(self) -> dict[str, mx.nd.NDArray]:
        """`arrays`, the momentum of all rows included."""
        for name in self.names:
            if momentum_of(name) not in self.arrays:  # not before the first update: initialisation does not need it
                self.arrays[momentum_of(name)] = mx.nd.zeros_like(self.arrays[name])
        return self.arrays

    def start_step(self, rows: np.ndarray | None) -> None:
        """Use `rows` (ascending, int32, counted from low) in the step; None: all of them."""
        self._numbers = rows
        if rows is None:
            taking = {name: self.arrays[name] for name in self.names}
        else:
            self._rows = put(rows, self.device)
            known = self._taking if self._taking and len(self._taking["fc7_weight"]) == len(rows) else {}
            taking = {name: mx.nd.take(self.arrays[name], self._rows, out=known.get(name)) for name in self.names}
        self.use(taking, {name: self._gradient_for(name, value) for name, value in taking.items()})
        if self.accumulate:
            for name in self.names:
                self.gradients[name][:] = 0

    def _gradient_for(self, name: str, array: mx.nd.NDArray) -> mx.nd.NDArray:
        known = self.gradients.get(name)
        if known is not None and (array is self._taking.get(name) or array.shape == known.shape):
            return known
        return mx.nd.zeros(array.shape, ctx=self.device)

    def use(self, arrays: Arrays, gradients: Arrays) -> None:
        """Begin a step with these arrays, by name, whose gradients are to be left in `gradients`. Passes until the
        next call share one `add_radial`."""
        if not all(self._taking.get(name) is arrays[name] and self.gradients[name] is gradients[name]
                   for name in self.names):
            self._taking = {name: arrays[name] for name in self.names}
            self.gradients = {name: gradients[name] for name in self.names}
            if self.layer.normal:
                self._bind_norms()
        if self.layer.normal:
            self._norms.forward()
            if self.accumulate:
                self.gradients["radial"][:] = 0

    def _bind_norms(self) -> None:
        weight = self._taking["fc7_weight"]
        ones = mx.nd.ones((1, weight.shape[1]), ctx=self.device)
        parts = {f"w{number}": weight[part] for number, part in enumerate(_chunks(weight))}
        self._norms = BoundGraph(graphs.inverse_norms(len(parts)), {
            **parts, **{f"one{number}": ones for number in range(len(parts))}})
        self.gradients["radial"] = mx.nd.zeros((1, len(weight)), ctx=self.device)
        self._radial = BoundGraph(graphs.radial_factor(), {"radial": self.gradients["radial"],
                                                                  "inverse": self._norms.outputs[0]})
        along, gradient = self._radial.outputs[0], self.gradients["fc7_weight"]
        term = mx.nd.empty((len(weight[next(_chunks(weight))]), weight.shape[1]), ctx=self.device)
        self._subtract: list[Queue] = []
        for part in _chunks(weight):
            here = gradient[part]
            self._subtract += [prepared("broadcast_mul", [weight[part], along[part]], term[:len(here)]),
                               prepared("elemwise_sub", [here, term[:len(here)]], here)]

    def bind(self, data: mx.nd.NDArray, before: ShardPass | None = None) -> ShardPass:
        """The passes over as many samples as `data`, on this device, has: see there. Valid while `is_bound_by`."""
        inverse = self._norms.outputs[0] if self.layer.normal else None
        return ShardPass(self.layer, self._taking, {name: self.gradients[name] for name in self.names}, inverse,
                         self.gradients.get("radial"), data, self.accumulate, before)

    def is_bound_by(self, passes: ShardPass) -> bool:
        """Whether the passes are still bound to the arrays that are used."""
        return passes.weights is self._taking

    def columns(self, labels: np.ndarray) -> np.ndarray:
        """The column of each sample's class among those that are used, -1 where another shard has it: (n,) int32."""
        here = (labels >= self.low) & (labels < self.high)
        places = labels - self.low if self._numbers is None else np.searchsorted(self._numbers, labels - self.low)
        return np.where(here, places, -1).astype(np.int32)

    def update(self, lr: float, momentum: float, decay: float, count: float, gate: Gate | None = None) -> None:
        """SGD with momentum on the sampled rows, as gluon.Trainer does it, with their gradient over `count`.

        The gradient must have been completed by `add_radial`. gate: whether anything is to move.
        Other rows are unchanged: neither momentum nor decay is applied to them.
        """
        arrays = self.state()
        for name, value in self._taking.items():
            spec, momenta = self.layer.arrays[name], arrays[momentum_of(name)]
            rate, wd = lr * spec.lr_mult, decay * spec.wd_mult
            settings = dict(momentum=momentum, rescale_grad=1 / count)
            if self._rows is None and gate is None:
                self._sgd[name]([value], [self.gradients[name]], [momenta], lrs=[rate], wds=[wd], **settings)
                continue
            if self._rows is None:
                move(value, self.gradients[name], momenta, gate, lr=rate, wd=wd, **settings)
                continue
            for part in _chunks(value):
                rows = self._rows[part]
                moving = mx.nd.take(momenta, rows)
                move(value[part], self.gradients[name][part], moving, gate, lr=rate, wd=wd, **settings)
                set_rows(momenta, moving, rows)
                set_rows(arrays[name], value[part], rows)

    def add_radial(self) -> None:
        """Complete the gradient of the weights with its second term, once it has been summed."""
        if self.layer.normal:
            self._radial.forward()
            for queue in self._subtract:
                queue()


def momentum_of(name: str) -> str:
    """A state's name of the momentum of a parameter."""
    return f"{name}@momentum"


def _chunks(array: mx.nd.NDArray) -> Iterator[slice]:
    """Slices of rows, CHUNK elements or less in each."""
    size = max(1, CHUNK // (array.size // len(array)))
    return (slice(first, min(first + size, len(array))) for first in range(0, len(array), size))

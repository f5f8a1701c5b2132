"""A shard of the classification layer on one device: some rows, their momentum, and their part of a softmax.

With unit embeddings times the scale D and weights w, a logit is z = D w / |w|. The weights are never normalised, which
would take a copy of them: the product with w is scaled afterwards, and since

    dL/dw = sum_n p_n D_n / |w|  -  w / |w|^2  sum_n p_n z_n          p = dL/dz

the second term is subtracted once the gradient of a whole step is complete. A step thus needs one gradient of the
sampled rows, and two arrays of (samples, rows).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Mapping

import mxnet as mx
import numpy as np
from mxnet import autograd

from common.devices import put
from common.mxnet_compat import set_at, set_rows
from training.gate import Gate, move
from training.head.layer import Layer

EPS = 1e-10  # L2Normalization's own, added to the square of the norm
CHUNK = 2 ** 22  # largest number of elements of a temporary array of the update


@dataclass(frozen=True)
class Partial:
    """A shard's statistics of n samples, (n,) each: log_sum of exp of its logits; the largest logit; is_target: 1 where
    that is of the sample's class; target: the logit of that class, cosine: its plain cosine, 0 where another shard has
    it."""

    log_sum: mx.nd.NDArray
    largest: mx.nd.NDArray
    is_target: mx.nd.NDArray
    target: mx.nd.NDArray
    cosine: mx.nd.NDArray


class Shard:
    """Classes low .. high - 1 of `layer`.

    arrays: fc7_weight, (high - low, emb_size) on the device, for softmax with a bias fc7_bias, (high - low,), and the
    momentum of each as NAME@momentum; none before `load_rows`. A step is start_step, then forward and backward once a
    micro-batch, then update.
    """

    def __init__(self, layer: Layer, low: int, high: int, device: mx.Context, accumulate: bool = False) -> None:
        self.layer, self.low, self.high, self.device = layer, low, high, device
        self.names = list(layer.arrays)
        self.request = "add" if accumulate else "write"
        self.arrays: dict[str, mx.nd.NDArray] = {}
        self.gradients: dict[str, mx.nd.NDArray] = {}
        self._numbers: np.ndarray | None = None  # the sampled rows; _rows: the same on the device
        self._rows: mx.nd.NDArray | None = None
        self._taking: dict[str, mx.nd.NDArray] = {}
        self._inverse: mx.nd.NDArray = None
        self._target: mx.nd.NDArray = None  # (2, n) samples whose class is here, and its column; None for none

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
        self._rows = None if rows is None else put(rows, self.device)
        self._taking = {name: self.arrays[name] if rows is None else mx.nd.take(self.arrays[name], self._rows)
                        for name in self.names}
        for name, value in self._taking.items():
            if name not in self.gradients or self.gradients[name].shape != value.shape:
                self.gradients[name] = mx.nd.zeros(value.shape, ctx=self.device)
            elif self.request == "add":
                self.gradients[name][:] = 0
        autograd.mark_variables(list(self._taking.values()), [self.gradients[name] for name in self._taking],
                                self.request)
        self._prepare()

    def bind(self, arrays: dict[str, mx.nd.NDArray], gradients: dict[str, mx.nd.NDArray], request: str) -> None:
        """Instead of load_rows and start_step: use all rows of a trainer's arrays, which does the update."""
        self._taking, self.gradients = arrays, dict(gradients)
        autograd.mark_variables(list(arrays.values()), [gradients[name] for name in arrays], request)
        self._prepare()

    def _prepare(self) -> None:
        if self.layer.normal:
            self._inverse = self._inverse_norms(self._taking["fc7_weight"])
            self.gradients["radial"] = mx.nd.zeros((1, len(self._inverse)), ctx=self.device)

    def forward(self, data: mx.nd.NDArray, labels: np.ndarray) -> Partial:
        """data: (n, emb_size) on the device, unit embeddings times the scale (softmax: embeddings); labels: (n,)."""
        self._data = data.detach()
        self._data.attach_grad()
        weight = self._taking["fc7_weight"]
        with autograd.record():
            logits = mx.nd.FullyConnected(self._data, *self._taking.values(), no_bias=len(self.names) == 1,
                                          num_hidden=len(weight))
        self._logits = logits
        if self.layer.normal:
            mx.nd.broadcast_mul(logits, self._inverse.reshape((1, -1)), out=logits)
        samples, places = self._target_places(labels)
        self._target = None
        if len(samples):
            self._target = put(np.stack([samples, places]).astype(np.int32), self.device)
        target = cosine = mx.nd.zeros((len(labels),), ctx=self.device)
        if self._target is not None:
            target, cosine = self._apply_margin(weight, samples, places, len(labels))
        top = mx.nd.argmax(logits, axis=1)
        self._share = mx.nd.softmax(logits)  # of this shard only
        largest = mx.nd.pick(logits, top)
        self._log_sum = largest - mx.nd.log(mx.nd.pick(self._share, top))  # at its largest the log is exact
        column = np.full(len(labels), -1, np.float32)
        column[samples] = places
        return Partial(self._log_sum, largest, top == put(column, self.device), target, cosine)

    def backward(self, log_total: mx.nd.NDArray, factor: float) -> mx.nd.NDArray:
        """From the log of the sum of exp over all shards, (n,): the gradient of factor times the summed loss.

        Returned to `data`, (n, emb_size); of the rows, kept for `update`.
        """
        share = mx.nd.exp(self._log_sum - log_total) * factor
        gradient = mx.nd.broadcast_mul(self._share, share.expand_dims(1), out=self._share)
        if self._target is not None:
            set_at(gradient, (mx.nd.gather_nd(gradient, self._target) - factor) * self._slope, self._target)
            set_at(self._logits, self._plain, self._target)
        if self.layer.normal:
            mx.nd.elemwise_mul(self._logits, gradient, out=self._logits)
            self.gradients["radial"] += mx.nd.dot(mx.nd.ones((1, len(log_total)), ctx=self.device), self._logits)
            mx.nd.broadcast_mul(gradient, self._inverse.reshape((1, -1)), out=gradient)
        self._logits.backward(gradient)
        self._logits = self._share = None
        return self._data.grad

    def update(self, lr: float, momentum: float, decay: float, count: float, gate: Gate | None = None) -> None:
        """SGD with momentum on the sampled rows, as gluon.Trainer does it, with their gradient over `count`.

        The gradient must have been completed by `add_radial`. gate: whether anything is to move.
        Other rows are unchanged: neither momentum nor decay is applied to them.
        """
        arrays = self.state()
        for name, value in self._taking.items():
            spec, momenta = self.layer.arrays[name], arrays[momentum_of(name)]
            settings = dict(lr=lr * spec.lr_mult, wd=decay * spec.wd_mult, momentum=momentum, rescale_grad=1 / count)
            for part in _chunks(value):
                gradient = self.gradients[name][part]
                rows = None if self._rows is None else self._rows[part]
                moving = momenta[part] if rows is None else mx.nd.take(momenta, rows)
                move(value[part], gradient, moving, gate, **settings)
                if rows is not None:
                    set_rows(momenta, moving, rows)
                    set_rows(arrays[name], value[part], rows)

    def add_radial(self) -> None:
        """Complete the gradient of the weights with its second term, once it has been summed."""
        if self.layer.normal:
            for part in _chunks(self._taking["fc7_weight"]):
                gradient = self.gradients["fc7_weight"][part]
                mx.nd.elemwise_sub(gradient, self._radial(self._taking["fc7_weight"], part), out=gradient)

    def _radial(self, weight: mx.nd.NDArray, part: slice) -> mx.nd.NDArray:
        along = self.gradients["radial"][0][part] * mx.nd.square(self._inverse[part])
        return mx.nd.broadcast_mul(weight[part], along.expand_dims(1))

    def _target_places(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The samples whose class is here, and the column of each one's class."""
        samples = np.flatnonzero((labels >= self.low) & (labels < self.high))
        places = labels[samples] - self.low
        return samples, places if self._numbers is None else np.searchsorted(self._numbers, places)

    def _apply_margin(self, weight: mx.nd.NDArray, samples: np.ndarray, places: np.ndarray,
                      count: int) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Apply the margin to the target logits; returns these and the plain cosines (count,); the slope is kept for
        `backward`."""
        self._plain = plain = mx.nd.gather_nd(self._logits, self._target)
        if self.layer.normal:
            cosine = plain / self.layer.scale
            cosine.attach_grad()
            with autograd.record():
                moved = self.layer.margin(cosine)
            moved.backward()
            moved, self._slope = moved * self.layer.scale, cosine.grad
            set_at(self._logits, moved, self._target)
        else:
            moved, self._slope = plain, mx.nd.ones_like(plain)
            rows = mx.nd.take(weight, self._target[1])
            mine = mx.nd.take(self._data, self._target[0])
            cosine = mx.nd.sum(mx.nd.L2Normalization(mine) * mx.nd.L2Normalization(rows), axis=1)
        where = self._target[0].reshape((1, -1))
        return tuple(mx.nd.scatter_nd(value.detach(), where, shape=(count,)) for value in (moved, cosine))


    def _inverse_norms(self, weight: mx.nd.NDArray) -> mx.nd.NDArray:
        ones = mx.nd.ones((1, weight.shape[1]), ctx=self.device)
        squares = [mx.nd.FullyConnected(mx.nd.square(weight[part]), ones, no_bias=True, num_hidden=1)
                   # a matrix product: MXNet's own sum over rows takes ten times as long on CPUs
                   for part in _chunks(weight)]
        return mx.nd.rsqrt(mx.nd.concat(*squares, dim=0).reshape((-1,)) + EPS)


def momentum_of(name: str) -> str:
    """A state's name of the momentum of a parameter."""
    return f"{name}@momentum"



def _chunks(array: mx.nd.NDArray) -> Iterator[slice]:
    """Slices of rows, CHUNK elements or less in each."""
    size = max(1, CHUNK // (array.size // len(array)))
    return (slice(first, min(first + size, len(array))) for first in range(0, len(array), size))

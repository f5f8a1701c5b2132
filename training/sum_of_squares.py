"""The sum of the squares of a gradient: its norm, and whether all of it is finite."""
from __future__ import annotations

from typing import Sequence

import mxnet as mx

from common.mxnet_compat import Queue, are_the_same, prepared, prepared_to
from training.bound_graph import BoundGraph, variable

MOST_AT_ONCE = 50  # arrays that multi_sum_sq accepts
LARGE = 1 << 20  # number of values from which on BLAS is faster


class SumOfSquares:
    """Of arrays on any devices. Bound to them, so that arrays that stay from call to call cost Python little."""

    def __init__(self) -> None:
        self._arrays: list[mx.nd.NDArray] = []

    def __call__(self, arrays: Sequence[mx.nd.NDArray]) -> mx.nd.NDArray:
        """(1,) on the first array's device, which the next call overwrites. Asynchronous.

        It is finite exactly where all of them are, but that values beyond 1e15 or so count as infinite. MXNet's own
        multi_all_finite takes 3.7 s for the gradient of 85,742 classes on one core of a CPU, where this takes 11 ms.
        """
        if not are_the_same(arrays, self._arrays):
            self._bind(list(arrays))
        for queue in self._queues:
            queue()
        return self._total

    def _bind(self, arrays: list[mx.nd.NDArray]) -> None:
        self._arrays, first = arrays, arrays[0].context
        squares: list[mx.nd.NDArray] = []
        self._queues: list[Queue] = []
        for device in dict.fromkeys(array.context for array in arrays):
            here = [array.reshape((-1,)) for array in arrays if array.context == device]  # views: a graph would copy
            graph = BoundGraph(_squares(here), {f"g{number}": array for number, array in enumerate(here)})
            squares.append(graph.outputs[0])
            self._queues.append(graph.forward)
        brought, bring = prepared_to(squares, first)
        self._total = mx.nd.empty((1,), ctx=first)
        self._queues += [bring, prepared("add_n", brought, self._total, num_args=len(brought))]


def _squares(arrays: Sequence[mx.nd.NDArray]) -> mx.sym.Symbol:
    """The sum of the squares of g0, g1 ..., (n,) each: (1,)."""
    values = {large: [variable(f"g{number}") for number, array in enumerate(arrays) if (array.size >= LARGE) == large]
              for large in (True, False)}
    parts, small = [mx.sym.dot(flat, flat) for flat in values[True]], values[False]
    for start in range(0, len(small), MOST_AT_ONCE):
        some = small[start:start + MOST_AT_ONCE]
        parts.append(mx.sym.sum(mx.sym.multi_sum_sq(*some, num_arrays=len(some))))
    return mx.sym.add_n(*parts)

"""The network of a training step: its graph bound on each device to arrays that stay, without autograd.

autograd records anew in every step what does not change: the two passes of a hybridized MobileFaceNet take Python 11 ms
on each device, and those of the bound graph 2 (`python -m benchmarks.step_overhead` prints what a step takes).

Gradient checkpointing (`mirror_memory`): inner maps are recomputed in the backward pass to save memory. MXNet 1.9.1 has
MXNET_BACKWARD_DO_MIRROR for that, but a hybridized block takes just as much memory with it (`python -m
benchmarks.recompute`). So the graph is split into segments (`symbols.segments`), each bound to the same arrays of
parameters and gradients, and all to the same memory. The forward pass keeps only the segments' outputs; the backward
pass goes from the last segment to the first, and recomputes each before its gradients. The results are those of the
whole graph.
"""
from __future__ import annotations

from typing import Any, Mapping, Sequence

import mxnet as mx
import numpy as np
from mxnet import gluon

from common.mxnet_compat import prepared_backward_from, prepared_copies, prepared_forward
from symbols.fused_norm import keep_signs
from symbols.segments import DATA, choose_cuts, split


class BoundNetwork:
    """Equivalent to a hybridized block of `symbol` in training, with the given parameters, which are initialised before
    the first pass. recompute: gradient checkpointing, for data of data_shape."""

    def __init__(self, symbol: mx.sym.Symbol, parameters: Mapping[str, gluon.Parameter],
                 data_shape: tuple[int, ...], recompute: bool = False) -> None:
        # Segments share their memory, signs included, which are soon read.
        self.segments = split(symbol, choose_cuts(symbol, data_shape).places) if recompute else [keep_signs(symbol)]
        self.parameters = parameters
        self._chains: dict[int, _Chain] = {}
        self._last: dict[mx.Context, _Chain] = {}

    def __call__(self, data: mx.nd.NDArray) -> mx.nd.NDArray:
        """(n, 3, H, W) float32 to (n, emb_size), outside of autograd. data: an array that stays, since each that comes
        is bound for good; it must be left as it is until the backward pass is queued. The backward pass may overwrite
        the result."""
        if id(data) not in self._chains:
            self._chains[id(data)] = _Chain(self.segments, self.parameters, data)
        self._last[data.context] = self._chains[id(data)]
        return self._chains[id(data)].forward()

    def backward(self, gradients: Sequence[mx.nd.NDArray]) -> None:
        """From the gradients of the last embeddings, one on each device, to those of the parameters, left in them.

        Called directly, not by autograd: a Python Function runs in its own thread, which nothing waits for.
        """
        for gradient in gradients:
            self._last[gradient.context].backward(gradient)


class _Chain:
    """The segments bound on one device for one shape of data. A backward pass belongs to the forward pass before it."""

    def __init__(self, segments: list[mx.sym.Symbol], parameters: Mapping[str, gluon.Parameter],
                 data: mx.nd.NDArray) -> None:
        device, self.inputs = data.context, [data]
        for segment in segments[:-1]:
            shape = segment.infer_shape(data=self.inputs[-1].shape)[1][0]
            self.inputs.append(mx.nd.empty(shape, ctx=device, dtype=_type_of(segment, self.inputs[-1])))
        # Gradients of inputs share one buffer, since each is consumed before the next is computed.
        self._passing = mx.nd.empty((max((array.size for array in self.inputs[1:]), default=1),), ctx=device)
        # The largest first: the others then fit in its memory.
        order = sorted(range(len(segments)), key=lambda number: -_inside(segments[number], self.inputs[number]))
        again: list[Any] = [None] * len(segments)
        shared = None
        for number in order:
            again[number] = self._bind(segments[number], number, parameters, False, shared)
            shared = shared or again[number]
        # Running statistics must be updated once in a step, with the gradients. Copying them back instead would race
        # with the backward pass, whose updates of them MXNet does not track.
        first = [self._bind(segment, number, parameters, True, shared) for number, segment in enumerate(segments[:-1])]
        # Prepared, since Executor's own methods take Python longer.
        forward = [prepared_forward(executor, True) for executor in again]
        self._forward = [queue for executor, following in zip(first, self.inputs[1:])
                         for queue in (prepared_forward(executor, True),
                                       prepared_copies([(executor.outputs[0], following)]))] + forward[-1:]
        # Of each segment, the last first: what recomputes it, its backward pass, and where that leaves its gradient.
        self._backward = [(None if queue is forward[-1] else queue, prepared_backward_from(executor),
                           executor.grad_dict.get(DATA)) for queue, executor in zip(forward[::-1], again[::-1])]
        self._embedding: mx.nd.NDArray = again[-1].outputs[0]

    def _bind(self, segment: mx.sym.Symbol, number: int, parameters: Mapping[str, gluon.Parameter], copies: bool,
              shared: Any) -> Any:
        given = self.inputs[number]
        device = given.context
        arguments = {name: given if name == DATA else parameters[name].data(device)
                     for name in segment.list_arguments()}
        wanted = {name: _request(name, parameters, number > 0) for name in arguments}
        gradients = {name: self._gradient_of(given) if name == DATA else parameters[name].grad(device)
                     for name, request in wanted.items() if request != "null"}
        states = {name: parameters[name].data(device) for name in segment.list_auxiliary_states()}
        if copies:
            states = {name: value.copy() for name, value in states.items()}
        return segment.bind(device, arguments, args_grad=gradients, grad_req=wanted, aux_states=states,
                            shared_exec=shared)

    def _gradient_of(self, given: mx.nd.NDArray) -> mx.nd.NDArray:
        if given.dtype != self._passing.dtype:
            return mx.nd.empty(given.shape, ctx=given.context, dtype=given.dtype)
        return self._passing[:given.size].reshape(given.shape)

    def forward(self) -> mx.nd.NDArray:
        """The embedding; of the segments before the last, only the outputs are kept."""
        for queue in self._forward:
            queue()
        return self._embedding

    def backward(self, gradient: mx.nd.NDArray) -> None:
        """Gradients of all parameters from that of the embedding."""
        for recompute, backward, passed in self._backward:
            if recompute:
                recompute()
            backward(gradient)
            gradient = passed


def _request(name: str, parameters: Mapping[str, gluon.Parameter], inner: bool) -> str:
    if name == DATA:
        return "write" if inner else "null"
    return parameters[name].grad_req


def _type_of(segment: mx.sym.Symbol, data: mx.nd.NDArray) -> type:
    return segment.infer_type(data=data.dtype)[1][0]


def _inside(segment: mx.sym.Symbol, data: mx.nd.NDArray) -> int:
    """The values of all outputs inside a segment."""
    _, outputs, _ = segment.get_internals().infer_shape(data=data.shape)
    return sum(int(np.prod(shape)) for shape in outputs)

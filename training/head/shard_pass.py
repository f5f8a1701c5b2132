"""The passes of a shard over a number of samples: forward to its statistics, and backward to its gradients."""
from __future__ import annotations

import mxnet as mx
import numpy as np

from common.mxnet_compat import Queue, in_host_memory, prepared, prepared_set_at
from training.bound_graph import Arrays, BoundGraph, variable
from training.head import graphs
from training.head.layer import Layer


class ShardPass:
    """Graphs bound to `weights` (fc7_weight and fc7_bias by name) and their `gradients`, which every pass fills.

    inverse: 1 / |w|, and radial, the sums for the second term of the gradient (`shard` has the equations), (1, rows)
    both; None for softmax. data: (n, emb_size), the operand of the product, and columns: (n,) int32, of each sample's
    class, -1 where another shard has it, are to be filled before `forward`. accumulate: the gradients are added.
    before: passes over another number of samples, whose memory these may use.

    statistics: (8, n) after `forward`, see graphs.STATISTICS. factors: (2, n), to be filled before `backward`: what the
    softmax within the shard is to be multiplied by, and the gradient at the logits of the samples' classes.
    data_gradient: (n, emb_size) after `backward`.
    """

    def __init__(self, layer: Layer, weights: Arrays, gradients: Arrays, inverse: mx.nd.NDArray | None,
                 radial: mx.nd.NDArray | None, data: mx.nd.NDArray, accumulate: bool,
                 before: ShardPass | None = None) -> None:
        device, samples = data.context, len(data)
        self.factors = mx.nd.empty((2, samples), ctx=device)
        self.weights, self.data, self.data_gradient = weights, data, mx.nd.empty(data.shape, ctx=device)
        self.columns = mx.nd.empty((samples,), ctx=device, dtype=np.int32)
        ones = mx.nd.ones((1, samples), ctx=device)
        # 1. The product of data and weights.
        product = mx.sym.FullyConnected(variable("data"), *(variable(name) for name in weights),
                                        no_bias=len(weights) == 1, num_hidden=len(weights["fc7_weight"]))
        self._product: BoundGraph = BoundGraph(
            product, {"data": data, **weights}, {**gradients, "data": self.data_gradient},
            gradients if accumulate else (), before._product if before else None)
        logits = self._product.outputs[0]
        # 2. What is at the target classes.
        slope, numbers = mx.nd.zeros((samples,), ctx=device), mx.nd.arange(samples, ctx=device, dtype=np.int32)
        self._margin = mx.nd.empty((1 + len(layer.margin.numbers), samples), ctx=device)
        self.set_margin(layer)
        self._target = BoundGraph(graphs.target(layer), {
            "logits": logits, "columns": self.columns, "numbers": numbers, "data": data,
            "weight": weights["fc7_weight"], "margin": self._margin, "shift": mx.nd.zeros((samples,), ctx=device)},
            {"shift": slope})
        _, places, plain, moved, target, cosine = self._target.outputs
        # 3. The softmax within the shard.
        self._softmax: BoundGraph = BoundGraph(graphs.statistics(), {
            "logits": logits, "columns": self.columns, "places": places, "slope": slope, "target": target,
            "cosine": cosine}, before=before._softmax if before else None)
        share, self.statistics = self._softmax.outputs
        # Both passes, in place in the two arrays of (samples, rows).
        steps: list[Queue] = [self._product.forward]
        if inverse is not None:
            steps.append(prepared("broadcast_mul", [logits, inverse], logits))
        steps += [self._target.forward, self._target.backward_from(*[ones[0]] * len(self._target.outputs))]
        if inverse is not None:
            steps.append(prepared_set_at(logits, moved, places))
        self._forward = [*steps, self._softmax.forward]
        self._backward = [prepared("broadcast_mul", [share, self.factors[0].reshape((-1, 1))], share),
                          prepared_set_at(share, self.factors[1], places)]
        if inverse is not None and radial is not None:
            added = radial if not accumulate else mx.nd.empty(radial.shape, ctx=device)
            self._backward += [prepared_set_at(logits, plain, places),
                               prepared("elemwise_mul", [logits, share], logits),
                               prepared("dot", [ones, logits], added),
                               *([prepared("elemwise_add", [radial, added], radial)] if accumulate else []),
                               prepared("broadcast_mul", [share, inverse], share)]
        self._backward.append(self._product.backward_from(share))

    def set_margin(self, layer: Layer) -> None:
        """Use the layer's scale and the numbers of its margin, of the same form as before."""
        values = np.array([layer.scale, *layer.margin.numbers], np.float32)
        in_host_memory(np.repeat(values[:, None], self._margin.shape[1], axis=1)).copyto(self._margin)

    def forward(self) -> None:
        """Fill `statistics`."""
        for queue in self._forward:
            queue()

    def backward(self) -> None:
        """Fill `data_gradient` and the gradients, once `factors` is filled."""
        for queue in self._backward:
            queue()

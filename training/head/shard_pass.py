"""The passes of a shard over a number of samples: forward to its statistics, and backward to its gradients."""
from __future__ import annotations

import mxnet as mx
import numpy as np

from common.mxnet_compat import in_host_memory, set_at
from training.head import graphs
from training.head.layer import Layer

Arrays = graphs.Arrays


class ShardPass:
    """Graphs bound to `weights` (fc7_weight and fc7_bias by name) and their `gradients`, which every pass fills.

    inverse: 1 / |w|, and radial, the sums for the second term of the gradient (`shard` has the equations), (1, rows)
    both; None for softmax. data: (n, emb_size), the operand of the product, given before `forward`. accumulate: the
    gradients are added. before: passes over another number of samples, whose memory these may use.

    statistics: (8, n) after `forward`, see graphs.STATISTICS. data_gradient: (n, emb_size) after `backward`.
    """

    def __init__(self, layer: Layer, weights: Arrays, gradients: Arrays, inverse: mx.nd.NDArray | None,
                 radial: mx.nd.NDArray | None, data: mx.nd.NDArray, accumulate: bool,
                 before: ShardPass | None = None) -> None:
        device, samples = data.context, len(data)
        self.weights, self.data, self.data_gradient = weights, data, mx.nd.empty(data.shape, ctx=device)
        self._inverse, self._radial, self._accumulate = inverse, radial, accumulate
        self._columns = mx.nd.empty((samples,), ctx=device, dtype=np.int32)
        self._ones = mx.nd.ones((1, samples), ctx=device)
        # 1. The product of data and weights.
        product = mx.sym.FullyConnected(graphs.variable("data"), *(graphs.variable(name) for name in weights),
                                        no_bias=len(weights) == 1, num_hidden=len(weights["fc7_weight"]))
        self._product = graphs.bind(product, {"data": data, **weights}, {**gradients, "data": self.data_gradient},
                                    gradients if accumulate else (), before and before._product)
        self._logits = self._product.outputs[0]
        # 2. What is at the target classes.
        slope, numbers = mx.nd.zeros((samples,), ctx=device), mx.nd.arange(samples, ctx=device, dtype=np.int32)
        self._target = graphs.bind(graphs.target(layer), {
            "logits": self._logits, "columns": self._columns, "numbers": numbers, "data": data,
            "weight": weights["fc7_weight"], "shift": mx.nd.zeros((samples,), ctx=device)}, {"shift": slope})
        self._heads = [self._ones[0]] * len(self._target.outputs)
        _, self._places, self._plain, self._moved, target, cosine = self._target.outputs
        # 3. The softmax within the shard.
        self._softmax = graphs.bind(graphs.statistics(), {
            "logits": self._logits, "columns": self._columns, "places": self._places, "slope": slope,
            "target": target, "cosine": cosine}, shared=before and before._softmax)
        self._share, self.statistics = self._softmax.outputs

    def forward(self, columns: np.ndarray) -> None:
        """Fill `statistics`. columns: (n,) int32, of each sample's class, -1 where another shard has it."""
        in_host_memory(columns).copyto(self._columns)
        self._product.forward(is_train=True)
        if self._inverse is not None:
            mx.nd.broadcast_mul(self._logits, self._inverse, out=self._logits)
        self._target.forward(is_train=True)
        self._target.backward(self._heads)
        if self._inverse is not None:
            set_at(self._logits, self._moved, self._places)
        self._softmax.forward()

    def backward(self, share: mx.nd.NDArray, at_target: mx.nd.NDArray) -> None:
        """Fill `data_gradient` and the gradients. share: (n, 1), the factor of the softmax within the shard; at_target:
        (n,), the gradient at the logits of the samples' classes."""
        gradient = mx.nd.broadcast_mul(self._share, share, out=self._share)
        set_at(gradient, at_target, self._places)
        if self._inverse is not None:
            set_at(self._logits, self._plain, self._places)
            mx.nd.elemwise_mul(self._logits, gradient, out=self._logits)
            if self._accumulate:
                self._radial += mx.nd.dot(self._ones, self._logits)
            else:
                mx.nd.dot(self._ones, self._logits, out=self._radial)
            mx.nd.broadcast_mul(gradient, self._inverse, out=gradient)
        self._product.backward(gradient)

"""The whole classification layer for many classes: MarginHead's values, without a copy of the weights or a one-hot."""
from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet import autograd

from training.head.margin_head import MarginHead
from training.head.shard import Shard

FROM_CLASSES = 1000  # below, MarginHead takes as long or less (`python -m benchmarks head`)


class FastHead(MarginHead):
    """A MarginHead that computes as one shard of all classes (`shard` has the equations)."""

    def _pass(self, leaf: mx.nd.NDArray, labels: np.ndarray, factor: float) -> tuple[mx.nd.NDArray, ...]:
        """Loss, cosine and correct, three times (n,) float32; the gradient of the summed loss is left in leaf.grad."""
        leaf.attach_grad()
        with autograd.record():
            data = self.layer.directions(leaf)
        shard = Shard(self.layer, 0, self.layer.num_classes, leaf.context)
        parameters = self.collect_params()
        shard.bind({name: parameters[name].data(leaf.context) for name in shard.names},
                   {name: parameters[name].grad(leaf.context) for name in shard.names}, self.fc7_weight.grad_req)
        part = shard.forward(data, labels)
        data.backward(shard.backward(part.log_sum, factor))
        shard.add_radial()
        return part.log_sum - part.target, part.cosine, part.is_target

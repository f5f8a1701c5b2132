"""The whole classification layer for many classes: MarginHead's values, without a copy of the weights or a one-hot."""
from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np

from common.mxnet_compat import mark_gradients_new
from training.head.joint import JointSoftmaxes
from training.head.margin_head import HeadPass, MarginHead
from training.head.shard import Shard

FROM_CLASSES = 1000  # below, MarginHead takes as long or less (`python -m benchmarks head`)


class FastHead(MarginHead):
    """A MarginHead that computes as one shard of all classes (`shard` has the equations)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._shards: dict[mx.Context, tuple[Shard, JointSoftmaxes]] = {}

    def backward(self, embeddings: list[mx.nd.NDArray], labels: list[np.ndarray], factor: float = 1.0) -> HeadPass:
        """As MarginHead's."""
        parts = [self._on_device(embedding, share, factor) for embedding, share in zip(embeddings, labels)]
        return HeadPass([seen for seen, _ in parts], [gradient for _, gradients in parts for gradient in gradients])

    def _on_device(self, embedding: mx.nd.NDArray, labels: np.ndarray,
                   factor: float) -> tuple[mx.nd.NDArray, list[mx.nd.NDArray]]:
        device, parameters = embedding.context, self.collect_params()
        if device not in self._shards:
            shard = Shard(self.layer, 0, self.layer.num_classes, device)
            self._shards[device] = shard, JointSoftmaxes(self.layer, [shard])
        shard, softmaxes = self._shards[device]
        shard.accumulate = self.fc7_weight.grad_req == "add"
        arrays = {name: parameters[name].data(device) for name in shard.names}
        shard.use(arrays, {name: parameters[name].grad(device) for name in shard.names})
        seen = softmaxes.run([embedding], [labels], factor)
        shard.add_radial()
        mark_gradients_new(arrays.values())
        return seen

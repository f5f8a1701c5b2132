"""The classification layer a face embedding is trained with, and its loss."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from training.head.layer import Layer
from training.head.shard import Shard

INITIAL = 0.01  # standard deviation of the normal distribution that the weights are drawn from


@dataclass(frozen=True)
class HeadPass:
    """What a head made of the embeddings of all devices: lists that join to the order of the batch.

    losses, cosines, hits: of each sample, as MarginHead.backward tells them; gradients: of the summed loss, to each of
    the embeddings that came in, on its device.
    """

    losses: list[mx.nd.NDArray]
    cosines: list[mx.nd.NDArray]
    hits: list[mx.nd.NDArray]
    gradients: list[mx.nd.NDArray]


class MarginHead(gluon.Block):
    """A whole classification layer on every device, with parameters that a gluon.Trainer moves.

    fc7_weight is drawn by the initializer, fc7_bias starts at 0.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__(prefix="")  # the ecosystem's checkpoints call the parameters fc7_weight and fc7_bias
        self.layer, self.shape = layer, layer.shape
        for name, spec in layer.arrays.items():
            setattr(self, name, self.params.get(name, shape=spec.shape, lr_mult=spec.lr_mult, wd_mult=spec.wd_mult,
                                                init="zeros" if name == "fc7_bias" else None))

    def begin(self, labels: np.ndarray, step: int) -> None:
        """Before the first micro-batch of `step`, counted from 0; every class takes part."""
        self.layer.begin(step)

    def backward(self, embeddings: list[mx.nd.NDArray], labels: list[np.ndarray], factor: float = 1.0) -> HeadPass:
        """Forward and backward over the devices' shares; the gradients of the parameters are left in them.

        embeddings: (n, emb_size) float32 on each device; labels: (n,) integers from 0 to num_classes - 1 for each.
        Labels must have been checked (opening a data set does): MXNet takes one outside the range without an error and
        writes past its array. cosine: of the embedding to its own class's weight, without margin. hit: 1 where the own
        class has the largest logit, the margin included, as in InsightFace's accuracy; so it stays below accuracy on
        plain cosines.
        factor: on every gradient.
        """
        leaves = [embedding.detach() for embedding in embeddings]
        losses, cosines, hits = zip(*(self._pass(leaf, own, factor) for leaf, own in zip(leaves, labels)))
        return HeadPass(list(losses), list(cosines), list(hits), [leaf.grad for leaf in leaves])

    def _pass(self, leaf: mx.nd.NDArray, labels: np.ndarray, factor: float) -> tuple[mx.nd.NDArray, ...]:
        """Loss, cosine and hit, three times (n,) float32; the gradient of the summed loss is left in leaf.grad."""
        leaf.attach_grad()
        with autograd.record():
            data = self.layer.directions(leaf)
        shard = Shard(self.layer, 0, self.layer.num_classes, leaf.context)
        parameters = self.collect_params()
        shard.lend({name: parameters[name].data(leaf.context) for name in shard.names},
                   {name: parameters[name].grad(leaf.context) for name in shard.names}, self.fc7_weight.grad_req)
        part = shard.forward(data, labels)
        data.backward(shard.backward(part.log_sum, factor))
        shard.add_radial()
        return part.log_sum - part.own, part.cosine, part.is_own

    def reduce(self) -> list[mx.nd.NDArray]:
        """Gradients beside the trainer's: none."""
        return []

    def update(self, rate: float, count: float) -> None:
        """After a step: nothing, its parameters are the trainer's."""

    def arrays(self) -> dict[str, mx.nd.NDArray]:
        """The parameters by name, in host memory."""
        return {name: value.list_data()[0].as_in_context(mx.cpu()).copy()
                for name, value in self.collect_params().items()}

    def set_arrays(self, arrays: Mapping[str, mx.nd.NDArray]) -> None:
        """Put back what `arrays` gave, on every device."""
        for name, value in arrays.items():
            self.collect_params()[name].set_data(value)

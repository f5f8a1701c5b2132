"""The classification layer a face embedding is trained with, and its loss."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Mapping

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from common.errors import UserError
from training.margins import SOFTMAX, make_margin
from training.shard import Shard

INITIAL = 0.01  # standard deviation of the normal distribution that the weights are drawn from
BIAS_LR_MULT = 2.0  # InsightFace's: a bias learns twice as fast as its weight


@dataclass(frozen=True)
class HeadPass:
    """What a head made of the embeddings of all devices: lists that join to the order of the batch.

    losses, cosines, hits: of each sample, as MarginHead.forward gives them; gradients: of the summed loss, to each of
    the embeddings that came in, on its device.
    """

    losses: list[mx.nd.NDArray]
    cosines: list[mx.nd.NDArray]
    hits: list[mx.nd.NDArray]
    gradients: list[mx.nd.NDArray]


class MarginHead(gluon.Block):
    """Class weights, the margin on the own class's cosine, and softmax cross-entropy.

    Loss types 2 CosFace, 4 ArcFace and 5 combined compare directions: logits are margin_s times the cosines of the
    embedding to every class's weight, the own class's with the margin. 0 is plain softmax: a fully connected layer,
    with a bias unless no_bias. Parameters: fc7_weight (num_classes, emb_size), and fc7_bias (num_classes,) which starts
    at 0 and does not decay. UserError for a loss type, margin or scale that cannot be.
    """

    def __init__(self, num_classes: int, emb_size: int, loss_type: int = 4, margin_s: float = 64.0,
                 margin_m: float = 0.5, margin_a: float = 1.0, margin_b: float = 0.0, easy_margin: bool = False,
                 no_bias: bool = False, fc7_lr_mult: float = 1.0, fc7_wd_mult: float = 1.0) -> None:
        super().__init__(prefix="")  # the ecosystem's checkpoints call the parameters fc7_weight and fc7_bias
        if not (margin_s > 0 and math.isfinite(margin_s)):
            raise UserError(f"--margin-s {margin_s:g}: the scale of the cosines is a number above 0 (64 is usual)")
        self.num_classes, self.loss_type, self.scale = num_classes, loss_type, margin_s
        self.shape = (num_classes, emb_size)
        self.margin = make_margin(loss_type, margin_m, margin_a, margin_b, easy_margin)
        self.fc7_weight = self.params.get("fc7_weight", shape=(num_classes, emb_size),
                                          lr_mult=fc7_lr_mult, wd_mult=fc7_wd_mult)
        self.fc7_bias = None
        if loss_type == SOFTMAX and not no_bias:
            self.fc7_bias = self.params.get("fc7_bias", shape=(num_classes,), init="zeros",
                                            lr_mult=BIAS_LR_MULT * fc7_lr_mult, wd_mult=0.0)

    def begin(self, labels: np.ndarray, step: int) -> None:
        """Before the first micro-batch of a step: nothing to prepare, every class takes part."""

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
            data = self.directions(leaf)
        shard = Shard(self, 0, self.num_classes, leaf.context)
        parameters = self.collect_params()
        shard.lend({name: parameters[name].data(leaf.context) for name in shard.names},
                   {name: parameters[name].grad(leaf.context) for name in shard.names}, self.fc7_weight.grad_req)
        part = shard.forward(data, labels)
        data.backward(shard.backward(part.log_sum, factor))
        shard.add_radial()
        return part.log_sum - part.own, part.cosine, part.is_own

    def directions(self, embedding: mx.nd.NDArray) -> mx.nd.NDArray:
        """What the weights are multiplied with: unit embeddings times the scale, the embeddings themselves for softmax.

        The scale goes onto the small operand, so that it takes no (n, classes) array of its own.
        """
        if self.loss_type == SOFTMAX:
            return mx.nd.identity(embedding)
        return mx.nd.L2Normalization(embedding) * self.scale

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

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

    def forward(self, embedding: mx.nd.NDArray,
                label: mx.nd.NDArray) -> tuple[mx.nd.NDArray, mx.nd.NDArray, mx.nd.NDArray]:
        """Loss, cosine and hit of each sample, three times (n,) float32.

        embedding: (n, emb_size) float32; label: (n,) int32 from 0 to num_classes - 1. Labels must have been checked
        (opening a data set does): MXNet takes one outside the range without an error and writes past its array.
        cosine: of the embedding to its own class's weight, without margin. hit: 1 where the own class has the largest
        logit, the margin included, as in InsightFace's accuracy; so it stays below accuracy on plain cosines.
        Only the loss carries a gradient.
        """
        weight = self.fc7_weight.data(embedding.context)
        if self.loss_type == SOFTMAX:
            logits = self._fully_connected(embedding, weight)
            cosine = _row_cosine(embedding, weight, label)
        else:
            logits, cosine = self._margin_logits(embedding, weight, label)
        loss = -mx.nd.pick(mx.nd.log_softmax(logits), label)
        with autograd.pause():
            hit = (mx.nd.argmax(logits, axis=1).astype("int32") == label).astype("float32")
        return loss, cosine, hit

    def begin(self, labels: np.ndarray, step: int) -> None:
        """Before the first micro-batch of a step: nothing to prepare, every class takes part."""

    def backward(self, embeddings: list[mx.nd.NDArray], labels: list[np.ndarray], factor: float = 1.0) -> HeadPass:
        """Forward and backward over the devices' shares; the gradients of the parameters are left in them.

        embeddings: (n, emb_size) on each device; labels: (n,) int32 for each. factor: on every gradient.
        """
        leaves = [embedding.detach() for embedding in embeddings]
        for leaf in leaves:
            leaf.attach_grad()
        with autograd.record():
            outputs = [self(leaf, mx.nd.array(own, ctx=leaf.context, dtype=np.int32))
                       for leaf, own in zip(leaves, labels)]
        losses, cosines, hits = (list(column) for column in zip(*outputs))
        autograd.backward(losses, None if factor == 1 else [mx.nd.full(loss.shape, factor, ctx=loss.context)
                                                            for loss in losses])
        return HeadPass(losses, cosines, hits, [leaf.grad for leaf in leaves])

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

    def _fully_connected(self, embedding: mx.nd.NDArray, weight: mx.nd.NDArray) -> mx.nd.NDArray:
        if self.fc7_bias is None:
            return mx.nd.FullyConnected(embedding, weight, no_bias=True, num_hidden=self.num_classes)
        return mx.nd.FullyConnected(embedding, weight, self.fc7_bias.data(embedding.context),
                                    num_hidden=self.num_classes)

    def _margin_logits(self, embedding: mx.nd.NDArray, weight: mx.nd.NDArray,
                       label: mx.nd.NDArray) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Scaled cosines with the margin (n, classes), and the plain own cosine (n,) without gradient."""
        # The scale goes onto the small operand, so that it takes no (n, classes) array of its own.
        directions = mx.nd.L2Normalization(embedding) * self.scale
        plain = mx.nd.FullyConnected(directions, mx.nd.L2Normalization(weight), no_bias=True,
                                     num_hidden=self.num_classes)
        own = mx.nd.pick(plain, label) / self.scale
        # Only n values change: a one-hot times the change would take two more arrays of (n, classes), and their time.
        rows = mx.nd.arange(len(label), dtype="int32", ctx=label.context)
        change = mx.nd.scatter_nd((self.margin(own) - own) * self.scale, mx.nd.stack(rows, label), shape=plain.shape)
        return plain + change, own.detach()


def _row_cosine(embedding: mx.nd.NDArray, weight: mx.nd.NDArray, label: mx.nd.NDArray) -> mx.nd.NDArray:
    """Cosine of each embedding to its own class's weight (n,), from those rows alone; no gradient."""
    with autograd.pause():
        rows = mx.nd.L2Normalization(mx.nd.take(weight, label))
        return mx.nd.sum(mx.nd.L2Normalization(embedding) * rows, axis=1)

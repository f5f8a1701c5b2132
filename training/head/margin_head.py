"""The classification layer of training and its margin loss, in plain autograd.

The reference for the faster heads, and itself the fastest for few classes (`python -m benchmarks head`). All heads have
the same methods: `start_step`, `backward` for each micro-batch, `reduce`, `update`, `arrays` and `set_arrays`.

    >>> import mxnet as mx, numpy as np
    >>> from training.head.layer import Layer
    >>> head = MarginHead(Layer(num_classes=2, emb_size=2, loss_type=4, margin_s=8.0, margin_m=0.5))
    >>> head.initialize()
    >>> head.fc7_weight.set_data(mx.nd.array([[1, 0], [0, 1]]))
    >>> head.start_step(labels=np.array([0]), step=0)
    >>> seen = head.backward([mx.nd.array([[3, 4]])], [np.array([0])])
    >>> [round(float(value[0].asscalar()), 2) for value in (seen.losses, seen.cosines, seen.correct)]
    [5.26, 0.6, 0.0]
    >>> abs(seen.gradients[0].asnumpy() @ [3, 4]).round(4).tolist()  # along the embedding: only its direction learns
    [0.0]
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from common.devices import put
from training.gate import Gate
from training.head.layer import Layer

INITIAL = 0.01  # standard deviation of the normal distribution of the initial weights


@dataclass(frozen=True)
class HeadPass:
    """A head's results for the embeddings of all devices: lists that concatenate in the order of the batch.

    seen: loss, cosine and correct of each sample, as MarginHead.backward says, (3, n) each; gradients: of the summed
    loss, to each of the embeddings that came in, on its device, until the head's next pass.
    """

    seen: list[mx.nd.NDArray]
    gradients: list[mx.nd.NDArray]

    @property
    def losses(self) -> list[mx.nd.NDArray]:
        """Views of the losses, (n,) each."""
        return [part[0] for part in self.seen]

    @property
    def cosines(self) -> list[mx.nd.NDArray]:
        """Views of the cosines, (n,) each."""
        return [part[1] for part in self.seen]

    @property
    def correct(self) -> list[mx.nd.NDArray]:
        """Views of `correct`, (n,) each."""
        return [part[2] for part in self.seen]


class MarginHead(gluon.Block):
    """A whole classification layer on every device, with parameters that a gluon.Trainer updates: plain autograd.

    fc7_weight is initialised by the initializer, fc7_bias starts at 0.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__(prefix="")  # the parameters' names in InsightFace's checkpoints: fc7_weight and fc7_bias
        self.layer, self.shape = layer, layer.shape
        for name, spec in layer.arrays.items():
            setattr(self, name, self.params.get(name, shape=spec.shape, lr_mult=spec.lr_mult, wd_mult=spec.wd_mult,
                                                init="zeros" if name == "fc7_bias" else None))

    def start_step(self, labels: np.ndarray, step: int) -> None:
        """To be called before the first micro-batch of `step`, counted from 0; all classes are used."""
        self.layer.start_step(step)

    def backward(self, embeddings: list[mx.nd.NDArray], labels: list[np.ndarray], factor: float = 1.0) -> HeadPass:
        """Forward and backward over the devices' parts of the batch; the gradients of the parameters are left in them.

        embeddings: (n, emb_size) float32 on each device; labels: (n,) integers from 0 to num_classes - 1 for each.
        Labels must have been checked (opening a data set does): MXNet accepts one outside the range without an error
        and writes past its array. cosine: of the embedding to its target class's weight, without margin. correct: 1
        where the target class has the largest logit, the margin included, as in InsightFace's accuracy; so it stays
        below accuracy on plain cosines. factor: on every gradient.
        """
        leaves = [embedding.detach() for embedding in embeddings]
        seen = [self._pass(leaf, share, factor) for leaf, share in zip(leaves, labels)]
        return HeadPass(seen, [leaf.grad for leaf in leaves])

    def _pass(self, leaf: mx.nd.NDArray, labels: np.ndarray, factor: float) -> mx.nd.NDArray:
        """Loss, cosine and correct, (3, n) float32; the gradient of the summed loss is left in leaf.grad."""
        device = leaf.context
        label = put(labels.astype(np.int32), device)
        leaf.attach_grad()
        with autograd.record():
            logits, cosine = self.logits(leaf, label)
            loss = -mx.nd.pick(mx.nd.log_softmax(logits), label)
        loss.backward(mx.nd.full(loss.shape, factor, ctx=device))
        correct = mx.nd.argmax(logits, axis=1) == label.astype(np.float32)
        return mx.nd.stack(loss.detach(), cosine.detach(), correct)

    def logits(self, embedding: mx.nd.NDArray, label: mx.nd.NDArray) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """(n, num_classes) logits of (n, emb_size) embeddings, the target's with the margin; (n,) its plain cosine.

        label: (n,) int32. Differentiable. s (cos_j + [j = label] (margin(cos_j) - cos_j)); for softmax W x + b.
        """
        device, classes = embedding.context, self.shape[0]
        weight = self.fc7_weight.data(device)
        unit, directions = mx.nd.L2Normalization(embedding), mx.nd.L2Normalization(weight)
        if not self.layer.normal:
            bias = [self.fc7_bias.data(device)] if "fc7_bias" in self.layer.arrays else []
            logits = mx.nd.FullyConnected(embedding, weight, *bias, no_bias=not bias, num_hidden=classes)
            return logits, mx.nd.sum(unit * mx.nd.take(directions, label), axis=1)
        cosines = mx.nd.FullyConnected(unit, directions, no_bias=True, num_hidden=classes)
        target = mx.nd.pick(cosines, label)
        places = mx.nd.stack(mx.nd.arange(len(label), ctx=device, dtype=np.int32), label)
        return self.layer.scale * (cosines + mx.nd.scatter_nd(self.layer.margin(target) - target, places,
                                                              shape=cosines.shape)), target

    def reduce(self) -> list[mx.nd.NDArray]:
        """Gradients in addition to the trainer's: none."""
        return []

    def update(self, lr: float, count: float, gate: Gate | None = None) -> None:
        """No update: its parameters are the trainer's."""

    def arrays(self) -> dict[str, mx.nd.NDArray]:
        """The parameters by name, in host memory."""
        return {name: value.list_data()[0].copyto(mx.cpu())
                for name, value in self.collect_params().items()}

    def set_arrays(self, arrays: Mapping[str, mx.nd.NDArray]) -> None:
        """Restore what `arrays` returned, on every device."""
        for name, value in arrays.items():
            self.collect_params()[name].set_data(value)

"""One update: a batch over the devices, forward, backward, optimizer.

The gradient is that of the mean loss over the whole batch of the step, whatever share of it a device computes and
however many micro-batches (--accumulate) it comes in. So --lr means the same on one device and on eight, as long as the
total batch is the same; with more devices of one --per-batch-size it grows, and --lr stays what it is.
"""
from __future__ import annotations

from dataclasses import dataclass

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from training.data import Batch
from training.model import Model


@dataclass(frozen=True)
class StepResult:
    """What a step computed, still on the devices: per-sample loss, own-class cosine, hits; embeddings.

    The lists join to the order of the batch, in parts of any size.
    """

    losses: list[mx.nd.NDArray]
    cosines: list[mx.nd.NDArray]
    hits: list[mx.nd.NDArray]
    embeddings: list[mx.nd.NDArray]
    keys: np.ndarray
    labels: np.ndarray

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wait for the step: loss, cosine and hit (0 or 1) of each image, (N,) float32."""
        return tuple(np.concatenate([part.asnumpy() for part in parts])
                     for parts in (self.losses, self.cosines, self.hits))

    def embedding(self) -> np.ndarray:
        """The embeddings of the first device's share, (n, emb_size)."""
        return self.embeddings[0].asnumpy()


def update(model: Model, trainer: gluon.Trainer, batch: Batch, step: int) -> StepResult:
    """Train on `batch`, an equal share on each device in each micro-batch; step: the updates made before."""
    result = compute(model, batch, step)
    apply(model, trainer, len(batch.labels))
    return result


def compute(model: Model, batch: Batch, step: int) -> StepResult:
    """Forward and backward: the gradients of the summed loss are in the parameters, no weight has moved."""
    devices = len(model.devices)
    shares = np.array_split(np.arange(len(batch.labels)), devices * model.accumulate)
    model.head.begin(batch.labels, step)
    losses, cosines, hits, embeddings = [], [], [], []
    for first in range(0, len(shares), devices):
        micro = shares[first:first + devices]
        outputs = [_embed(model, device, batch.images[share]) for device, share in zip(model.devices, micro)]
        seen = model.head.backward(outputs, [batch.labels[share] for share in micro])
        autograd.backward(outputs, seen.gradients)
        losses += seen.losses
        cosines += seen.cosines
        hits += seen.hits
        embeddings += outputs
    return StepResult(losses, cosines, hits, embeddings, batch.keys, batch.labels)


def apply(model: Model, trainer: gluon.Trainer, images: int) -> None:
    """Move the weights along the mean over `images` images of what `compute` added up."""
    trainer.step(images)
    model.head.update(trainer.learning_rate, images)
    if model.accumulate > 1:
        model.clear_gradients()


def _embed(model: Model, device: mx.Context, images: np.ndarray) -> mx.nd.NDArray:
    with device, autograd.record():
        data = mx.nd.array(images, ctx=device, dtype=np.uint8)
        return model.block(data.transpose((0, 3, 1, 2)).astype(np.float32))

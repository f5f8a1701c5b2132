"""One update: a batch over the devices, forward, backward, optimizer."""
from __future__ import annotations

from dataclasses import dataclass

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from training.data import Batch
from training.model import Model


@dataclass(frozen=True)
class StepResult:
    """What a step computed, still on the devices: per-sample loss, own-class cosine, hits; embeddings."""

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


def update(model: Model, trainer: gluon.Trainer, batch: Batch) -> StepResult:
    """Train on `batch`, an equal share on each device; the gradient is that of the mean loss over all of it."""
    results = []
    shares = np.array_split(np.arange(len(batch.labels)), len(model.devices))
    with autograd.record():
        for device, share in zip(model.devices, shares):
            with device:
                images = mx.nd.array(batch.images[share], ctx=device, dtype=np.uint8)
                labels = mx.nd.array(batch.labels[share], ctx=device, dtype=np.int32)
                embedding = model.block(images.transpose((0, 3, 1, 2)).astype(np.float32))
                results.append((*model.head(embedding, labels), embedding))
    losses, cosines, hits, embeddings = (list(column) for column in zip(*results))
    autograd.backward(losses)
    trainer.step(len(batch.labels))
    return StepResult(losses, cosines, hits, embeddings, batch.keys, batch.labels)

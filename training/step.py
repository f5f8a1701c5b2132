"""One update: a batch over the devices, forward, backward, optimizer.

The gradient is that of the mean loss over the whole batch of the step, whatever part of it a device computes and into
however many micro-batches (`accumulate`) it is split. So `lr` means the same on one device and on eight, as long as the
total batch is the same; with more devices at the same `per_batch_size` it grows, and `lr` is not rescaled.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace

import mxnet as mx
import numpy as np

from common.mxnet_compat import Trainer, in_host_memory
from training.cluster.communicator import Communicator
from training.data.loader import Batch
from training.gate import Gate
from training.model import TrainingModel


@dataclass(frozen=True)
class StepResult:
    """A step's results, still on the devices: per-sample loss, target-class cosine, correct; embeddings.

    seen: loss, cosine and correct, (3, n), in the order of the batch, in parts of any size. embeddings: (n, emb_size),
    of the first device's first part. `update` adds what is on its way to host memory: numbers, as seen; finite, (1,),
    1 where every gradient was finite (and where steps may be skipped every loss of all workers; an overflow of float16
    counts as finite).
    """

    seen: list[mx.nd.NDArray]
    embeddings: mx.nd.NDArray
    keys: np.ndarray
    labels: np.ndarray
    numbers: list[mx.nd.NDArray] = field(default_factory=list)
    finite: mx.nd.NDArray = None

    @property
    def losses(self) -> list[mx.nd.NDArray]:
        """Views of the losses, (n,) each."""
        return [part[0] for part in self.seen]

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wait for the forward pass: loss, cosine and correct (0 or 1) of each image, (N,) float32."""
        loss, cosine, correct = np.concatenate([part.asnumpy() for part in self.numbers], axis=1)
        return loss, cosine, correct

    def embedding(self) -> np.ndarray:
        """The embeddings of the first device's first part of the batch, (n, emb_size)."""
        return self.embeddings.asnumpy()


def update(model: TrainingModel, trainer: Trainer, batch: Batch, step: int, may_skip: bool = False) -> StepResult:
    """Train on `batch`, an equal part on each device in each micro-batch; step: the updates made before.

    Other workers train on their own parts of the step's images at the same time, and all apply the same update.

    may_skip: where a loss or gradient is not finite, weights, momentum and running statistics stay as they were. In
    float16, a step whose gradients overflow is not applied and lowers the loss scale, which is not a fault.

    Waits for no device, but in float16, where the next step's scale depends on this one, and for `clip_gradient`.
    """
    # 1. Forward and backward; in float16 of the scaled mean loss, so that the scale suits any batch.
    images, scale = len(batch.labels) * model.communicator.size, model.scale
    factor = scale.value / images if scale else 1.0
    statistics = model.running_statistics() if may_skip else {}
    result = compute(model, batch, step, factor)
    # 2. Reduce the gradients over devices and workers.
    trainer.allreduce_grads()
    squares = model.sum_of_squares([copies[0] for copies in trainer.gradients] + model.head.reduce())
    # 3. Is all of it finite? One answer for all workers, whose gradients are the same.
    finite = mx.nd.contrib.isfinite(squares)
    sound = _sound_everywhere(model.communicator, result.losses, squares.context) if may_skip or scale else None
    good = finite if sound is None else finite * sound
    moves, gate = True, Gate(good) if may_skip and not scale else None
    if scale:
        moves = bool(good.asscalar())
        if sound.asscalar():
            scale.after(moves)
        good = sound
    # 4. Update the weights with the mean gradient, unscaled and clipped.
    if moves:
        count = images * factor * _shortening(squares, images * factor, model.clip_gradient)
        trainer.optimizer.gate = gate
        trainer.update(count)
        model.head.update(trainer.learning_rate, count, gate)
    if may_skip:
        model.choose_statistics(gate or Gate(good), statistics)
    if model.accumulate > 1:
        model.clear_gradients()
    return replace(result, finite=good.as_in_context(mx.cpu()),
                   numbers=[part.as_in_context(mx.cpu()) for part in result.seen])


def _sound_everywhere(communicator: Communicator, losses: list[mx.nd.NDArray], device: mx.Context) -> mx.nd.NDArray:
    """(1,) on `device`: 1 where every loss is finite at all workers. Does not wait."""
    faulty = mx.nd.add_n(*(mx.nd.sum(mx.nd.contrib.isfinite(loss) == 0).as_in_context(device) for loss in losses))
    communicator.allreduce("faulty losses", [faulty])
    return faulty == 0


def compute(model: TrainingModel, batch: Batch, step: int, factor: float = 1.0) -> StepResult:
    """Forward and backward: the gradients of factor times the summed loss are in the parameters, without an update."""
    devices = len(model.devices)
    shares = _shares(len(batch.labels), devices * model.accumulate)
    model.head.start_step(batch.labels, step)
    images, results, embeddings = in_host_memory(batch.images), [], None
    for first in range(0, len(shares), devices):
        micro = shares[first:first + devices]
        outputs = [model.network(model.images.put(images[share], device))
                   for device, share in zip(model.devices, micro)]
        embeddings = outputs[0].copy() if embeddings is None else embeddings
        head = model.head.backward(outputs, [batch.labels[share] for share in micro], factor)
        model.network.backward(head.gradients)
        results += head.seen
    return StepResult(results, embeddings, batch.keys, batch.labels)


def _shares(images: int, count: int) -> list[slice]:
    """The images of a batch in as many parts, in their order; the first ones have one more where they are unequal."""
    each, more = divmod(images, count)
    ends = [each * part + min(part, more) for part in range(count + 1)]
    return [slice(*pair) for pair in zip(ends, ends[1:])]


def _shortening(squares: mx.nd.NDArray, count: float, longest: float) -> float:
    """The ratio of the mean gradient's norm to `longest`, at least 1; squares: of its sum over `count`."""
    if not longest:
        return 1.0  # without synchronising with the backward pass
    norm = float(np.sqrt(squares.asscalar())) / count
    return norm / longest if longest < norm < np.inf else 1.0  # non-finite values are reported by `finite`

"""The classification layer sharded over devices (`fc7_parallel`), or sampled (`partial_fc`), or both.

Sharded, each device holds an equal number of the classes, weights and momentum, and sees the embeddings of the whole
batch: only embeddings, their gradients and a few values per sample pass between devices, whatever the number of
classes. A softmax over the shards needs only each one's log of the sum of exp, so it is exact. Only sampled, each
device holds all rows and its own part of the batch, and the gradients of the sampled rows are summed over the devices.
"""
from __future__ import annotations

from dataclasses import fields
from typing import Mapping

import mxnet as mx
import numpy as np
from mxnet import autograd

from common.errors import UserError
from training.cluster.communicator import Communicator
from training.gate import Gate
from training.head.layer import Layer
from training.head.margin_head import HeadPass
from training.head.sampling import choose_rows
from training.head.shard import Partial, Shard

NAMES = [field.name for field in fields(Partial)]


class ShardedHead:
    """A MarginHead's loss and update over shards: the same values, stored differently.

    parallel: shards of the classes; else the whole on each device. rate: the share of the
    classes that takes part in a step (of each shard's), 1 for all. workers: each has all shards, and the gradients of
    all of them are added. UserError where there are more devices than classes.
    """

    def __init__(self, layer: Layer, devices: list[mx.Context], parallel: bool = True, rate: float = 1.0,
                 momentum: float = 0.9, decay: float = 0.0, seed: int = 0, accumulate: bool = False,
                 communicator: Communicator | None = None) -> None:
        if parallel and len(devices) > layer.num_classes:
            raise UserError(f"`fc7_parallel`: {layer.num_classes} classes cannot be sharded over {len(devices)} "
                            "`devices`")
        self.layer, self.devices, self.parallel, self.rate = layer, devices, parallel, rate
        self.seed, self._momentum, self._decay = seed, momentum, decay
        self.shape, self.communicator = layer.shape, communicator or Communicator()
        self.shards = [Shard(layer, low, high, device, accumulate)
                       for (low, high), device in zip(self._ranges(), devices)]

    def _ranges(self) -> list[tuple[int, int]]:
        classes, count = self.layer.num_classes, len(self.devices)
        if not self.parallel:
            return [(0, classes)] * count
        ends = np.cumsum([len(part) for part in np.array_split(np.arange(classes), count)])
        return list(zip([0, *map(int, ends[:-1])], map(int, ends)))

    def initialize(self, initializer: mx.init.Initializer, ctx: list[mx.Context] | None = None) -> None:
        """Initialise fc7_weight as the whole head does, on the host: the same however it is sharded."""
        weight = mx.nd.zeros(self.shape, ctx=mx.cpu())
        initializer(mx.init.InitDesc("fc7_weight"), weight)
        self.set_arrays({"fc7_weight": weight})

    def start_step(self, labels: np.ndarray, step: int) -> None:
        """Sample the classes of the step with `labels` (N,), those of all its micro-batches."""
        self.layer.start_step(step)
        if self.rate < 1:
            labels = self.communicator.allgather("labels", labels).ravel().astype(np.int32)
        for shard in self.shards:
            shard.start_step(None if self.rate == 1 else
                             choose_rows(labels, shard.low, shard.high, self.rate, self.seed, step))

    def backward(self, embeddings: list[mx.nd.NDArray], labels: list[np.ndarray], factor: float = 1.0) -> HeadPass:
        """As MarginHead.backward; `correct` is among the sampled classes. factor: on every gradient."""
        if self.parallel:
            return self._joined(self.shards, embeddings, labels, factor)
        parts = [self._joined([shard], [embedding], [share], factor)
                 for shard, embedding, share in zip(self.shards, embeddings, labels)]
        return HeadPass(*(sum((getattr(part, name) for part in parts), [])
                          for name in ("losses", "cosines", "correct", "gradients")))

    def reduce(self) -> list[mx.nd.NDArray]:
        """Sum the gradients over devices and workers; the whole layer's, each row once, on any of the devices."""
        if not self.parallel:
            self._add_gradients()
        elif self.communicator.size > 1:
            for number, shard in enumerate(self.shards):
                self.communicator.allreduce(f"shard {number}", list(shard.gradients.values()))
        for shard in self.shards:
            shard.add_radial()
        return [shard.gradients[name] for shard in (self.shards if self.parallel else self.shards[:1])
                for name in shard.names]

    def update(self, lr: float, count: float, gate: Gate | None = None) -> None:
        """Move the rows that took part along what `reduce` left, over `count`; lr: before `fc7_lr_mult`; gate: whether
        anything is to move."""
        for shard in self.shards:
            shard.update(lr, self._momentum, self._decay, count, gate)

    def arrays(self) -> dict[str, mx.nd.NDArray]:
        """fc7_weight and fc7_bias, whole, and their momentum as NAME@momentum, in host memory."""
        whole = {name: mx.nd.empty((self.layer.num_classes, *value.shape[1:]), ctx=mx.cpu())
                 for name, value in self.shards[0].state().items()}
        for shard in self.shards if self.parallel else self.shards[:1]:
            for name, value in shard.state().items():
                value.copyto(whole[name][shard.low:shard.high])
        return whole

    def set_arrays(self, arrays: Mapping[str, mx.nd.NDArray]) -> None:
        """Restore what `arrays` returned, or some of it, on this number of devices or another."""
        for shard in self.shards:
            shard.load_rows(arrays)

    def _add_gradients(self) -> None:
        """Over the devices and the workers."""
        if len(self.shards) == self.communicator.size == 1:
            return
        for name in self.shards[0].gradients:
            first = self.devices[0]
            total = mx.nd.add_n(*(shard.gradients[name].as_in_context(first) for shard in self.shards))
            self.communicator.allreduce(f"head {name}", [total])
            for shard in self.shards:
                total.copyto(shard.gradients[name])

    def _joined(self, shards: list[Shard], embeddings: list[mx.nd.NDArray], labels: list[np.ndarray],
                factor: float) -> HeadPass:
        """One softmax over `shards` for the samples of all `embeddings`."""
        leaves = [embedding.detach() for embedding in embeddings]
        for leaf in leaves:
            leaf.attach_grad()
        with autograd.record():
            data = [self.layer.directions(leaf) for leaf in leaves]
        joined = np.concatenate(labels)
        # By way of the first device: between all pairs there would be as many copies as devices squared.
        first = shards[0].device
        batch = mx.nd.concat(*(part.as_in_context(first) for part in data), dim=0)
        partials = [shard.forward(batch.as_in_context(shard.device), joined) for shard in shards]
        log_total, correct, target, cosine = _over_shards(partials, first)
        gradient = mx.nd.add_n(*(shard.backward(log_total.as_in_context(shard.device), factor).as_in_context(first)
                                 for shard in shards))
        ends = np.cumsum([len(share) for share in labels])
        for part, end in zip(data, ends):
            rows = slice(int(end) - len(part), int(end))
            part.backward(gradient[rows].as_in_context(part.context))
        return HeadPass([log_total - target], [cosine], [correct], [leaf.grad for leaf in leaves])


def _over_shards(partials: list[Partial], device: mx.Context) -> tuple[mx.nd.NDArray, ...]:
    """log of the sum of exp over all shards, correct, the target's logit and cosine, (n,) each, on `device`."""
    columns = [mx.nd.stack(*(getattr(partial, name) for name in NAMES)).as_in_context(device) for partial in partials]
    log_sums, largest, is_target, targets, cosines = mx.nd.stack(*columns, axis=2)  # (n, shards) each
    top = mx.nd.max(log_sums, axis=1)
    total = top + mx.nd.log(mx.nd.sum(mx.nd.exp(mx.nd.broadcast_sub(log_sums, top.expand_dims(1))), axis=1))
    correct = mx.nd.pick(is_target, mx.nd.argmax(largest, axis=1))
    return total, correct, mx.nd.sum(targets, axis=1), mx.nd.sum(cosines, axis=1)

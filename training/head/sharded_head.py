"""The classification layer sharded over devices (`fc7_parallel`), or sampled (`partial_fc`), or both.

Sharded, each device holds an equal number of the classes, weights and momentum, and sees the embeddings of the whole
batch: only embeddings, their gradients and a few values per sample pass between devices, whatever the number of
classes. A softmax over the shards needs only each one's log of the sum of exp, so it is exact. Only sampled, each
device holds all rows and its own part of the batch, and the gradients of the sampled rows are summed over the devices.
"""
from __future__ import annotations

from typing import Mapping

import mxnet as mx
import numpy as np

from common.errors import UserError
from training.cluster.communicator import Communicator
from training.gate import Gate
from training.head.joint import JointSoftmaxes
from training.head.layer import Layer
from training.head.margin_head import HeadPass
from training.head.sampling import choose_rows
from training.head.shard import Shard


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
                            f"`devices`; give at most {layer.num_classes}, or leave `fc7_parallel` out")
        self.layer, self.devices, self.parallel, self.rate = layer, devices, parallel, rate
        self.seed, self._momentum, self._decay = seed, momentum, decay
        self.shape, self.communicator = layer.shape, communicator or Communicator()
        self.shards = [Shard(layer, low, high, device, accumulate)
                       for (low, high), device in zip(self._ranges(), devices)]
        together = [self.shards] if parallel else [[shard] for shard in self.shards]
        self._softmaxes = [JointSoftmaxes(layer, shards) for shards in together]

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
            seen, gradients = self._softmaxes[0].run(embeddings, labels, factor)
            return HeadPass([seen], gradients)
        parts = [softmaxes.run([embedding], [share], factor)
                 for softmaxes, embedding, share in zip(self._softmaxes, embeddings, labels)]
        return HeadPass([seen for seen, _ in parts], [gradient for _, (gradient,) in parts])

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

"""One softmax over the shards of a classification layer, for the embeddings of one or several devices."""
from __future__ import annotations

from typing import Sequence

import mxnet as mx
import numpy as np

from common.mxnet_compat import Queue, in_host_memory, prepared, prepared_copies, prepared_copy_to, prepared_to
from training.bound_graph import BoundGraph
from training.head import graphs
from training.head.layer import Layer
from training.head.shard import Shard
from training.head.shard_pass import ShardPass

ONE = (1, 1)


class JointSoftmax:
    """Forward and backward over `shards` for sizes[k] embeddings on devices[k].

    All passes by way of the first shard's device: between all pairs there would be as many copies as devices squared.
    Everything is bound to arrays that stay where they are; `fits` tells whether it still is to those of the shards.
    """

    def __init__(self, layer: Layer, shards: Sequence[Shard], devices: Sequence[mx.Context], sizes: Sequence[int],
                 before: JointSoftmax | None = None) -> None:
        self.layer, self.shards, self._margin, self._factor = layer, shards, layer.margin, 1.0
        first, others = shards[0].device, range(1, len(shards))
        # 1. From embeddings to the operand of the product, on each device.
        shape, ends = (sum(sizes), layer.shape[1]), np.cumsum(sizes).tolist()
        parts = [slice(end - size, end) for size, end in zip(sizes, ends)]
        embeddings, gradient = mx.nd.empty(shape, ctx=first), mx.nd.empty(shape, ctx=first)
        self._take = [prepared_copy_to(embeddings[part]) for part in parts]
        self._scale = mx.nd.full(ONE, layer.scale, ctx=first)
        directions = BoundGraph(graphs.directions(layer), {"embeddings": embeddings, "scale": self._scale},
                                       {"embeddings": gradient})
        batch = [directions.outputs[0], *(mx.nd.empty(shape, ctx=shards[number].device) for number in others)]
        self.passes: list[ShardPass] = [shard.bind(data, before.passes[number] if before else None)
                                        for number, (shard, data) in enumerate(zip(shards, batch))]
        self._columns = mx.nd.empty((len(shards), shape[0]), ctx=first, dtype=np.int32)
        self._take_columns = prepared_copy_to(self._columns)
        self._spread = [directions.forward, prepared_copies((batch[0], batch[number]) for number in others),
                        prepared_copies((self._columns[number], each.columns)
                                        for number, each in enumerate(self.passes))]
        # 2. From the statistics of all shards to what each needs for its backward pass.
        statistics, bring = prepared_to([each.statistics for each in self.passes], first)
        self._factors = mx.nd.ones(ONE, ctx=first)
        over = BoundGraph(graphs.over_shards(len(shards)), {
            "factor": self._factors, **{f"s{number}": array for number, array in enumerate(statistics)}})
        self._seen, factors = over.outputs
        self._join = [bring, over.forward, prepared_copies(
            (factors[number], each.factors) for number, each in enumerate(self.passes))]
        # 3. From the shards' gradients to those of the embeddings.
        gradients, bring = prepared_to([each.data_gradient for each in self.passes], first)
        total = mx.nd.empty(shape, ctx=first)
        pieces, self.gradients = [gradient[part] for part in parts], [
            mx.nd.empty((size, shape[1]), ctx=device) for device, size in zip(devices, sizes)]
        self._collect = [bring, prepared("add_n", gradients, total, num_args=len(shards)),
                         directions.backward_from(total), prepared_copies(zip(pieces, self.gradients))]

    def fits(self) -> bool:
        """Whether the margin's form and the shards' arrays are those that this is bound to."""
        return self._margin.form == self.layer.margin.form and all(
            shard.is_bound_by(each) for shard, each in zip(self.shards, self.passes))

    def run(self, embeddings: Sequence[mx.nd.NDArray], labels: np.ndarray, factor: float) -> mx.nd.NDArray:
        """Loss, cosine and correct of the samples, (3, n), on the first shard's device.

        Fills `gradients`, of factor times the summed loss to each of the embeddings, and the shards'. labels: (n,).
        """
        if self._margin is not self.layer.margin:
            self._margin = self.layer.margin
            _fill(self._scale, self.layer.scale)
            for each in self.passes:
                each.set_margin(self.layer)
        if factor != self._factor:
            _fill(self._factors, factor)
            self._factor = factor
        for take, embedding in zip(self._take, embeddings):
            take(embedding)
        self._take_columns(in_host_memory(np.stack([shard.columns(labels) for shard in self.shards])))
        _queue(self._spread)
        for each in self.passes:
            each.forward()
        _queue(self._join)
        for each in self.passes:
            each.backward()
        _queue(self._collect)
        return self._seen.copy()


class JointSoftmaxes:
    """The JointSoftmax of some shards for each division of a batch, bound when it first comes.

    They use the same memory, as far as the first is large enough: the parts of a step come in descending size.
    """

    def __init__(self, layer: Layer, shards: Sequence[Shard]) -> None:
        self.layer, self.shards = layer, shards
        self._bound: dict[tuple[tuple[mx.Context, int], ...], JointSoftmax] = {}

    def run(self, embeddings: Sequence[mx.nd.NDArray], labels: Sequence[np.ndarray],
            factor: float) -> tuple[mx.nd.NDArray, list[mx.nd.NDArray]]:
        """Loss, cosine and correct, (3, n), and the gradients to the embeddings, which the next run overwrites.

        embeddings: (n_k, emb_size) on each device; labels: (n_k,) of each.
        """
        key = tuple((embedding.context, len(embedding)) for embedding in embeddings)
        if key not in self._bound or not self._bound[key].fits():
            before = next(iter(self._bound.values()), None)
            self._bound = {other: joint for other, joint in self._bound.items() if joint.fits()}
            devices, sizes = zip(*key)
            self._bound[key] = JointSoftmax(self.layer, self.shards, devices, sizes, before)
        joint = self._bound[key]
        return joint.run(embeddings, np.concatenate(labels), factor), joint.gradients


def _fill(array: mx.nd.NDArray, value: float) -> None:
    in_host_memory(np.full(array.shape, value, np.float32)).copyto(array)


def _queue(calls: Sequence[Queue]) -> None:
    for call in calls:
        call()

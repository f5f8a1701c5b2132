"""One softmax over the shards of a classification layer, for the embeddings of one or several devices."""
from __future__ import annotations

from typing import Sequence

import mxnet as mx
import numpy as np

from common.mxnet_compat import in_host_memory
from training.head import graphs
from training.head.layer import Layer
from training.head.shard import Shard

ONE = (1, 1)


class JointSoftmax:
    """Forward and backward over `shards` for sizes[k] embeddings on devices[k].

    All passes by way of the first shard's device: between all pairs there would be as many copies as devices squared.
    Everything is bound to arrays that stay where they are; `fits` tells whether it still is to those of the shards.
    """

    def __init__(self, layer: Layer, shards: Sequence[Shard], devices: Sequence[mx.Context], sizes: Sequence[int],
                 before: JointSoftmax | None = None) -> None:
        self.layer, self.shards, self._margin, self._factor = layer, shards, layer.margin, 1.0
        first = shards[0].device
        # 1. From embeddings to the operand of the product.
        shape = (sum(sizes), layer.shape[1])
        embeddings, gradient = mx.nd.empty(shape, ctx=first), mx.nd.empty(shape, ctx=first)
        ends = np.cumsum(sizes).tolist()
        parts = [slice(end - size, end) for size, end in zip(sizes, ends)]
        self._inputs = [embeddings[part] for part in parts]
        self._directions = graphs.bind(graphs.directions(layer), {
            "embeddings": embeddings, "scale": mx.nd.full(ONE, layer.scale, ctx=first)}, {"embeddings": gradient})
        batch = self._directions.outputs[0]
        # 2. Each shard's passes.
        self.passes = [shard.bind(batch if shard.device == first else mx.nd.empty(shape, ctx=shard.device),
                                  before.passes[number] if before else None) for number, shard in enumerate(shards)]
        self._batches = [(batch, each.data) for each in self.passes if each.data is not batch]
        # 3. From the statistics of all to what each needs for its backward pass.
        statistics, self._statistics = _brought([each.statistics for each in self.passes], first)
        self._factors = mx.nd.ones(ONE, ctx=first)
        self._over = graphs.bind(graphs.over_shards(len(shards)), {
            "factor": self._factors, **{f"s{number}": array for number, array in enumerate(statistics)}})
        self._seen, shares = self._over.outputs
        there = [shares[number] if shard.device == first else mx.nd.empty(shares[number].shape, ctx=shard.device)
                 for number, shard in enumerate(shards)]
        self._shares = [(shares[number], array) for number, array in enumerate(there) if array.context != first]
        self._given = [(array[0].reshape((-1, 1)), array[1]) for array in there]
        # 4. From the shards' gradients to those of the embeddings.
        gradients, self._gradients = _brought([each.data_gradient for each in self.passes], first)
        self._sum = graphs.bind(mx.sym.add_n(*(graphs.variable(f"g{number}") for number in range(len(shards)))),
                                {f"g{number}": array for number, array in enumerate(gradients)})
        pieces = [gradient[part] for part in parts]
        self.gradients = [piece if device == first else mx.nd.empty(piece.shape, ctx=device)
                          for piece, device in zip(pieces, devices)]
        self._pieces = [(piece, array) for piece, array in zip(pieces, self.gradients) if array is not piece]

    def fits(self) -> bool:
        """Whether the layer's margin and the shards' arrays are those that this is bound to."""
        return self._margin is self.layer.margin and all(
            shard.is_bound_by(each) for shard, each in zip(self.shards, self.passes))

    def run(self, embeddings: Sequence[mx.nd.NDArray], labels: np.ndarray, factor: float) -> mx.nd.NDArray:
        """Loss, cosine and correct of the samples, (3, n), on the first shard's device.

        Fills `gradients`, of factor times the summed loss to each of the embeddings, and the shards'. labels: (n,).
        """
        if factor != self._factor:
            in_host_memory(np.full(ONE, factor, np.float32)).copyto(self._factors)
            self._factor = factor
        for array, place in zip(embeddings, self._inputs):
            array.copyto(place)
        self._directions.forward(is_train=True)
        _copy(self._batches)
        for shard, each in zip(self.shards, self.passes):
            each.forward(shard.columns(labels))
        _copy(self._statistics)
        self._over.forward()
        _copy(self._shares)
        for each, given in zip(self.passes, self._given):
            each.backward(*given)
        _copy(self._gradients)
        self._directions.backward(self._sum.forward())
        _copy(self._pieces)
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
            self._bound[key] = JointSoftmax(self.layer, self.shards, *zip(*key), before)
        joint = self._bound[key]
        return joint.run(embeddings, np.concatenate(labels), factor), joint.gradients


Copies = list[tuple[mx.nd.NDArray, mx.nd.NDArray]]


def _copy(pairs: Copies) -> None:
    for source, place in pairs:
        source.copyto(place)


def _brought(arrays: Sequence[mx.nd.NDArray], device: mx.Context) -> tuple[list[mx.nd.NDArray], Copies]:
    """Places for `arrays` on `device`, and the copies that fill them; those that are there need none."""
    places = [array if array.context == device else mx.nd.empty(array.shape, ctx=device) for array in arrays]
    return places, [(array, place) for array, place in zip(arrays, places) if array is not place]

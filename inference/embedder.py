"""Images to embeddings: batches over the devices, the network in inference mode."""
from __future__ import annotations

import hashlib
import itertools
import logging
from typing import Iterable, Iterator, List, Mapping, Sequence, Tuple

import mxnet as mx
import numpy as np

from common.environment import threads
from common.errors import UserError
from inference.cost import check_cost
from inference.streams import open_streams, partition
from symbols.folding import fold
from symbols.graph import to_json
from symbols.prelu_rewrite import flatten_inputs
from symbols.shapes import infer_shapes, parameter_names

log = logging.getLogger(__name__)
LARGEST = 1e-3  # difference, of an embedding's norm, due to rounding
_FUSES: dict[str, bool] = {}  # by the sha256 of a graph, whether MXNet's fused operators compute it
TILE = 8  # images per CPU thread and forward pass: the maps of many more do not fit in the cache
# A batch's pending results: for each tile the outputs of the images and of their mirror images, and how many are valid.
Started = List[Tuple[List[mx.nd.NDArray], int]]


class Embedder:
    """A network ready for inference on one or several devices.

    symbol: takes `data`, (N, 3, H, W) RGB from 0 to 255 (it normalises inside); its output is the embedding, flattened
    where it is a map. arguments, auxiliary: its parameters, copied, so that training may continue. batch_size: images a
    step, over all devices together. image_size: (H, W). UserError where the parameters do not fit the network at this
    image size.

    Other parameters need an Embedder of their own: on CPUs oneDNN's fused operators keep the weights of their first
    forward pass, whatever is copied into the executor afterwards.
    """

    def __init__(self, symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                 auxiliary: Mapping[str, mx.nd.NDArray], devices: Sequence[mx.Context], batch_size: int,
                 image_size: tuple[int, int]) -> None:
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.per_device = max(-(-batch_size // len(devices)), 1)
        self.batch_size = self.per_device * len(devices)
        shape = (self.per_device, 3, *self.image_size)
        self.dimension = check_parameters(symbol, arguments, auxiliary, shape)
        symbol = flatten_inputs(symbol)
        cpus = sum(device.device_type == "cpu" for device in devices)
        # Each with its part of a batch. CPU devices count as one: whatever their ids, the cores are the same.
        self._shares = [(self.per_device, [_bind(symbol, arguments, auxiliary, device, shape)])
                        for device in devices if device.device_type != "cpu"]
        if cpus:
            self._shares.append((cpus * self.per_device, _bind_streams(
                symbol, arguments, auxiliary, (cpus * self.per_device, *shape[1:]))))

    def embed(self, batches: Iterable[np.ndarray], flip: bool = False) -> Iterator[np.ndarray]:
        """Yield the float32 embeddings, (1, n, D), of each batch, (n, H, W, 3) uint8 RGB with n up to `batch_size`.

        With flip (2, n, D): those of the images and those of their mirror images. While the devices compute one batch,
        `batches` prepares the next.
        """
        started = None
        for batch in batches:
            following = self._start(batch, flip)
            if started is not None:
                yield self._finish(started)
            started = following
        if started is not None:
            yield self._finish(started)

    def _start(self, batch: np.ndarray, flip: bool) -> Started:
        if batch.dtype != np.uint8 or batch.shape[1:] != (*self.image_size, 3) or len(batch) > self.batch_size:
            raise ValueError(f"a batch is up to {self.batch_size} images of {self.image_size} in uint8, "
                             f"not {batch.shape} in {batch.dtype}")
        started, begin = [], 0
        for share, executors in self._shares:
            part, begin = batch[begin:begin + share], begin + share
            size = executors[0].arg_dict["data"].shape[0]
            for first, executor in zip(range(0, len(part), size), itertools.cycle(executors)):
                # Images are copied to the device as bytes; MXNet queues what follows and returns at once.
                images = _images(part[first:first + size], executor.arg_dict["data"])
                started.append(([_forward(executor, view) for view in ([images, images.flip(axis=3)] if flip
                                                                       else [images])],
                                min(size, len(part) - first)))
        return started

    def _finish(self, started: Started) -> np.ndarray:
        parts = [np.stack([view.asnumpy().reshape(view.shape[0], -1)[:count] for view in views])
                 for views, count in started]
        return np.concatenate(parts, axis=1).astype(np.float32, copy=False)


def _bind_streams(symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                auxiliary: Mapping[str, mx.nd.NDArray], shape: tuple[int, ...]) -> list[mx.executor.Executor]:
    """The folded network on each stream of the CPU, for an equal part of (up to) shape[0] images or of a tile."""
    streams = open_streams(shape[0])
    rounds = -(-shape[0] // (TILE * max(threads(), len(streams))))
    shape = (-(-shape[0] // (rounds * len(streams))), *shape[1:])
    symbol, arguments, auxiliary = fold(symbol, arguments, auxiliary, shape)
    symbol = _partition_safely(symbol, arguments, auxiliary, streams[0], (1, *shape[1:]))
    return [_bind(symbol, arguments, auxiliary, stream, shape) for stream in streams]


def _partition_safely(symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                      auxiliary: Mapping[str, mx.nd.NDArray], stream: mx.Context,
                      shape: tuple[int, ...]) -> mx.sym.Symbol:
    """`symbol` with oneDNN's fused operators, where these give the same embedding of noise, which is tried once for
    each network.

    MXNet 1.9.1 fuses a convolution with an activation, a BatchNorm or a sum behind it also where other layers take its
    map: they then get the wrong one, or the network cannot be bound (Gluon's ResNetV2 is such a one).
    """
    network = hashlib.sha256(to_json(symbol).encode()).hexdigest()
    if not _FUSES.get(network, True):
        return symbol
    try:
        fused = partition(symbol)
        if network not in _FUSES:
            noise = mx.nd.array(np.random.RandomState(0).randint(0, 256, shape))
            plain, found = (_forward(_bind(one, arguments, auxiliary, stream, shape), noise).asnumpy()
                            for one in (symbol, fused))
            if not np.isfinite(plain).all():  # it says nothing; the network's next parameters may
                return fused
            with np.errstate(invalid="ignore", over="ignore"):
                _FUSES[network] = bool(np.linalg.norm(found - plain) <= LARGEST * np.linalg.norm(plain))
    except RuntimeError:  # also MXNetError
        _FUSES[network] = False
    if _FUSES[network]:
        return fused
    log.info("MXNet's fused operators do not compute this network right; it is computed without them, slower")
    return symbol


def _bind(symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray], auxiliary: Mapping[str, mx.nd.NDArray],
          device: mx.Context, shape: tuple[int, ...]) -> mx.executor.Executor:
    """The network on a device, for (up to) shape[0] images at once."""
    executor = symbol.simple_bind(device, grad_req="null", data=shape)
    executor.copy_params_from(dict(arguments), dict(auxiliary), allow_extra_params=True)
    return executor


def _images(images: np.ndarray, data: mx.nd.NDArray) -> mx.nd.NDArray:
    """(n, H, W, 3) uint8 in the layout of `data`, padded with black images."""
    if len(images) < data.shape[0]:
        images = np.concatenate([images, np.zeros((data.shape[0] - len(images), *images.shape[1:]), np.uint8)])
    return mx.nd.array(images, data.context, np.uint8).transpose((0, 3, 1, 2)).astype(data.dtype)


def _forward(executor: mx.executor.Executor, images: mx.nd.NDArray) -> mx.nd.NDArray:
    images.copyto(executor.arg_dict["data"])
    executor.forward(is_train=False)
    return executor.outputs[0].copy()  # the next forward pass writes over its outputs


def check_parameters(symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                     auxiliary: Mapping[str, mx.nd.NDArray], data_shape: tuple[int, ...]) -> int:
    """The embedding's dimension, if parameters and network fit images of `data_shape`; UserError otherwise."""
    size = f"{data_shape[2]}x{data_shape[3]}"
    try:
        shapes = infer_shapes(symbol, data_shape)
    except ValueError as error:
        raise UserError(str(error)) from None
    given = {**arguments, **auxiliary}
    for name in parameter_names(symbol):
        if name not in given:
            raise UserError(f"the model lacks its parameter {name}")
        if tuple(given[name].shape) != tuple(shapes[name]):
            raise UserError(f"the network does not take images of {size}: its {name} is of shape {given[name].shape}, "
                            f"such images need {tuple(shapes[name])}")
    try:
        check_cost(symbol, data_shape)
    except ValueError as error:
        raise UserError(f"the network is not one for faces of {size}: {error}") from None
    return int(np.prod(shapes[symbol.list_outputs()[0]][1:]))

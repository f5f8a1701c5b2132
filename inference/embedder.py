"""Images to embeddings: batches over the devices, the network in inference mode."""
from __future__ import annotations

from typing import Iterable, Iterator, List, Mapping, Sequence, Tuple

import mxnet as mx
import numpy as np

from common.errors import UserError
from symbols.fast import flatten_inputs, for_devices
from symbols.shapes import infer_shapes, parameter_names

# What a batch's computation leaves behind: on each device, for the images and their mirror images, and how many count.
Started = Tuple[List[List[mx.nd.NDArray]], int]


class Embedder:
    """A network ready for inference on one or several devices.

    symbol: takes `data`, (N, 3, H, W) RGB from 0 to 255 (it normalises inside); its output is the embedding, flattened
    where it is a map. arguments, auxiliary: its parameters, copied, so that training may go on. batch_size: images a
    step, over all devices together. image_size: (H, W). UserError where the parameters do not fit the network at this
    image size.
    """

    def __init__(self, symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                 auxiliary: Mapping[str, mx.nd.NDArray], devices: Sequence[mx.Context], batch_size: int,
                 image_size: tuple[int, int]) -> None:
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.per_device = max(-(-batch_size // len(devices)), 1)
        self.batch_size = self.per_device * len(devices)
        shape = (self.per_device, 3, *self.image_size)
        self.dimension = check_parameters(symbol, arguments, auxiliary, shape)
        running = for_devices(flatten_inputs(symbol), shape, devices)
        self._executors = [running.simple_bind(device, grad_req="null", data=shape) for device in devices]
        for executor in self._executors:
            executor.copy_params_from(dict(arguments), dict(auxiliary), allow_extra_params=True)

    def embed(self, batches: Iterable[np.ndarray], flip: bool = False) -> Iterator[np.ndarray]:
        """Yield the float32 embeddings, (1, n, D), of each batch, (n, H, W, 3) uint8 RGB with n up to `batch_size`.

        With flip (2, n, D): those of the images and those of their mirror images. While the devices compute one batch,
        `batches` makes the next.
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
        outputs = []
        for number, executor in enumerate(self._executors):
            part = batch[number * self.per_device:(number + 1) * self.per_device]
            if not len(part):
                break
            if len(part) < self.per_device:
                padding = np.zeros((self.per_device - len(part), *part.shape[1:]), np.uint8)
                part = np.concatenate([part, padding])
            # The images travel as bytes; MXNet queues what follows and returns at once.
            data = executor.arg_dict["data"]
            images = mx.nd.array(part, data.context, np.uint8).transpose((0, 3, 1, 2)).astype(data.dtype)
            outputs.append([_forward(executor, view)
                            for view in ([images, images.flip(axis=3)] if flip else [images])])
        return outputs, len(batch)

    def _finish(self, started: Started) -> np.ndarray:
        outputs, count = started
        parts = [np.stack([view.asnumpy().reshape(self.per_device, -1) for view in views]) for views in outputs]
        return np.concatenate(parts, axis=1)[:, :count].astype(np.float32, copy=False)


def _forward(executor: mx.executor.Executor, images: mx.nd.NDArray) -> mx.nd.NDArray:
    images.copyto(executor.arg_dict["data"])
    executor.forward(is_train=False)
    return executor.outputs[0].copy()  # the next forward pass writes over its outputs


def check_parameters(symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                     auxiliary: Mapping[str, mx.nd.NDArray], data_shape: tuple[int, ...]) -> int:
    """The embedding's length where parameters and network agree on images of `data_shape`; UserError otherwise."""
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
    return int(np.prod(shapes[symbol.list_outputs()[0]][1:]))

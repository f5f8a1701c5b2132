"""The four networks of a checkpoint folder, each bound once, to batches of one shape, on every device."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Sequence

import mxnet as mx
import numpy as np

from common.errors import UserError
from common.files import PathLike
from inference.cost import check_cost
from inference.model import read_parameters, read_symbol
from symbols.prelu_rewrite import flatten_inputs, for_devices
from symbols.shapes import infer_shapes, parameter_names

EPOCH = 1  # det1-0001.params


class Network:
    """A network bound for inference.

    symbol takes `data`, (N, C, H, W), BGR (C = 3, or several images of 3 channels each), normalised as (x - 127.5) /
    128. shape: (H, W, C) of its images; batch: how many per device and forward pass. The images given to it are RGB.
    """

    def __init__(self, symbol: mx.sym.Symbol, arguments: dict[str, mx.nd.NDArray], devices: Sequence[mx.Context],
                 shape: tuple[int, int, int], batch: int) -> None:
        self.shape, self.batch = shape, batch
        data = (batch, shape[2], shape[0], shape[1])
        normalised = (mx.sym.Variable("data") - 127.5) / 128
        running = for_devices(flatten_inputs(symbol(data=normalised)), data, devices)
        self._executors = [running.simple_bind(device, grad_req="null", data=data) for device in devices]
        for executor in self._executors:
            executor.copy_params_from(_for_rgb(arguments), {})

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        """The outputs, (n, ...) float32 each, for (n, H, W, C) uint8 RGB images."""
        started = []
        for number, start in enumerate(range(0, max(len(pictures), 1), self.batch)):
            part = pictures[start:start + self.batch]
            executor = self._executors[number % len(self._executors)]
            if len(part) < self.batch:
                part = np.concatenate([part, np.zeros((self.batch - len(part), *self.shape), np.uint8)])
            target = executor.arg_dict["data"]
            images = mx.nd.array(part, target.context, np.uint8)  # images are copied to the device as bytes
            images.transpose((0, 3, 1, 2)).astype(target.dtype).copyto(target)
            executor.forward(is_train=False)
            started.append([output.copy() for output in executor.outputs])  # the next pass writes over its outputs
        return [np.concatenate([part.asnumpy() for part in parts])[:len(pictures)] for parts in zip(*started)]


def load(folder: PathLike, name: str, devices: Sequence[mx.Context], shape: tuple[int, int, int], batch: int,
         outputs: Sequence[tuple[int, ...]]) -> Network:
    """Network `name`, such as det1, of a checkpoint folder; outputs: the expected output shapes for one image.

    UserError where the folder does not hold it, or it is another network.
    """
    flag = "`detector`"
    if not Path(folder).is_dir():
        raise UserError(f"{flag} {folder}: there is no such folder; it holds the checkpoints det1 to det4 of "
                        "InsightFace's MTCNN (det1-symbol.json, det1-0001.params and so on)")
    prefix = str(Path(folder) / name)
    symbol = read_symbol(prefix, flag)
    arguments, _ = read_parameters(prefix, EPOCH, flag)
    try:
        shapes = infer_shapes(symbol, (1, shape[2], shape[0], shape[1]))
        check_cost(symbol, (1, shape[2], shape[0], shape[1]))
    except ValueError as error:
        raise UserError(f"{flag} {folder}: {name}: {error}") from None
    given = [tuple(shapes[output][1:]) for output in symbol.list_outputs()]
    wrong = [key for key in parameter_names(symbol) if not key.endswith("_label")
             if key not in arguments or tuple(arguments[key].shape) != tuple(shapes[key])]
    if given != list(outputs) or wrong:
        what = f"its {wrong[0]} is missing or of another shape" if wrong else f"its outputs are {given}"
        raise UserError(f"{flag} {folder}: {name} is not the network of InsightFace's MTCNN: {what}")
    return Network(symbol, arguments, devices, shape, batch)


def _for_rgb(arguments: dict[str, mx.nd.NDArray]) -> dict[str, mx.nd.NDArray]:
    """The parameters with the input channels of the first layers reversed."""
    return {name: value.flip(axis=1) if re.fullmatch(r"conv1(_\d+)?_weight", name) else value
            for name, value in arguments.items()}

"""The images of a step on the devices, as the network takes them."""
from __future__ import annotations

from typing import Callable

import mxnet as mx
import numpy as np

from common.mxnet_compat import prepared_copy_to
from training.bound_graph import BoundGraph, variable


class DeviceImages:
    """For each device and number of images an array that the images of every step are copied to, and its float form.

    MXNet's engine lets the copy wait for what still reads the images before; Python does not wait.
    """

    def __init__(self) -> None:
        self._bound: dict[tuple[mx.Context, tuple[int, ...]], tuple[Callable[[mx.nd.NDArray], None], BoundGraph]] = {}

    def put(self, images: mx.nd.NDArray, device: mx.Context) -> mx.nd.NDArray:
        """(n, 3, H, W) float32 on `device` from (n, H, W, 3) uint8; the next `put` of as many overwrites it."""
        key = device, images.shape
        if key not in self._bound:
            place = mx.nd.empty(images.shape, ctx=device, dtype=np.uint8)
            planes = mx.sym.cast(mx.sym.transpose(variable("images"), axes=(0, 3, 1, 2)), dtype="float32")
            self._bound[key] = prepared_copy_to(place), BoundGraph(planes, {"images": place})
        copy, graph = self._bound[key]
        copy(images)
        graph.forward()
        return graph.outputs[0]

"""The local features that a network pools: their norms, GNAP's weights, and those of average pooling.

The paper's figures 1 and 2 on real faces. F: the last feature map before the head, behind GNAP's first BatchNorm where
the network has one; ||F_ij|| is equation (1), ||F||_mean (2), and ||F||_mean / ||F_ij|| the weight of equation (3).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

import mxnet as mx
import numpy as np

from inference.streams import UNFUSED
from symbols.gnap import NO_NORM
from symbols.shapes import infer_shapes

AT_ONCE = 16  # images per forward pass
GNAP_INPUT = "bn6f_output"
HEAD_NORM = "bn1_output"  # what GAP, FC and E pool or flatten


@dataclass(frozen=True)
class FeatureMaps:
    """norms: (N, h, w) ||F_ij||. layer: the name of F's layer. gnap: whether the network reweights it."""

    norms: np.ndarray
    layer: str
    gnap: bool

    @property
    def weights(self) -> np.ndarray:
        """(N, h, w) of equation (3): GNAP's factor of each local feature (also for networks without GNAP); 0 for zero
        norm."""
        mean = self.norms.mean(axis=(1, 2), keepdims=True)
        relative = self.norms / np.where(mean == 0, 1, mean)
        return np.where(relative > NO_NORM, 1 / np.maximum(relative, NO_NORM), 0.0)

    @property
    def shares(self) -> np.ndarray:
        """(N, h, w) each local feature's fraction of the sum of norms in average pooling; they add up to 1. After
        GNAP's reweighting all are equal."""
        total = self.norms.sum(axis=(1, 2), keepdims=True)
        return self.norms / np.where(total == 0, 1, total)


def find_layer(symbol: mx.sym.Symbol, image_size: tuple[int, int]) -> str:
    """The output whose local features the head pools, weighs or flattens, as `NAME_output`.

    ValueError where the network has no map of more than one position in front of its embedding.
    """
    shapes = infer_shapes(symbol, (1, 3, *image_size))
    outputs = symbol.get_internals().list_outputs()
    for name in (GNAP_INPUT, HEAD_NORM):
        if name in outputs and len(shapes[name]) == 4 and min(shapes[name][2:]) > 1:
            return name
    maps = [name for name in outputs if name.endswith("_output") and len(shapes.get(name, ())) == 4
            and shapes[name][1] > 3 and min(shapes[name][2:]) > 1]
    if not maps:
        raise ValueError("the network has no feature map of more than one position")
    return maps[-1]


def feature_maps(symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray], auxiliary: Mapping[str, mx.nd.NDArray],
                 images: Sequence[np.ndarray]) -> FeatureMaps:
    """Of (H, W, 3) uint8 RGB images of one size. ValueError as `find_layer`."""
    height, width = images[0].shape[:2]
    layer = find_layer(symbol, (height, width))
    part = symbol.get_internals()[layer]
    data = np.stack(images).transpose(0, 3, 1, 2)
    executor = part.simple_bind(UNFUSED, grad_req="null", data=(min(AT_ONCE, len(data)), *data.shape[1:]))
    executor.copy_params_from(dict(arguments), dict(auxiliary), allow_extra_params=True)
    norms = []
    for first in range(0, len(data), AT_ONCE):
        batch = data[first:first + AT_ONCE]
        filled = np.zeros(executor.arg_dict["data"].shape, np.float32)
        filled[:len(batch)] = batch
        executor.forward(is_train=False, data=mx.nd.array(filled))
        features = executor.outputs[0].asnumpy()[:len(batch)].astype(np.float64)
        norms.append(np.sqrt((features ** 2).sum(axis=1)))
    return FeatureMaps(np.concatenate(norms), layer[:-len("_output")], layer == GNAP_INPUT)

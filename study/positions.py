"""Weights of the positions of the last feature map: norms of local features over frontal and profile faces.

Plain average pooling weights a position by the norm of its feature; GNAP gives all the same norm. The effective number
of positions is 1 / sum p^2, with p the norms divided by their sum: all of them where norms are equal.
"""
from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import mxnet as mx
import numpy as np

from eval.face_sets import FaceSet
from inference.embedder import Embedder
from inference.model import load_model
from symbols.shapes import infer_shapes

BATCH = 32
# The layer whose output is the global operator's input, normalised where the head begins with a BatchNorm.
LAYERS = ("bn6f", "bn1", "conv_6sep_relu")


def map_layer(symbol: mx.sym.Symbol) -> str:
    """The name of the last feature map's layer; ValueError where the network has none that is known."""
    outputs = symbol.get_internals().list_outputs()
    for name in LAYERS:
        if f"{name}_output" in outputs:
            return name
    raise ValueError(f"the network has none of the layers {', '.join(LAYERS)}")


def position_statistics(prefix: str, epoch: int, faces: FaceSet, numbers: np.ndarray,
                        image_size: tuple[int, int]) -> dict[str, Any]:
    """Of the images `numbers` of a set: `norm_map`, the mean over images of each position's length divided by the
    image's mean, (H, W) nested; `effective_positions` of the lengths, mean over images; `centre_correlation`, the mean
    over images of Pearson's between length and distance from the map's centre; `positions`, H x W."""
    symbol, *_ = load_model(prefix, epoch, "fc1")
    layer = map_layer(symbol)
    cut = load_model(prefix, epoch, layer)
    _, channels, height, width = infer_shapes(cut[0], (1, 3, *image_size))[f"{layer}_output"]
    embedder = Embedder(*cut, [mx.cpu()], BATCH, image_size)
    chosen = replace(faces, names=[faces.names[number] for number in numbers], labels=faces.labels[numbers],
                     read=lambda place: faces.read(int(numbers[place])))
    lengths = np.concatenate([np.linalg.norm(views[0].reshape(len(views[0]), channels, -1), axis=1)
                              for views in embedder.embed(chosen.batches(BATCH, image_size, hashlib.sha256()))])
    return {"layer": layer, "positions": height * width, "images": len(lengths),
            "norm_map": np.round((lengths / lengths.mean(axis=1, keepdims=True)).mean(axis=0), 4).reshape(
                height, width).tolist(),
            "effective_positions": round(float(effective_number(lengths).mean()), 3),
            "centre_correlation": round(centre_correlation(lengths, height, width), 4)}


def effective_number(lengths: np.ndarray) -> np.ndarray:
    """(N,) of (N, positions) norms, not negative."""
    shares = lengths / lengths.sum(axis=1, keepdims=True)
    return 1 / (shares ** 2).sum(axis=1)


def centre_correlation(lengths: np.ndarray, height: int, width: int) -> float:
    """The mean over images of Pearson's correlation of length and distance from the centre; 0 where one is constant."""
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2).ravel()
    away, centred = away - away.mean(), lengths - lengths.mean(axis=1, keepdims=True)
    product = np.linalg.norm(away) * np.linalg.norm(centred, axis=1)
    return float(np.divide(centred @ away, product, out=np.zeros(len(lengths)), where=product > 0).mean())

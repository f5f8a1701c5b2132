"""DREAM, the block that the paper compares GNAP with (Cao et al., arXiv:1803.00839): a residual on the embedding.

    e' = e + Y(yaw) R(e),    R(e) = act(W2 act(W1 e + b1) + b2),    Y(yaw) = 1 / (1 + exp(-10 (|yaw| / 45 - 1)))

so that the embedding of a frontal face is unchanged, and that of a profile face is mapped to where its identity's
frontal faces are. The activation, ReLU, and the gate are those of the authors' published code for frozen embeddings.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from mxnet import gluon

HALF_WAY = 45.0  # yaw in degrees at which half of the residual is added
STEEPNESS = 10.0


def gate(yaw: np.ndarray) -> np.ndarray:
    """Y: (N,) float32 in (0, 1), from (N,) yaw angles in degrees, of either sign."""
    return (1 / (1 + np.exp(-STEEPNESS * (np.abs(np.asarray(yaw, np.float64)) / HALF_WAY - 1)))).astype(np.float32)


class Dream(gluon.HybridBlock):
    """(N, D) embeddings and their (N,) gates to (N, D) embeddings.

    emb_size: D. Input embeddings may be normalised or not; the output is not normalised.
    """

    def __init__(self, emb_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.first = gluon.nn.Dense(emb_size, activation="relu", in_units=emb_size)
            self.second = gluon.nn.Dense(emb_size, activation="relu", in_units=emb_size)

    def hybrid_forward(self, F: Any, embedding: Any, gates: Any) -> Any:
        """e + Y R(e)."""
        return embedding + F.broadcast_mul(F.expand_dims(gates, axis=1), self.second(self.first(embedding)))

"""Global Norm-Aware Pooling (the paper's section 3.2), as a Symbol and as a Gluon block.

BN with fixed gamma, then for each image

    ||F_ij|| = sqrt(sum_c F_ijc^2)                       (1)
    ||F||_mean = mean_ij ||F_ij||                        (2)
    G_ijc = ||F||_mean / ||F_ij|| * F_ijc                (3)

then global average pooling. The mean of (2) is of the image alone, so an embedding does not depend on its neighbours
in the batch. A feature of zero norm has no direction: its weight is 0.

Implementation: the channel sum is a 1x1 convolution with ones, and (3) with the pooling is one product of the map (C,
HW) with the weights (HW, 1), so that no second map is allocated. All constants take the dtype of the data, so that a
network can be cast, and every operator is one that `mx.onnx` exports.
"""
from __future__ import annotations

from types import MappingProxyType
from typing import Any, Mapping

import mxnet as mx
from mxnet import gluon

BN_EPS = 2e-5
TINY = 1e-30  # keeps the gradient of the square root finite; far below the squares of any float32 feature map
NO_NORM = 1e-6  # of the mean norm: what is shorter is rounding of a zero feature
# Ablations: the block with one part removed or changed, as options of `gnap_symbol`
VARIANTS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "paper": {}, "no-first-bn": {"first_bn": False}, "no-reweighting": {"reweight": False},
    "learned-gamma": {"learned_gamma": True}, "batch-mean": {"mean_over": "batch"}})


def gnap_symbol(data: mx.sym.Symbol, channels: int, bn_mom: float = 0.9, first_bn: bool = True, reweight: bool = True,
                learned_gamma: bool = False, mean_over: str = "image") -> mx.sym.Symbol:
    """GNAP without its last BN: (N, C, H, W) to (N, C).

    The paper's variants: first_bn=False omits bn6f, reweight=False makes it plain average pooling, learned_gamma trains
    bn6f's gamma, mean_over='batch' takes the mean of (2) over all images as InsightFace's script did.
    """
    if first_bn:
        data = batch_norm(data, "bn6f", bn_mom, fix_gamma=not learned_gamma)
    return norm_aware_pooling(mx.sym, data, channels, reweight, mean_over)


def norm_aware_pooling(F: Any, data: Any, channels: int, reweight: bool = True, mean_over: str = "image") -> Any:
    """Equations (1) to (3) and the pooling, (N, C, H, W) to (N, C); F is mx.sym or mx.nd.

    ValueError where mean_over is neither 'image' nor 'batch'.
    """
    _check_mean_over(mean_over)
    if not reweight:
        return F.Flatten(F.Pooling(data, global_pool=True, kernel=(1, 1), pool_type="avg"))
    corner = F.slice(data, begin=(0, 0, 0, 0), end=(1, channels, 1, 1))
    squares = F.Convolution(F.square(data), F.ones_like(corner), num_filter=1, kernel=(1, 1), no_bias=True)
    norms = F.reshape(F.sqrt(squares + TINY), (0, -1, 1))  # (1), (N, HW, 1)
    ones, over = F.ones_like(norms), 1 if mean_over == "image" else (0, 1)
    # Sums, since mx.onnx exports a mean in a form that the newest operator set no longer has.
    mean = F.sum(norms, axis=over, keepdims=True) / F.sum(ones, axis=over, keepdims=True)  # (2), (N or 1, 1, 1)
    # TINY underflows in float16: there a map of zeros has no mean.
    relative = F.broadcast_div(norms, F.broadcast_add(mean, mean == 0))
    # From here on scalar operators: array operators start a thread for each core, however small the arrays.
    weights = (relative > NO_NORM) / F.maximum(relative, NO_NORM)
    positions = F.sum(ones, axis=1, keepdims=True)  # HW, for the average
    pooled = F.batch_dot(F.reshape(data, (0, 0, -1)), weights)  # the sum over positions of (3), (N, C, 1)
    return F.Flatten(F.broadcast_div(pooled, positions))


def _check_mean_over(mean_over: str) -> None:
    if mean_over not in ("image", "batch"):
        raise ValueError(f"mean_over {mean_over}: image or batch")


def batch_norm(data: mx.sym.Symbol, name: str, bn_mom: float, fix_gamma: bool = False,
               eps: float = BN_EPS) -> mx.sym.Symbol:
    """BatchNorm; with fix_gamma gamma counts as 1, and its variable has a weight-decay multiplier of 0."""
    if not fix_gamma:
        return mx.sym.BatchNorm(data, fix_gamma=False, eps=eps, momentum=bn_mom, name=name)
    gamma = mx.sym.Variable(f"{name}_gamma", wd_mult=0.0, init=mx.init.One())
    return mx.sym.BatchNorm(data, gamma=gamma, fix_gamma=True, eps=eps, momentum=bn_mom, name=name)


class GNAP(gluon.HybridBlock):
    """The whole block for nets written in Gluon: BN, reweighting, pooling, BN; (N, C, H, W) to (N, C).

    channels: C, fixed when the block is made. The variants are those of `gnap_symbol`; learned_gamma trains the gammas
    of both BNs. ValueError where mean_over is neither 'image' nor 'batch'.
    """

    def __init__(self, channels: int, bn_mom: float = 0.9, first_bn: bool = True, reweight: bool = True,
                 learned_gamma: bool = False, mean_over: str = "image", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _check_mean_over(mean_over)
        self._pooling = (channels, reweight, mean_over)
        settings = dict(momentum=bn_mom, epsilon=BN_EPS, scale=learned_gamma, in_channels=channels)
        with self.name_scope():
            self.first = gluon.nn.BatchNorm(**settings) if first_bn else None
            self.last = gluon.nn.BatchNorm(**settings)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """(N, C, H, W) to (N, C)."""
        if self.first is not None:
            x = self.first(x)
        return self.last(norm_aware_pooling(F, x, *self._pooling))

"""MobileFaceNet (arXiv:1804.07573), with the ecosystem's parameter names: y1 has blocks (1, 4, 6, 2), y2 (2, 8, 16, 4).
"""
from __future__ import annotations

from typing import Any, Sequence

import mxnet as mx
from mxnet.symbol import Symbol

from symbols.gnap import batch_norm
from symbols.symbol_utils import BN_EPS_MXNET, activation, get_fc1, normalise_input, scaled

LAST = 512


def get_symbol(emb_size: int, version_output: str = "GDC", version_act: str = "prelu", bn_mom: float = 0.9,
               blocks: Sequence[int] = (1, 4, 6, 2), net_multiplier: float = 1.0, **head_options: Any) -> Symbol:
    """The embedding `fc1` (N, emb_size) of `data` (N, 3, H, W), RGB 0 to 255.

    blocks: number of blocks at strides 2, 4, 8 and 16; one at stride 2 is the depthwise convolution of y1, more are
    residual blocks (y2). net_multiplier: of the channels of every layer. version_output: the head, see `get_fc1`.
    head_options: GNAP's variants. ValueError for blocks that are not four numbers from 1, or another version_act or
    version_output.
    """
    if len(blocks) != 4 or min(blocks) < 1:
        raise ValueError(f"blocks {tuple(blocks)}: four numbers from 1, (1, 4, 6, 2) for y1")
    make = _Maker(version_act, bn_mom, net_multiplier)
    last = make.scaled(LAST)
    body = make.conv(normalise_input(), "conv_1", 64, 3, stride=2)
    if blocks[0] == 1:
        body = make.conv(body, "conv_2_dw", 64, 3, groups=64)
    else:
        body = make.residual(body, "res_2", blocks[0], 64, 64)
    body = make.bottleneck(body, "dconv_23", "", 128, 64, stride=2)
    body = make.residual(body, "res_3", blocks[1], 128, 64)
    body = make.bottleneck(body, "dconv_34", "", 256, 128, stride=2)
    body = make.residual(body, "res_4", blocks[2], 256, 128)
    body = make.bottleneck(body, "dconv_45", "", 512, 128, stride=2)
    body = make.residual(body, "res_5", blocks[3], 256, 128)
    body = make.conv(body, "conv_6sep", LAST, 1)
    return get_fc1(body, emb_size, version_output, last, bn_mom, **head_options)


class _Maker:
    """The layers, with the options they share."""

    def __init__(self, version_act: str, bn_mom: float, net_multiplier: float) -> None:
        self.version_act, self.bn_mom, self.net_multiplier = version_act, bn_mom, net_multiplier

    def scaled(self, channels: int) -> int:
        return scaled(channels, self.net_multiplier)

    def linear(self, data: Symbol, name: str, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> Symbol:
        body = mx.sym.Convolution(data, num_filter=self.scaled(filters), kernel=(kernel, kernel),
                                  num_group=self.scaled(groups) if groups > 1 else 1,
                                  stride=(stride, stride), pad=(kernel // 2, kernel // 2), no_bias=True,
                                  name=f"{name}_conv2d")
        return batch_norm(body, f"{name}_batchnorm", self.bn_mom, eps=BN_EPS_MXNET)

    def conv(self, data: Symbol, name: str, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> Symbol:
        return activation(self.linear(data, name, filters, kernel, stride, groups), self.version_act, f"{name}_relu")

    def bottleneck(self, data: Symbol, name: str, suffix: str, inner: int, filters: int, stride: int = 1) -> Symbol:
        """Inverted bottleneck: expand to `inner` channels, depthwise convolution, project to `filters`."""
        body = self.conv(data, f"{name}{suffix}_conv_sep", inner, 1)
        body = self.conv(body, f"{name}{suffix}_conv_dw", inner, 3, stride, groups=inner)
        return self.linear(body, f"{name}{suffix}_conv_proj", filters, 1)

    def residual(self, data: Symbol, name: str, count: int, inner: int, filters: int) -> Symbol:
        for number in range(count):
            data = data + self.bottleneck(data, name, f"_block{number}", inner, filters)
        return data

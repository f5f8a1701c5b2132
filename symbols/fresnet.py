"""LResNet: ArcFace's residual networks for 112x112 faces (arXiv:1801.07698), with the ecosystem's parameter names.

LResNet18E-IR of the paper is get_symbol(512, 18): 3x3 input convolution without stride (`version_input=1`), units of
BN - conv - BN - PReLU - conv - BN (`version_unit=3`), the head `E`.
"""
from __future__ import annotations

from typing import Any, Callable

import mxnet as mx
from mxnet.symbol import Symbol

from symbols.gnap import batch_norm
from symbols.symbol_utils import activation, get_fc1, normalise_input, scaled

# Residual units in each of the four stages, by the ecosystem's name of the depth.
UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 49: (3, 4, 14, 3), 50: (3, 4, 14, 3), 74: (3, 6, 24, 3),
         90: (3, 8, 30, 3), 98: (3, 4, 38, 3), 99: (3, 8, 35, 3), 100: (3, 13, 30, 3), 101: (3, 4, 23, 3),
         124: (3, 13, 40, 5), 134: (3, 10, 50, 3), 136: (3, 13, 48, 3), 140: (3, 15, 48, 3), 152: (3, 8, 36, 3),
         160: (3, 24, 49, 3), 200: (3, 24, 36, 3), 269: (3, 30, 48, 8)}
STEM = 64
FILTERS = (64, 128, 256, 512)


def get_symbol(emb_size: int, num_layers: int, version_output: str = "E", version_input: int = 1,
               version_unit: int = 3, version_se: int = 0, version_act: str = "prelu", bn_mom: float = 0.9,
               net_multiplier: float = 1.0, **head_options: Any) -> Symbol:
    """The embedding `fc1` (N, emb_size) of `data` (N, 3, H, W), RGB 0 to 255.

    num_layers: a key of UNITS. version_output: the head, see `get_fc1`. version_input: 1, 3x3 without stride; 0, 7x7
    with stride 2 and max pooling. version_unit: 1, post-activation; 2, pre-activation; 3, ArcFace's. version_se: 1 adds
    squeeze-and-excitation to every unit. net_multiplier: of the channels of every layer. head_options: GNAP's variants.
    ValueError for a value out of the choices.
    """
    if num_layers not in UNITS:
        raise ValueError(f"num_layers {num_layers} is not one of {', '.join(map(str, UNITS))}")
    for name, value, values in (("version_input", version_input, (0, 1)), ("version_unit", version_unit, tuple(_UNIT)),
                                ("version_se", version_se, (0, 1))):
        if value not in values:
            raise ValueError(f"{name} {value} is not one of {', '.join(map(str, values))}")
    make = _Maker(version_input, version_se, version_act, bn_mom)
    stem, *stages = (scaled(channels, net_multiplier) for channels in (STEM, *FILTERS))
    unit = _UNIT[version_unit]
    body = make.stem(stem)
    for stage, (count, filters) in enumerate(zip(UNITS[num_layers], stages), start=1):
        for number in range(1, count + 1):
            # With version_input 0 the stem has already reduced the map to a quarter.
            stride = 2 if number == 1 and (stage > 1 or version_input == 1) else 1
            body = unit(make, body, f"stage{stage}_unit{number}", filters, stride, number == 1)
    return get_fc1(body, emb_size, version_output, stages[-1], bn_mom, **head_options)


class _Maker:
    """The layers of a unit, with the options all units share."""

    def __init__(self, version_input: int, version_se: int, version_act: str, bn_mom: float) -> None:
        self.version_input, self.version_se, self.version_act = version_input, version_se, version_act
        self.bn_mom = bn_mom

    def conv(self, data: Symbol, name: str, filters: int, kernel: int = 3, stride: int = 1,
             bias: bool = False) -> Symbol:
        return mx.sym.Convolution(data, num_filter=filters, kernel=(kernel, kernel), stride=(stride, stride),
                                  pad=(kernel // 2, kernel // 2), no_bias=not bias, name=name)

    def norm(self, data: Symbol, name: str) -> Symbol:
        return batch_norm(data, name, self.bn_mom)

    def act(self, data: Symbol, name: str) -> Symbol:
        return activation(data, self.version_act, name)

    def stem(self, filters: int) -> Symbol:
        if self.version_input == 1:
            return self.act(self.norm(self.conv(normalise_input(), "conv0", filters), "bn0"), "relu0")
        body = self.act(self.norm(self.conv(normalise_input(), "conv0", filters, 7, 2), "bn0"), "relu0")
        return mx.sym.Pooling(body, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")

    def squeeze(self, data: Symbol, name: str, filters: int) -> Symbol:
        """Squeeze-and-excitation (arXiv:1709.01507) with a 16th of the channels, where version_se asks for it."""
        if not self.version_se:
            return data
        body = mx.sym.Pooling(data, global_pool=True, kernel=(7, 7), pool_type="avg", name=f"{name}_se_pool1")
        body = self.conv(body, f"{name}_se_conv1", filters // 16, 1, bias=True)
        body = self.conv(self.act(body, f"{name}_se_relu1"), f"{name}_se_conv2", filters, 1, bias=True)
        return mx.sym.broadcast_mul(data, mx.sym.Activation(body, act_type="sigmoid", name=f"{name}_se_sigmoid"))

    def shortcut(self, data: Symbol, name: str, filters: int, stride: int, first: bool) -> Symbol:
        if not first:
            return data
        return self.norm(self.conv(data, f"{name}_conv1sc", filters, 1, stride), f"{name}_sc")


def _post_activation(make: _Maker, data: Symbol, name: str, filters: int, stride: int, first: bool) -> Symbol:
    # As in InsightFace, the stride is on the second convolution where the stem has none.
    strides = (1, stride) if make.version_input == 1 else (stride, 1)
    body = make.norm(make.conv(data, f"{name}_conv1", filters, stride=strides[0]), f"{name}_bn1")
    body = make.conv(make.act(body, f"{name}_relu1"), f"{name}_conv2", filters, stride=strides[1])
    body = make.squeeze(make.norm(body, f"{name}_bn2"), name, filters)
    return make.act(body + make.shortcut(data, name, filters, stride, first), f"{name}_relu3")


def _pre_activation(make: _Maker, data: Symbol, name: str, filters: int, stride: int, first: bool) -> Symbol:
    before = make.act(make.norm(data, f"{name}_bn1"), f"{name}_relu1")
    body = make.norm(make.conv(before, f"{name}_conv1", filters, stride=stride), f"{name}_bn2")
    body = make.squeeze(make.conv(make.act(body, f"{name}_relu2"), f"{name}_conv2", filters), name, filters)
    return body + (make.conv(before, f"{name}_sc", filters, 1, stride) if first else data)


def _arcface(make: _Maker, data: Symbol, name: str, filters: int, stride: int, first: bool) -> Symbol:
    body = make.conv(make.norm(data, f"{name}_bn1"), f"{name}_conv1", filters)
    body = make.act(make.norm(body, f"{name}_bn2"), f"{name}_relu1")
    body = make.norm(make.conv(body, f"{name}_conv2", filters, stride=stride), f"{name}_bn3")
    return make.squeeze(body, name, filters) + make.shortcut(data, name, filters, stride, first)


_UNIT: dict[int, Callable[..., Symbol]] = {1: _post_activation, 2: _pre_activation, 3: _arcface}

"""The layers all networks share, and `get_fc1`: from the last feature map to the embedding."""
from __future__ import annotations

from typing import Any, Callable

import mxnet as mx
from mxnet.symbol import Symbol

from symbols.gnap import VARIANTS, batch_norm, gnap_symbol

PRELU_SLOPE = 0.25
ACTIVATIONS = ("prelu", "relu", "sigmoid", "softrelu", "softsign", "tanh")
BLOCK = 16
BN_EPS_MXNET = 1e-3  # MXNet's default, with which the ecosystem's MobileFaceNet was trained, its depthwise head too


def scaled(channels: int, net_multiplier: float) -> int:
    """`channels` times net_multiplier, to the nearest multiple of 16, oneDNN's and tensor cores' block, from 16 on.

    >>> [scaled(64, multiplier) for multiplier in (1, 0.5, 1.25, 0.01)]
    [64, 32, 80, 16]
    """
    return max(BLOCK, BLOCK * round(channels * net_multiplier / BLOCK))


def normalise_input() -> Symbol:
    """The variable `data`, RGB 0 to 255, as (x - 127.5) / 128."""
    data = mx.sym.Variable("data")
    return (data - 127.5) * 0.0078125


def activation(data: Symbol, act_type: str, name: str) -> Symbol:
    """`prelu` (slope NAME_gamma, (C,), initialised to 0.25) or one of MXNet's Activation types; ValueError for
    others."""
    if act_type not in ACTIVATIONS:
        raise ValueError(f"version_act {act_type} is not one of {', '.join(ACTIVATIONS)}")
    if act_type == "prelu":
        return mx.sym.LeakyReLU(data, act_type="prelu", slope=PRELU_SLOPE, name=name)
    return mx.sym.Activation(data, act_type=act_type, name=name)


def get_fc1(last_conv: Symbol, num_classes: int, fc_type: str, input_channel: int = 512, bn_mom: float = 0.9,
            **options: Any) -> Symbol:
    """The embedding `fc1` (N, num_classes) of a feature map (N, input_channel, H, W).

    fc_type: E, FC, GDC, GAP or GNAP, which the paper compares. options: the variants of GNAP, see
    `symbols.gnap.gnap_symbol`. BatchNorm's eps is 2e-5 (1e-3 in GDC's depthwise layer, which is MobileFaceNet's own),
    and the last one has a fixed gamma. ValueError for another fc_type or an option that it does not take.
    """
    if fc_type not in HEADS:
        raise ValueError(f"fc_type {fc_type} is not one of {', '.join(HEADS)}")
    taken = {name for variant in VARIANTS.values() for name in variant} if fc_type == "GNAP" else set()
    if options.keys() - taken:
        raise ValueError(f"fc_type {fc_type} takes no option {', '.join(sorted(options.keys() - taken))}")
    return HEADS[fc_type](last_conv, num_classes, input_channel, bn_mom, **options)


def _dense(data: Symbol, num_hidden: int) -> Symbol:
    # Flatten: a FullyConnected on a 4-D map fails in inference (oneDNN) and in ONNX.
    return mx.sym.FullyConnected(mx.sym.Flatten(data), num_hidden=num_hidden, name="pre_fc1")


def _last_norm(data: Symbol, bn_mom: float) -> Symbol:
    return batch_norm(data, "fc1", bn_mom, fix_gamma=True)


def _dropout_head(body: Symbol, emb_size: int, channels: int, bn_mom: float, dropout: float = 0.4) -> Symbol:
    body = batch_norm(body, "bn1", bn_mom)
    if dropout:
        body = mx.sym.Dropout(body, p=dropout)
    return _last_norm(_dense(body, emb_size), bn_mom)


def _fc_head(body: Symbol, emb_size: int, channels: int, bn_mom: float) -> Symbol:
    return _dropout_head(body, emb_size, channels, bn_mom, dropout=0.0)


def _gdc_head(body: Symbol, emb_size: int, channels: int, bn_mom: float) -> Symbol:
    body = mx.sym.Convolution(body, num_filter=channels, num_group=channels, kernel=(7, 7), no_bias=True,
                              name="conv_6dw7_7_conv2d")
    body = batch_norm(body, "conv_6dw7_7_batchnorm", bn_mom, eps=BN_EPS_MXNET)
    return _last_norm(_dense(body, emb_size), bn_mom)


def _gap_head(body: Symbol, emb_size: int, channels: int, bn_mom: float) -> Symbol:
    body = batch_norm(body, "bn1", bn_mom)
    body = mx.sym.Flatten(mx.sym.Pooling(body, global_pool=True, kernel=(1, 1), pool_type="avg"))
    if emb_size != channels:
        body = _dense(body, emb_size)
    return _last_norm(body, bn_mom)


def _gnap_head(body: Symbol, emb_size: int, channels: int, bn_mom: float, **options: Any) -> Symbol:
    if emb_size > channels:
        body = mx.sym.Convolution(body, num_filter=emb_size, kernel=(1, 1), no_bias=True, name="convx")
        body = batch_norm(body, "convx_bn", bn_mom)
        body = activation(body, "relu", "convx_relu")
        channels = emb_size
    body = gnap_symbol(body, channels, bn_mom, **options)
    if emb_size < channels:
        body = batch_norm(body, "bn6w", bn_mom, fix_gamma=not options.get("learned_gamma", False))
        body = _dense(body, emb_size)
    return _last_norm(body, bn_mom)


HEADS: dict[str, Callable[..., Symbol]] = {
    "E": _dropout_head, "FC": _fc_head, "GDC": _gdc_head, "GAP": _gap_head, "GNAP": _gnap_head}

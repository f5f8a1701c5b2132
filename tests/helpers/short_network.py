"""MobileFaceNet with few layers, for runs whose network does not matter: most of a short run's time goes with the
number of its arrays."""
from __future__ import annotations

import mxnet as mx

from symbols import fmobilefacenet
from symbols.symbol_utils import get_fc1, normalise_input

WHOLE = fmobilefacenet.get_symbol


def first_and_last_layers(emb_size, version_output="GDC", version_act="prelu", bn_mom=0.9, blocks=(1, 4, 6, 2),
                          net_multiplier=1.0, **head_options):
    """Its first two layers and its last, by their names, maps of the sizes that it makes, and its head."""
    make = fmobilefacenet._Maker(version_act, bn_mom, net_multiplier)
    body = make.conv(normalise_input(), "conv_1", 64, 3, stride=2)
    body = (make.conv(body, "conv_2_dw", 64, 3, groups=64) if blocks[0] == 1 else
            make.residual(body, "res_2", 1, 64, 64))
    body = mx.sym.Pooling(body, kernel=(8, 8), stride=(8, 8), pool_type="avg", pooling_convention="full", name="pool")
    body = make.conv(body, "conv_6sep", fmobilefacenet.LAST, 1)
    return get_fc1(body, emb_size, version_output, make.scaled(fmobilefacenet.LAST), bn_mom, **head_options)


def shorten():
    """In this process, from now on."""
    fmobilefacenet.get_symbol = first_and_last_layers

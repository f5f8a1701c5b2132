"""Symbol-API builders of the face networks, their heads, and the graph rewrites that speed them up.

`build` finds a builder by the ecosystem's short name: r18, r34, r50, r100 ... (LResNet), y1, y2 (MobileFaceNet).
"""
from __future__ import annotations

import difflib
from typing import Any

import mxnet as mx

from symbols import fmobilefacenet, fresnet

MOBILEFACENETS = {"y1": (1, 4, 6, 2), "y2": (2, 8, 16, 4)}


def build(network: str, emb_size: int = 512, version_output: str = "E", version_input: int = 1, version_unit: int = 3,
          version_se: int = 0, version_act: str = "prelu", bn_mom: float = 0.9, net_multiplier: float = 1.0,
          **head_options: Any) -> mx.sym.Symbol:
    """The embedding symbol of `network`; ValueError, with the closest name, for an unknown network.

    version_input, version_unit and version_se are ignored for MobileFaceNet, which has none of them.
    """
    if network in MOBILEFACENETS:
        return fmobilefacenet.get_symbol(emb_size, version_output, version_act, bn_mom, MOBILEFACENETS[network],
                                         net_multiplier, **head_options)
    if network[:1] == "r" and network[1:].isascii() and network[1:].isdigit() and int(network[1:]) in fresnet.UNITS:
        return fresnet.get_symbol(emb_size, int(network[1:]), version_output, version_input, version_unit, version_se,
                                  version_act, bn_mom, net_multiplier, **head_options)
    names = [*(f"r{depth}" for depth in fresnet.UNITS), *MOBILEFACENETS]
    near = difflib.get_close_matches(network, names, n=1, cutoff=0.0)
    raise ValueError(f"there is no network {network}; did you mean {near[0]}? Known are {', '.join(names)}")

"""A network of `symbols` as a Gluon block."""
from __future__ import annotations

import mxnet as mx
from mxnet import gluon

from symbols.graph import fixed_gammas, prelu_slopes
from symbols.symbol_utils import PRELU_SLOPE


def embedding_block(symbol: mx.sym.Symbol) -> gluon.SymbolBlock:
    """The block of an embedding symbol, `data` (N, 3, H, W) to (N, emb_size), not initialised yet.

    Its parameters have the symbol's names, without a prefix. Gammas that BatchNorm counts as 1 are 1 and stay so: no
    optimizer touches them. Slopes of PReLU begin at 0.25, other gammas at 1, whatever initializer is given.
    """
    block = gluon.SymbolBlock(symbol, mx.sym.Variable("data"))
    parameters = {parameter.name: parameter for parameter in block.collect_params().values()}
    for name, parameter in parameters.items():
        if name.endswith("_gamma"):
            parameter.init = mx.init.One()
    for name in prelu_slopes(symbol):
        parameters[name].init = mx.init.Constant(PRELU_SLOPE)
    for name in fixed_gammas(symbol):
        parameters[name].grad_req = "null"
    return block

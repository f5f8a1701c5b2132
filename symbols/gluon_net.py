"""A network of `symbols` as a Gluon block."""
from __future__ import annotations

import mxnet as mx
from mxnet import gluon

from symbols.graph import fixed_gammas, prelu_slopes
from symbols.symbol_utils import PRELU_SLOPE

BEGIN = {"_gamma": mx.init.One(), "_beta": mx.init.Zero(), "_bias": mx.init.Zero(), "_moving_mean": mx.init.Zero(),
         "_moving_var": mx.init.One()}


def embedding_block(symbol: mx.sym.Symbol) -> gluon.SymbolBlock:
    """The block of an embedding symbol, `data` (N, 3, H, W) to (N, emb_size), not initialised yet.

    Its parameters have the symbol's names, without a prefix. Gammas of BatchNorms with fix_gamma are 1 and stay so: no
    optimizer updates them. Only weights use the given initializer: slopes of PReLU start at 0.25, other gammas and
    variances at 1, everything else at 0, unless the symbol's variable has its own initializer.
    """
    block = gluon.SymbolBlock(symbol, mx.sym.Variable("data", dtype="float32"))
    parameters = {parameter.name: parameter for parameter in block.collect_params().values()}
    for name, parameter in parameters.items():
        # Gluon gives a parameter without an initializer of its own the network's, whatever its name says.
        for ending, initializer in BEGIN.items():
            if name.endswith(ending):
                parameter.init = initializer
    for name in prelu_slopes(symbol):
        parameters[name].init = mx.init.Constant(PRELU_SLOPE)
    for name, attributes in symbol.attr_dict().items():  # in a rewritten graph the slopes' variables carry it
        if name in parameters and "__init__" in attributes:
            parameters[name].init = attributes["__init__"]
    for name in fixed_gammas(symbol):
        parameters[name].grad_req = "null"
    return block

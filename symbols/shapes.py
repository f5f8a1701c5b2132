"""The shapes in a graph, for images of a given size."""
from __future__ import annotations

import contextlib
import io
import re

import mxnet as mx


def infer_shapes(symbol: mx.sym.Symbol, data_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes in `symbol` by name: parameters, auxiliary states, and outputs as `NAME_output`.

    ValueError naming the layer where the network does not take `data` of data_shape, (N, 3, H, W).
    """
    internals = symbol.get_internals()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # MXNet prints its arguments before it raises
            arguments, outputs, auxiliary = internals.infer_shape(data=data_shape)
    except mx.MXNetError as error:
        layer = re.search(r"Error in operator (.*?): \[", str(error), re.DOTALL)
        at = f" (at layer {layer[1][:150]})" if layer else ""
        raise ValueError(f"the network does not take images of {data_shape[2]}x{data_shape[3]}{at}") from None
    if outputs is None:
        raise ValueError("the network's shapes do not follow from its input's")
    shapes = dict(zip(internals.list_outputs(), outputs))
    shapes.update(zip(symbol.list_auxiliary_states(), auxiliary))
    return shapes


def shapes_of_any_size(symbol: mx.sym.Symbol) -> dict[str, tuple[int, ...]]:
    """The shapes of arguments and auxiliary states that follow from images of 3 channels, whatever their size, by name;
    those alone that follow wholly."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # as above
            arguments, _, auxiliary = symbol.infer_shape_partial(data=(0, 3, 0, 0))
    except mx.MXNetError:  # of a fully connected layer, which needs the size
        return {}
    names = symbol.list_arguments() + symbol.list_auxiliary_states()
    return {name: shape for name, shape in zip(names, arguments + auxiliary) if shape and all(shape)}


def parameter_names(symbol: mx.sym.Symbol) -> list[str]:
    """Arguments without `data`, then auxiliary states, in the symbol's order."""
    return [name for name in symbol.list_arguments() if name != "data"] + symbol.list_auxiliary_states()

"""A network as ONNX by MXNet's own exporter, `mx.onnx`, with what that gets wrong put right: what others use."""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Mapping

import mxnet as mx
import numpy as np
import onnx

from symbols.graph import fixed_gammas, prelu_slopes


def traced_onnx(symbol: mx.sym.Symbol, parameters: Mapping[str, mx.nd.NDArray], data_shape: tuple[int, ...]
            ) -> onnx.ModelProto:
    """The embedding network for any number of images of data_shape, (N, 3, H, W), float32 from 0 to 255.

    parameters: arguments and auxiliary states by name. MXNet's exporter writes slopes of PReLU as (C,), which must be
    (C, 1, 1), lists parameters as inputs too, and passes over fix_gamma; all three are mended.
    """
    given = dict(parameters)
    for name in fixed_gammas(symbol):
        given[name] = mx.nd.ones_like(given[name])
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "net.onnx")
        mx.onnx.export_model(symbol, given, [data_shape], [np.float32], path)
        model = onnx.load(path)
    stored = {value.name: value for value in model.graph.initializer}
    for name in set(prelu_slopes(symbol)):
        array = onnx.numpy_helper.to_array(stored[name]).reshape(-1, 1, 1)
        stored[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
    for listed in [value for value in model.graph.input if value.name in stored]:
        model.graph.input.remove(listed)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    return model

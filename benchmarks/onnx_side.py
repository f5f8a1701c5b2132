"""A network in onnxruntime, for comparison; needs requirements-extra.txt."""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Callable, Mapping

import mxnet as mx
import numpy as np

from common.environment import threads
from symbols.graph import fixed_gammas, prelu_slopes

MISSING = "onnxruntime is not installed: pip install --no-deps -r requirements-extra.txt"


def onnx_forward(symbol: mx.sym.Symbol, parameters: Mapping[str, mx.nd.NDArray],
                 shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """A function from float32 images, (any N, *shape[1:]), to their embeddings, on the cores that OMP_NUM_THREADS says.

    parameters: arguments and auxiliary states by name. MXNet's exporter writes slopes as (C,), which must be (C, 1, 1),
    lists them as inputs too, and passes over fix_gamma; all three are mended. ImportError where there is no
    onnxruntime.
    """
    import onnx
    import onnxruntime
    given = dict(parameters)
    for name in fixed_gammas(symbol):
        given[name] = mx.nd.ones_like(given[name])
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "net.onnx")
        mx.onnx.export_model(symbol, given, [shape], [np.float32], path)
        model = onnx.load(path)
    slopes = set(prelu_slopes(symbol))
    stored = {value.name: value for value in model.graph.initializer}
    for name in slopes:
        array = onnx.numpy_helper.to_array(stored[name]).reshape(-1, 1, 1)
        stored[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
    for listed in [value for value in model.graph.input if value.name in stored]:
        model.graph.input.remove(listed)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()  # the cores that MXNet has
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"data": images})[0]


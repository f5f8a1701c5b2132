"""A network in onnxruntime, for comparison."""
from __future__ import annotations

from typing import Callable, Mapping

import mxnet as mx
import numpy as np

from common.environment import threads

MISSING = "onnxruntime is not installed: make venv installs it"


def onnx_forward(symbol: mx.sym.Symbol, parameters: Mapping[str, mx.nd.NDArray],
                 shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """A function from float32 images, (any N, *shape[1:]), to their embeddings, with OMP_NUM_THREADS threads.

    parameters: arguments and auxiliary states by name. ImportError where there is no onnxruntime.
    """
    import onnxruntime

    from symbols.onnx_export import to_onnx
    model = to_onnx(symbol, parameters, shape)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()  # as many threads as MXNet
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"data": images})[0]


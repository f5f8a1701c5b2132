"""ONNX files of networks so small that numpy computes them too, written with onnx's own helper."""
from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small_onnx(path=None, names=("Sub_1", "Mul_1"), batch="N", size=(12, 10), dimension=5, seed=0, outputs=1):
    """A network that subtracts, scales, averages each channel's halves and multiplies by a matrix; its matrix too."""
    random = np.random.RandomState(seed)
    weight = random.normal(0, 1, (3 * size[0] * size[1], dimension)).astype(np.float32)
    stored = [numpy_helper.from_array(np.float32(1.5), "mean"), numpy_helper.from_array(np.float32(0.01), "scale"),
              numpy_helper.from_array(weight, "weight")]
    nodes = [helper.make_node("Sub", ["data", "mean"], ["a"], names[0]),
             helper.make_node("Mul", ["a", "scale"], ["b"], names[1]),
             helper.make_node("Flatten", ["b"], ["c"], "flat"),
             helper.make_node("MatMul", ["c", "weight"], ["fc1"], "product")]
    values = [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [batch, dimension])]
    if outputs == 2:
        values.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [batch, len(weight)]))
    graph = helper.make_graph(nodes, "small", [helper.make_tensor_value_info(
        "data", TensorProto.FLOAT, [batch, 3, *size])], values, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    onnx.checker.check_model(model)
    if path is not None:
        path.write_bytes(model.SerializeToString())
    return model, weight


def by_numpy(weight, images, mean=0.0, scale=1.0):
    """What `small_onnx` gives for (n, H, W, 3) images that are fed as (x - mean) * scale."""
    data = (images.transpose(0, 3, 1, 2).astype(np.float64) - mean) * scale
    return ((data - 1.5) * 0.01).reshape(len(images), -1) @ weight.astype(np.float64)

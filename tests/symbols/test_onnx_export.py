"""The ONNX graph that is written: plain, readable by OpenCV too, and each operator what MXNet computes."""
from __future__ import annotations

import cv2
import mxnet as mx
import numpy as np
import onnx
import onnxruntime
import pytest
from small_nets import draw_trained

import symbols
from inference.graph_file import checked_graph
from symbols import fresnet
from symbols.gnap import norm_aware_pooling
from symbols.onnx_export import to_onnx

SHAPE = (1, 3, 112, 112)
# What onnx2ncnn writes of what these networks need, read from its source: a Gemm with transB alone is an InnerProduct.
NCNN = {"Sub", "Mul", "Add", "Div", "Max", "Sqrt", "Conv", "PRelu", "BatchNormalization", "Gemm", "GlobalAveragePool",
        "Clip", "Flatten", "Relu"}


def by_mxnet(symbol, values, images):
    states = symbol.list_auxiliary_states()
    bound = symbol.bind(mx.cpu(), {"data": mx.nd.array(images),
                                   **{name: value for name, value in values.items() if name not in states}},
                        aux_states={name: values[name] for name in states}, grad_req="null")
    return bound.forward(is_train=False)[0].asnumpy()


def by_onnxruntime(model, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"data": images})[0]


def images(count, shape=SHAPE, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count, *shape[1:])).astype(np.float32)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """LResNet with few channels."""
    monkeypatch.setattr(fresnet, "STEM", 8)
    monkeypatch.setattr(fresnet, "FILTERS", (8, 16, 16, 32))


@pytest.mark.parametrize("network, head, emb_size", [("y1", "GDC", 16), ("y1", "GNAP", 16), ("y1", "GNAP", 512),
                                                     ("r18", "E", 16), ("r18", "GAP", 32), ("r18", "GNAP", 40)])
def test_the_graph_is_plain_and_opencv_reads_it(network, head, emb_size):
    symbol = symbols.build(network, emb_size, head)
    values = draw_trained(symbol, SHAPE)
    model = to_onnx(symbol, values, SHAPE)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 11)]
    graph = model.graph
    assert [value.name for value in graph.input] == ["data"] and [value.name for value in graph.output] == ["fc1"]
    shapes = [[axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
              for value in (graph.input[0], graph.output[0])]
    assert shapes == [["N", 3, 112, 112], ["N", emb_size]]
    assert graph.node[0].name.startswith("Sub") and graph.node[1].name.startswith("Mul")
    assert not {"Dropout", "Identity", "Constant", "Cast", "Reshape"} & {node.op_type for node in graph.node}
    assert {node.op_type for node in graph.node} <= NCNN
    assert all([(attribute.name, attribute.i) for attribute in node.attribute] == [("transB", 1)]
               for node in graph.node if node.op_type == "Gemm")
    taken = [name for node in graph.node for name in node.input]
    assert all(tensor.name in taken for tensor in graph.initializer)
    # No BatchNorm is left behind a convolution or a product.
    makers = {node.output[0]: node.op_type for node in graph.node}
    assert not any(makers.get(node.input[0]) in ("Conv", "Gemm") for node in graph.node
                   if node.op_type == "BatchNormalization")
    given = images(3)
    expected = by_mxnet(symbol, values, given)
    for found in (by_onnxruntime(model, given), by_opencv(model, given)):
        assert np.linalg.norm(found - expected) < 2e-5 * np.linalg.norm(expected)


def by_opencv(model, given):
    network = cv2.dnn.readNetFromONNX(model.SerializeToString())
    network.setInput(given)
    return network.forward()


@pytest.mark.parametrize("mean_over", ["image", "batch"])
def test_features_of_no_norm_have_no_weight(mean_over):
    maps = np.random.RandomState(0).normal(0, 1, (3, 6, 4, 4)).astype(np.float32)
    maps[1, :, 2], maps[2], maps[0, :, 0, 0] = 0, 0, 1e-8 * maps[0, :, 0, 0]
    symbol = norm_aware_pooling(mx.sym, mx.sym.Variable("data"), 6, mean_over=mean_over)
    found = by_onnxruntime(to_onnx(symbol, {}, maps.shape), maps)
    norms = np.sqrt((maps.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    mean = norms.mean(axis=(1, 2, 3) if mean_over == "image" else None, keepdims=True)
    weights = np.where(norms > 1e-6 * mean, mean / np.maximum(norms, 1e-30), 0)
    np.testing.assert_allclose(found, (maps * weights).mean(axis=(2, 3)), rtol=1e-5, atol=1e-6)


def _variants():
    """Graphs of operators that people use, by name: each a function from `data`, (N, 4, 6, 6), to a symbol."""
    s = mx.sym
    yield "scalars", lambda x: (((2 - x) / 3 + 1) * 0.5 - 0.1) ** 2 + 1 / (x * x + 1)
    yield "maxima", lambda x: s.maximum(x, 0.3) + s.minimum(x, -0.2) + s.maximum(x, x * 2) + s.broadcast_minimum(x, -x)
    yield "comparisons", lambda x: ((x > 0.1) + (x >= 0.2) * 2 + (x < -0.1) * 4 + (x <= 0) * 8 + (x == 0) * 16
                                    + (x != 0) * 32 + s.broadcast_greater(x, x * 2) * 64)
    yield "functions", lambda x: (s.sqrt(s.abs(x) + 1) + s.rsqrt(x * x + 1) + s.exp(x) + s.log(s.square(x) + 1)
                                  + s.sigmoid(x) + s.tanh(x) + s.relu(x) + s.negative(x) + s.cos(x) + s.sin(x)
                                  + s.sign(x) + s.softsign(x))
    yield "activations", lambda x: s.add_n(*(s.Activation(x, act_type=kind) for kind in (
        "relu", "sigmoid", "tanh", "softrelu", "softsign")))
    yield "leaky", lambda x: s.add_n(*(s.LeakyReLU(x, act_type=kind) for kind in ("leaky", "elu", "selu")))
    yield "prelu behind a product", lambda x: s.LeakyReLU(
        s.FullyConnected(x, num_hidden=5, name="dense"), act_type="prelu", name="relu")
    yield "pooling", lambda x: s.concat(*(s.Flatten(s.Pooling(x, **options)) for options in (
        dict(kernel=(3, 3), stride=(2, 2), pool_type="max"), dict(kernel=(2, 2), stride=(2, 2), pool_type="avg"),
        dict(kernel=(3, 3), stride=(1, 1), pad=(1, 1), pool_type="avg"),
        dict(kernel=(3, 3), stride=(1, 1), pad=(1, 1), pool_type="avg", count_include_pad=False),
        dict(kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full"),
        dict(kernel=(3, 3), stride=(2, 2), pool_type="avg", pooling_convention="full"),
        dict(kernel=(2, 2), stride=(2, 2), pad=(1, 1), pool_type="avg", pooling_convention="full"),
        dict(kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="avg", pooling_convention="full",
             count_include_pad=False),
        dict(global_pool=True, kernel=(1, 1), pool_type="max"))), dim=1)
    yield "reductions", lambda x: s.concat(
        s.sum(x, axis=(2, 3)), s.mean(x, axis=(0, 1), exclude=True), s.max(x, axis=(-2, -1)), s.min(x, axis=(2, 3)),
        s.Flatten(s.norm(x, axis=(2, 3), ord=2)), s.Flatten(s.norm(x, axis=(2, 3), ord=1)), dim=1)
    yield "shapes", lambda x: s.Flatten(s.transpose(s.reshape(s.expand_dims(x, axis=1), (0, -1, 9)), (0, 2, 1)))
    yield "special shapes", lambda x: s.Flatten(s.reshape(x, (-2,)) + s.reshape(
        s.reshape(x, (0, 0, -3)), (0, 0, -4, 6, 6)))
    yield "slices", lambda x: s.Flatten(s.slice(x, begin=(None, 1, 0, 2), end=(None, 3, 6, None))
                                        * s.slice_axis(x, axis=1, begin=2, end=4).slice_axis(axis=3, begin=0, end=-2))
    yield "parts", lambda x: s.Flatten(s.SliceChannel(x, num_outputs=2, axis=1)[1]
                                       * s.split(x, num_outputs=2, axis=1)[0])
    yield "parts without their axis", lambda x: s.Flatten(s.split(x, num_outputs=4, axis=1, squeeze_axis=True)[2])
    yield "products", lambda x: s.Flatten(s.batch_dot(s.reshape(x, (0, 0, -1)), s.reshape(x, (0, 0, -1)),
                                                      transpose_b=True))
    yield "constants", lambda x: s.broadcast_add(
        s.Flatten(s.broadcast_add(x * s.ones_like(x) + s.zeros_like(x), s.ones(shape=(1, 4, 1, 1)))),
        s.sum(s.ones_like(s.Flatten(x)), axis=1, keepdims=True))
    yield "clips and casts", lambda x: s.cast(s.clip(s.cast(x, "float64"), -0.5, 0.4), "float32") * 2
    yield "lengths", lambda x: s.add_n(*(s.L2Normalization(x, mode=mode)
                                             for mode in ("instance", "channel", "spatial")))
    yield "nothing", lambda x: s.Dropout(s.BlockGrad(x) * 1.5 + s.identity(x), p=0.4) * 2
    yield "groups", lambda x: s.Convolution(x, num_filter=8, num_group=4, kernel=(3, 3), pad=(2, 1), dilate=(2, 1),
                                            stride=(1, 2), name="conv")
    yield "a product of rows", lambda x: s.Flatten(s.FullyConnected(
        s.reshape(x, (0, 0, -1)), num_hidden=3, flatten=False, name="dense"))
    yield "a product without bias", lambda x: s.FullyConnected(s.reshape(x, (0, -1)), num_hidden=3, no_bias=True,
                                                               name="dense")


    def insightface(x):
        """GNAP as its script writes it, the mean over the image."""
        norms = s.sqrt(s.sum(x * x, axis=1, keepdims=True))
        weights = s.broadcast_div(s.mean(norms, axis=(1, 2, 3), keepdims=True), norms)
        return s.Flatten(s.Pooling(x * s.tile(weights, reps=(1, 4, 1, 1)), kernel=(7, 7), global_pool=True,
                                   pool_type="avg"))
    yield "InsightFace's GNAP", insightface


VARIANTS = dict(_variants())


@pytest.mark.parametrize("name", list(VARIANTS))
def test_an_operator_gives_what_mxnet_gives(name):
    shape = (1, 4, 6, 6)
    symbol = VARIANTS[name](mx.sym.Variable("data"))
    symbol = mx.sym.load_json(checked_graph(symbol.tojson()))  # as it comes out of a checkpoint
    symbol = mx.sym.Flatten(symbol) if len(symbol.infer_shape(data=shape)[1][0]) > 2 else symbol
    values = draw_trained(symbol, shape)
    model = to_onnx(symbol, values, shape)
    onnx.checker.check_model(model)
    given = np.random.RandomState(3).normal(0, 1, (3, *shape[1:])).astype(np.float32)
    given[1, 0, 0, :3] = 0
    expected = by_mxnet(symbol, values, given)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(by_onnxruntime(model, given), expected, rtol=2e-5, atol=2e-5)


def test_what_has_no_form_in_onnx_is_named():
    data = mx.sym.Variable("data")
    for symbol, text in ((mx.sym.softmax(mx.sym.Flatten(data), name="odd"), "odd is of the operator softmax"),
                         (mx.sym.sum(mx.sym.ones_like(data), axis=(0, 1, 2, 3), name="all"), "batch size"),
                         (mx.sym.Pooling(data, kernel=(2, 2), pool_type="sum", name="pool"), "pool .*pool_type sum"),
                         (mx.sym.Pooling(data, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="avg", name="pool",
                                         pooling_convention="full"), "pool .*averages over padding"),
                         (mx.sym.Pooling(data, kernel=(1, 1), stride=(4, 4), pool_type="avg", name="pool",
                                         pooling_convention="full"), "pool .*averages over windows beyond the image"),
                         (mx.sym.slice(data, begin=(None, None), end=(None, None), step=(None, 2), name="part"),
                          "part .*slices with steps"),
                         (mx.sym.broadcast_mul(data, mx.sym.norm(mx.sym.ones((1, 4, 6, 6)), axis=1, keepdims=True)),
                          "is the norm of a constant"),
                         (mx.sym.ones_like(mx.sym.Flatten(data)), "does not depend on the image")):
        with pytest.raises(ValueError, match=text):
            to_onnx(symbol, {}, (1, 4, 6, 6))


def test_a_network_that_does_not_normalise_is_not_normalised_by_insightface_either():
    symbol = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.Variable("data")), num_hidden=4, name="fc1")
    values = draw_trained(symbol, (1, 3, 8, 8))
    model = to_onnx(symbol, values, (1, 3, 8, 8))
    assert [node.name[:3] for node in model.graph.node[:2]] == ["Sub", "Mul"]
    given = images(2, (1, 3, 8, 8))
    np.testing.assert_allclose(by_onnxruntime(model, given), by_mxnet(symbol, values, given), rtol=1e-5, atol=1e-4)

"""float16 graphs: what computes in which type, and numbers against the float32 graph, with the products emulated."""
import json

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

import symbols
from common.errors import RunError, UserError
from symbols.float16_graph import to_float16
from symbols.gluon_net import embedding_block
from symbols.gnap import gnap_symbol
from symbols.prelu_rewrite import accelerate
from symbols.shapes import infer_shapes, parameter_names
from training.precision import FIRST, GOOD_STEPS, LEAST, MOST, LossScale, check_precision

NETWORKS = [("y1", "GNAP", 0), ("y1", "GDC", 0), ("r18", "E", 0), ("r18", "GNAP", 1), ("r18", "GAP", 0)]


def types_of(symbol):
    """The numpy type of every node's output that MXNet infers, by name, and the nodes."""
    internals = symbol.get_internals()
    _, outputs, _ = internals.infer_type(data="float32")
    return dict(zip(internals.list_outputs(), outputs)), json.loads(symbol.tojson())["nodes"]


@pytest.mark.parametrize("network, head, squeeze", NETWORKS)
def test_products_are_float16_and_everything_that_is_kept_is_float32(network, head, squeeze):
    plain = symbols.build(network, 128, head, **({"version_se": 1} if squeeze else {}))
    half = to_float16(plain)
    types, nodes = types_of(half)
    arguments, outputs, auxiliary = half.infer_type(data="float32")
    assert {*arguments, *outputs, *auxiliary} == {np.float32}
    for node in nodes:
        if node["op"] in ("Convolution", "FullyConnected"):
            of_parameter = nodes[nodes[node["inputs"][1][0]]["inputs"][0][0]]["op"] == "null" if nodes[
                node["inputs"][1][0]]["inputs"] else False
            assert types[f"{node['name']}_output"] == (np.float16 if of_parameter else np.float32), node["name"]
        if node["op"] in ("square", "sqrt", "mean", "sum", "batch_dot", "broadcast_div"):
            assert types[f"{node['name']}_output"] == np.float32
        if node["op"] in ("LeakyReLU", "elemwise_add"):
            assert types[f"{node['name']}_output"] == np.float16
    assert types["fc1_output"] == np.float32
    assert parameter_names(half) == parameter_names(plain)
    data = (2, 3, 112, 112)
    there, here = infer_shapes(plain, data), infer_shapes(half, data)
    assert all(here[name] == there[name] for name in parameter_names(plain)) and here["fc1_output"] == (2, 128)


def run(symbol, images, weighting, seed=0):
    """The output, and the gradients of its weighted sum to all parameters."""
    block = embedding_block(symbol)
    shapes = infer_shapes(symbol, images.shape)
    parameters = {parameter.name: parameter for parameter in block.collect_params().values()}
    for name, parameter in parameters.items():
        parameter.shape = shapes[name]
    mx.random.seed(seed)
    block.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2))
    block.hybridize(static_alloc=True)
    with autograd.record():
        output = block(mx.nd.array(images))
        total = (output * mx.nd.array(weighting)).sum()
    total.backward()
    return output.asnumpy(), {name: parameter.grad().asnumpy() for name, parameter in parameters.items()
                              if parameter.grad_req != "null"}


def alike(one, other):
    return float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-30))


@pytest.mark.parametrize("head", ["GNAP", "FC"])
def test_an_emulated_float16_network_is_close_to_the_float32_one_and_rounds(head):
    plain = symbols.fmobilefacenet.get_symbol(16, head, blocks=(1, 1, 1, 1))
    images = np.random.RandomState(0).randint(0, 256, (4, 3, 48, 48)).astype(np.float32)
    weighting = np.random.RandomState(1).randn(4, 16)
    expected, _ = run(plain, images, weighting)
    got, gradients = run(to_float16(plain, products="float32"), images, weighting)
    assert 0 < np.abs(got - expected).max() < 0.1 and alike(got, expected) > 0.999
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in gradients.values())


def test_gradients_come_back_in_float32_close_to_those_of_the_float32_graph():
    data = mx.sym.Variable("data") * 0.0078125
    body = mx.sym.Activation(mx.sym.Convolution(data, name="conv", num_filter=4, kernel=(3, 3)), act_type="relu")
    plain = mx.sym.BatchNorm(mx.sym.FullyConnected(mx.sym.Flatten(body), name="pre_fc1", num_hidden=5), name="fc1",
                             fix_gamma=False)
    images = np.random.RandomState(0).randint(0, 256, (6, 3, 8, 8)).astype(np.float32)
    weighting = np.random.RandomState(1).randn(6, 5)
    _, expected = run(plain, images, weighting)
    _, got = run(to_float16(plain, products="float32"), images, weighting)
    for name, value in expected.items():
        if np.abs(value).max() > 1e-4:  # a bias before a BatchNorm has no gradient but rounding
            assert alike(got[name], value) > 0.999, name
    assert (got["conv_weight"] != expected["conv_weight"]).any()


@pytest.mark.parametrize("size", [1e-4, 1.0, 300.0])
def test_gnaps_norms_neither_overflow_nor_vanish(size):
    """512 features of 300 have squares that add up to 4.6e7; those of 1e-4 have squares of 0, in float16."""
    random = np.random.RandomState(0)
    features = (random.uniform(0.5, 1, (2, 512, 3, 3)) * size).astype(np.float16).astype(np.float32)
    data = mx.sym.Variable("data")
    kernel = mx.sym.Variable("one_weight", shape=(512, 1, 1, 1))
    body = mx.sym.Convolution(data, kernel, name="one", num_filter=512, num_group=512, kernel=(1, 1), no_bias=True)
    symbol = gnap_symbol(body, 512, first_bn=False) * 1
    half = to_float16(symbol, products="float32")
    bound = half.bind(mx.cpu(), {"data": mx.nd.array(features), "one_weight": mx.nd.ones((512, 1, 1, 1))})
    norms = np.sqrt((features.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    expected = (features * (norms.mean(axis=(2, 3), keepdims=True) / norms)).mean(axis=(2, 3))
    np.testing.assert_allclose(bound.forward()[0].asnumpy(), expected, rtol=1e-3)


def test_a_cpu_that_cannot_is_reported_in_one_line():
    with pytest.raises(UserError, match="`dtype` float16: cpu:0 has no float16 convolutions") as caught:
        check_precision("float16", [mx.cpu(0), mx.cpu(1)])
    assert "\n" not in str(caught.value)
    check_precision("float32", [mx.cpu(0)])
    mx.nd.waitall()


def test_the_scale_halves_on_overflow_and_doubles_after_many_good_steps():
    scale = LossScale()
    scale.after(False)
    assert (scale.value, scale.skipped) == (FIRST / 2, 1)
    for _ in range(GOOD_STEPS - 1):
        scale.after(True)
    scale = LossScale(*scale.state())
    assert scale.value == FIRST / 2
    scale.after(True)
    assert (scale.value, scale.good, scale.skipped) == (FIRST, 0, 1)
    scale = LossScale(MOST / 2, GOOD_STEPS - 1)
    for _ in range(GOOD_STEPS + 1):
        scale.after(True)
    assert scale.value == MOST  # and no more
    while scale.value > LEAST:
        scale.after(False)
    with pytest.raises(RunError, match="overflow at a loss scale of 1"):
        scale.after(False)


@pytest.mark.parametrize("network, head", [("y1", "GNAP"), ("r18", "GNAP"), ("r18", "E")])
def test_the_form_that_steps_around_prelu_is_in_float16_as_the_plain_one_is(network, head):
    def in_float32(symbol):
        types, nodes = types_of(to_float16(symbol))
        return [node["name"] for node in nodes if node["op"] in ("Convolution", "FullyConnected", "BatchNorm", "add_n",
                                                                 "elemwise_add")
                and types[f"{node['name']}_output"] == np.float32]
    plain = symbols.build(network, 128, head)
    assert in_float32(accelerate(plain, (1, 3, 112, 112))) == in_float32(plain)

"""The accelerated and the flattened graph against the plain one, and the counts against the papers' layer tables."""
import json
from unittest.mock import Mock

import mxnet as mx
import numpy as np
import pytest
from prelu_rewrite_cases import SHAPE, drawn, infer, turned_symbol  # noqa: F401

import symbols
from symbols import fused_norm
from symbols.graph import fixed_gammas, is_prelu, prelu_slopes, rewrite
from symbols.prelu_rewrite import accelerate, flatten_inputs
from symbols.symbol_utils import get_fc1

SMALL, COLOUR = (6, 5, 8, 8), (6, 3, 8, 8)


def small_symbol(act_type="prelu"):
    """Convolutions, BatchNorms and PReLUs that share a map, on 4-D and 2-D inputs, and a GNAP head."""
    data = mx.sym.Variable("data")
    body = mx.sym.Convolution(data, num_filter=6, kernel=(3, 3), no_bias=True, name="conv")
    body = mx.sym.BatchNorm(body, fix_gamma=False, name="norm")
    body = mx.sym.LeakyReLU(body, act_type=act_type, name="relu")
    body = body - mx.sym.LeakyReLU(-body, act_type=act_type, name="other_relu")
    body = get_fc1(body, 4, "GNAP", input_channel=6)
    return mx.sym.LeakyReLU(body, act_type=act_type, name="flat_relu")


def by_basic_operators(symbol):
    """PReLU as relu(x) - slope * relu(-x). MXNet's own may overwrite its input, and the gradient of the slope is then
    slope times the true one: right values, but no reference for gradients."""
    def replace(graph, node):
        if not is_prelu(node):
            return None
        name, (data, slope) = node["name"], node["inputs"]
        slope = graph.add("Reshape", f"{name}_a", [slope], shape=(1, -1) if name == "flat_relu" else (1, -1, 1, 1))
        negative = graph.add("relu", f"{name}_c", [graph.add("negative", f"{name}_b", [data])])
        line = graph.add("broadcast_mul", f"{name}_d", [negative, slope])
        return graph.add("elemwise_sub", name, [graph.add("relu", f"{name}_e", [data]), line])
    return rewrite(symbol, replace)


def train(symbol, values, outside):
    """Output, gradients of all arguments and new states of one pass in training mode."""
    arrays = {name: mx.nd.array(value) for name, value in values.items()}
    arguments = {name: arrays[name] for name in symbol.list_arguments()}
    gradients = {name: array.zeros_like() for name, array in arguments.items()}
    states = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    bound = symbol.bind(mx.cpu(), arguments, args_grad=gradients, aux_states=states)
    output = bound.forward(is_train=True)[0]
    bound.backward(mx.nd.array(outside))
    found = {"output": output, **{f"gradient of {name}": array for name, array in gradients.items()}, **states}
    return {name: array.asnumpy() for name, array in found.items()}


def assert_close(found, expected, tolerance=1e-4):
    for name, value in expected.items():
        difference = np.abs(found[name] - value).max()
        assert difference <= tolerance * max(np.abs(value).max(), 0.1), f"{name}: {difference}"


def operators(symbol):
    return [node["op"] for node in json.loads(symbol.tojson())["nodes"]]


def test_a_small_graph_trains_as_one_of_basic_operators():
    plain = small_symbol()
    fast = accelerate(plain, SMALL)
    values, outside = drawn(plain, SMALL), np.random.RandomState(1).normal(0, 1, (SMALL[0], 4))
    expected = train(by_basic_operators(plain), values, outside)
    assert np.abs(expected["gradient of relu_gamma"]).min() > 1e-3
    found = train(fast, values, outside)
    del expected["gradient of flat_relu_gamma"]  # MXNet's own operator still, since its input is no map
    assert_close(found, expected)
    assert np.allclose(found["output"], train(plain, values, outside)["output"], rtol=1e-4, atol=1e-5)
    assert np.allclose(infer(fast, values)[0], infer(plain, values)[0], rtol=1e-4, atol=1e-5)


def test_slopes_against_numpy():
    body = mx.sym.LeakyReLU(mx.sym.Variable("data"), act_type="prelu", name="relu")
    data, slopes = np.random.RandomState(2).normal(0, 1, SMALL), np.array([-1, 0, 0.25, 1, 2.5])
    outside = np.random.RandomState(3).normal(0, 1, SMALL)
    found = train(accelerate(body, SMALL), {"data": data, "relu_gamma": slopes}, outside)
    column = slopes.reshape(1, -1, 1, 1)
    negative = np.minimum(data, 0)
    assert np.allclose(found["output"], np.maximum(data, 0) + column * negative, atol=1e-5)
    assert np.allclose(found["gradient of relu_gamma"], (outside * negative).sum((0, 2, 3)), rtol=1e-4, atol=1e-4)
    assert np.allclose(found["gradient of data"], outside * np.where(data > 0, 1, column), atol=1e-5)


@pytest.mark.parametrize("network, head, emb_size, width, data", [
    ("y1", "GDC", 128, 1, (4, 3, 112, 112)), ("y1", "GNAP", 32, 0.25, (6, 3, 64, 64)),
    ("r18", "GNAP", 160, 0.25, (6, 3, 48, 48))])
def test_a_network_trains_as_one_of_basic_operators(network, head, emb_size, width, data):
    plain = symbols.build(network, emb_size, head, net_multiplier=width)
    fast = accelerate(plain, data)
    values = drawn(plain, data, seed=4)
    values["data"] = np.random.RandomState(5).uniform(0, 255, data)
    outside = np.random.RandomState(6).normal(0, 1, (data[0], emb_size))
    found, expected = train(fast, values, outside), train(by_basic_operators(plain), values, outside)
    slopes = [f"gradient of {name}" for name in prelu_slopes(plain)]
    assert len(slopes) > 8 and all(found[name].shape == expected[name].shape for name in slopes)
    # a BatchNorm behind makes some gradients zero, of which float32 computes the rounding
    told = {name: value for name, value in expected.items() if np.abs(value).max() > 1e-2}
    assert set(slopes) <= set(told) and len(told) > 0.7 * len(expected)
    assert_close(found, told, tolerance=1e-2)
    in_training, in_inference = train(plain, values, outside)["output"], infer(plain, values)[0]
    assert_close({"training": found["output"], "inference": infer(fast, values)[0]},
                 {"training": in_training, "inference": in_inference}, tolerance=1e-3)


@pytest.mark.parametrize("version_unit", [1, 2, 3])
def test_every_slope_of_a_network_keeps_its_name_and_shape(version_unit):
    plain = symbols.build("r50", 512, "E", version_unit=version_unit, version_se=1)
    fast = accelerate(plain, SHAPE)
    assert fast.list_arguments() == plain.list_arguments() and fast.list_outputs() == plain.list_outputs()
    assert fast.list_auxiliary_states() == plain.list_auxiliary_states()
    for batch in (1, 7):  # the batch said to accelerate is not fixed in the graph
        assert fast.infer_shape(data=(batch, *SHAPE[1:])) == plain.infer_shape(data=(batch, *SHAPE[1:]))
    shapes = dict(zip(fast.list_arguments(), fast.infer_shape(data=SHAPE)[0]))
    assert prelu_slopes(plain) and all(len(shapes[name]) == 1 for name in prelu_slopes(plain))
    assert fixed_gammas(fast) == fixed_gammas(plain)


def test_no_slow_operator_is_left_over_maps_and_none_is_touched_elsewhere():
    assert "LeakyReLU" not in operators(accelerate(symbols.build("y1", 128, "GDC"), SHAPE))
    small = accelerate(small_symbol(), SMALL)
    assert operators(small).count("LeakyReLU") == 1 and prelu_slopes(small) == ["flat_relu_gamma"]
    leaky = accelerate(small_symbol("leaky"), SMALL)
    assert operators(leaky) == operators(small_symbol("leaky"))


@pytest.mark.parametrize("fused", [None, False], ids=["one operator", "two operators"])
@pytest.mark.parametrize("settings, colours, depthwise, in_blocks", [
    ({}, 3, 0, True), ({"fix_gamma": True}, 3, 2, False), ({"also": "norm"}, 3, 1, True),
    ({"also": "relu"}, 3, 1, True), ({"grouped": True}, 3, 1, False), ({"channels": 6}, 3, 0, False),
    ({}, 5, 0, False)], ids=str)
def test_a_prelu_takes_no_convolution_between_a_free_norm_and_convolutions(settings, colours, depthwise, in_blocks,
                                                                           fused):
    plain, shape = turned_symbol(**{"channels": 16, **settings}), (6, colours, 8, 8)
    fast = accelerate(plain, shape, fused)
    assert operators(fast).count("Convolution") == operators(plain).count("Convolution") + depthwise
    one = fused is None and in_blocks and fused_norm.is_available()
    assert (fused_norm.OPERATOR in operators(fast)) == one
    values = drawn(plain, shape)
    # at and beside 1 the sign turns
    values["relu_gamma"] = np.resize([-0.5, 0, 0.25, 0.999999, 1, 3], values["relu_gamma"].shape)
    outside = np.random.RandomState(1).normal(0, 1, plain.infer_shape(data=shape)[1][0])
    expected = train(by_basic_operators(plain), values, outside)
    del expected["gradient of conv_bias"]  # zero, since a BatchNorm follows: rounding
    assert_close(train(fast, values, outside), expected)
    assert_close({"output": infer(fast, values, passes=2)[1]}, {"output": infer(plain, values)[0]})


def test_the_running_statistics_are_updated_once():
    plain = turned_symbol(channels=16)
    values, outside = drawn(plain, COLOUR), np.zeros(plain.infer_shape(data=COLOUR)[1][0])
    below = plain.get_internals()["conv_output"]
    convolved, = infer(below, {name: values[name] for name in below.list_arguments()})
    mean = 0.9 * values["norm_moving_mean"] + 0.1 * convolved.mean((0, 2, 3))
    for fused in (None, False):
        found = train(accelerate(plain, COLOUR, fused), values, outside)
        assert np.allclose(found["norm_moving_mean"], mean, rtol=1e-4, atol=1e-5)


def test_how_many_convolutions_the_networks_take():
    for network, head, more in (("y1", "GDC", 0), ("y1", "GNAP", 1), ("r18", "E", 1)):
        plain = symbols.build(network, 128, head)
        fast = accelerate(plain, SHAPE)
        assert operators(fast).count("Convolution") == operators(plain).count("Convolution") + more


def test_without_the_fused_operator_the_two_take_its_place(monkeypatch):
    monkeypatch.setattr(fused_norm, "trained", Mock(side_effect=mx.MXNetError("only supports MKL-DNN Backend")))
    fused_norm.is_available.cache_clear()
    try:
        assert fused_norm.OPERATOR not in operators(accelerate(turned_symbol(channels=16), COLOUR))
    finally:
        fused_norm.is_available.cache_clear()


def test_an_accelerated_graph_is_saved_and_read_again():
    plain = small_symbol()
    values = drawn(plain, SMALL)
    again = mx.sym.load_json(accelerate(plain, SMALL).tojson())
    assert np.allclose(infer(again, values)[0], infer(plain, values)[0], rtol=1e-4, atol=1e-5)


def foreign():
    """FullyConnected on a map, as in InsightFace's y1."""
    body = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=8, kernel=(3, 3), no_bias=True, name="conv")
    body = mx.sym.BatchNorm(body, fix_gamma=False, name="norm")
    return mx.sym.FullyConnected(body, num_hidden=3, name="pre_fc1")


def test_a_flattened_graph_runs_twice_in_inference():
    flat = flatten_inputs(foreign())
    values = drawn(foreign(), SMALL)
    first, second = infer(flat, values, passes=2)
    assert np.array_equal(first, second)
    assert np.allclose(first, infer(foreign(), values)[0], rtol=1e-5, atol=1e-6)
    outside = np.random.RandomState(7).normal(0, 1, (6, 3))
    assert_close(train(flat, values, outside), train(foreign(), values, outside), tolerance=1e-5)
    assert flat.list_arguments() == foreign().list_arguments()


def test_only_layers_that_flatten_are_flattened():
    whole = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, flatten=False, name="pre_fc1")
    assert operators(flatten_inputs(whole)) == operators(whole)
    assert flatten_inputs(whole).infer_shape(data=(2, 5, 4))[1] == [(2, 5, 3)]
    assert operators(flatten_inputs(foreign())).count("Flatten") == 1

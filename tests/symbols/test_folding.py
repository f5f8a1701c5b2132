"""The folded graph against the plain one in inference mode, for the networks of all presets and small graphs."""
import json

import mxnet as mx
import numpy as np
import pytest
from prelu_rewrite_cases import drawn, infer, turned_symbol

import symbols
from symbols.folding import fold, fold_batch_norms
from symbols.graph import prelu_slopes
from training.presets import PRESETS

NETWORKS = sorted({(values["network"], values["version_output"], values["emb_size"]) for values in PRESETS.values()})


def folded(symbol, values, shape, function=fold):
    """The folded symbol and its values, with `data`."""
    arrays = {name: mx.nd.array(value) for name, value in values.items()}
    arguments = {name: arrays[name] for name in symbol.list_arguments() if name != "data"}
    states = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    made, *given = function(symbol, arguments, states, *([shape] if function is fold else []))
    for name, value in {**arguments, **states}.items():
        np.testing.assert_array_equal(value.asnumpy(), np.float32(values[name]), name)  # left as they were
    return made, {name: value.asnumpy() for part in (*given, {"data": mx.nd.array(values["data"])})
                  for name, value in part.items()}


def operators(symbol):
    return [node["op"] for node in json.loads(symbol.tojson())["nodes"]]


def close(found, expected, tolerance=1e-5):
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("network, head, emb_size", NETWORKS)
def test_the_networks_of_all_presets_embed_as_the_plain_graph(network, head, emb_size):
    shape = (2, 3, 112, 112)
    plain = symbols.build(network, emb_size // 4, head, net_multiplier=0.25)  # a quarter of the channels
    values = drawn(plain, shape, seed=8)  # with slopes above 1 and below 0
    values["data"] = np.random.RandomState(9).uniform(0, 255, shape)
    made, given = folded(plain, values, shape)
    assert "LeakyReLU" not in operators(made)
    assert operators(made).count("BatchNorm") < 0.4 * operators(plain).count("BatchNorm")
    for output in infer(made, given, passes=2):
        close(output, infer(plain, values)[0])


@pytest.mark.parametrize("settings", [{}, {"fix_gamma": True}, {"also": "norm"}, {"also": "relu"}], ids=str)
@pytest.mark.parametrize("slopes", [(-1.5, 0.9), (-0.5, 2.5)], ids=["below one", "both sides of one"])
def test_signs_turn_only_where_all_that_follows_takes_them(settings, slopes):
    shape = (3, 4, 9, 9)
    plain = turned_symbol(**settings)
    values = drawn(plain, shape)
    values["relu_gamma"] = np.linspace(*slopes, 6)
    made, given = folded(plain, values, shape)
    expected = infer(plain, values)[0]
    close(infer(made, given)[0], expected)
    order = operators(made)
    relu_first = order.index("Activation") < [node["name"] for node in json.loads(made.tojson())["nodes"]
                                              ].index("relu_bend")
    assert relu_first == (slopes[1] > 1 and settings.get("also") == "relu")


def test_biases_are_folded_and_weights_used_twice_are_left_alone():
    data, weight = mx.sym.Variable("data"), mx.sym.Variable("shared")
    twice = [mx.sym.BatchNorm(mx.sym.Convolution(data, weight, num_filter=3, kernel=(1, 1), no_bias=True),
                              fix_gamma=False, name=f"norm{number}") for number in range(2)]
    body = mx.sym.BatchNorm(mx.sym.Convolution(twice[0] + twice[1], num_filter=5, kernel=(3, 3), name="conv"),
                            fix_gamma=False, name="norm")
    plain = mx.sym.BatchNorm(mx.sym.FullyConnected(mx.sym.Flatten(body), num_hidden=4, no_bias=True, name="dense"),
                             fix_gamma=True, eps=2e-5, name="last")
    shape = (2, 4, 6, 6)
    values = drawn(plain, shape)
    made, given = folded(plain, values, shape, fold_batch_norms)
    assert operators(made).count("BatchNorm") == 2 and "dense_bias" in given and "norm_beta" not in given
    close(infer(made, given)[0], infer(plain, values)[0])


def test_a_graph_without_prelu_or_batch_norm_stays_as_it_is():
    plain = mx.sym.Activation(mx.sym.Convolution(mx.sym.Variable("data"), num_filter=2, kernel=(3, 3), name="conv"),
                              act_type="relu")
    values = drawn(plain, (1, 3, 5, 5))
    made, given = folded(plain, values, (1, 3, 5, 5))
    assert operators(made) == operators(plain) and not prelu_slopes(made)
    np.testing.assert_array_equal(infer(made, given)[0], infer(plain, values)[0])


def test_a_product_of_every_position_keeps_its_batch_norm():
    shape = (3, 4, 6, 8)
    body = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, flatten=False, name="each")  # (3, 4, 6, 4)
    plain = mx.sym.BatchNorm(body, fix_gamma=False, name="norm")  # over axis 1, of the same length by chance
    values = drawn(plain, shape)
    made, given = folded(plain, values, shape)
    assert "BatchNorm" in operators(made)
    close(infer(made, given)[0], infer(plain, values)[0])


@pytest.mark.parametrize("slope", [0.5, 1.5])
def test_one_slope_for_all_channels_and_groups_of_two(slope):
    shape = (2, 8, 6, 6)
    body = mx.sym.LeakyReLU(mx.sym.Variable("data"), gamma=mx.sym.Variable("relu_gamma", shape=(1,)),
                            act_type="prelu", name="relu")
    plain = mx.sym.Convolution(body, num_filter=4, num_group=4, kernel=(3, 3), name="pairs")  # two channels each
    values = drawn(plain, shape)
    values["relu_gamma"] = np.array([slope])
    made, given = folded(plain, values, shape)
    assert "LeakyReLU" not in operators(made)
    close(infer(made, given)[0], infer(plain, values)[0])

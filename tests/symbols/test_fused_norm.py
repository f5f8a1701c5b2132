"""BatchNorm with ReLU as one operator: where MXNet computes it rightly, and where it is not used."""
import json

import mxnet as mx
import numpy as np
import pytest

import symbols
from common.mxnet_compat import allotted_megabytes
from symbols import fused_norm
from symbols.prelu_rewrite import accelerate
from symbols.segments import choose_cuts, split


def separate(*inputs, **settings):
    return mx.nd.relu(mx.nd.BatchNorm(*inputs, **settings))


def test_the_operator_computes_what_the_two_do():
    if not fused_norm.is_available():
        pytest.skip("this MXNet has no BatchNormWithReLU that works")
    found, expected = fused_norm.trained(mx.nd.contrib.BatchNormWithReLU), fused_norm.trained(separate)
    assert len(found) == len(expected) == 1 + 1 + 7 * 3 + 3
    for one, two in zip(found, expected):
        assert np.abs(two).max() > 0.1 and np.allclose(one, two, rtol=1e-3, atol=1e-4)


def test_wrong_gradients_are_noticed(monkeypatch):
    def wrong(*inputs, **settings):
        output = separate(*inputs, **settings)
        return output + 0.01 * (output - mx.nd.BlockGrad(output))  # the right values, with gradients 1% too large

    monkeypatch.setattr(mx.nd.contrib, "BatchNormWithReLU", wrong)
    fused_norm.is_available.cache_clear()
    try:
        assert not fused_norm.is_available()
    finally:
        fused_norm.is_available.cache_clear()


@pytest.mark.parametrize("network, head", [("y1", "GNAP"), ("r18", "E"), ("r50", "GDC")])
def test_only_convolutions_are_in_front_also_of_a_network_in_segments(network, head):
    whole = accelerate(symbols.build(network, 128, head), (1, 3, 112, 112), fused=True)
    segments = split(whole, choose_cuts(whole, (1, 3, 112, 112)).places)
    assert len(segments) > 1
    count = 0
    for symbol in (whole, *segments):
        nodes = json.loads(symbol.tojson())["nodes"]
        for node in nodes:
            if node["op"] == fused_norm.OPERATOR:
                count += 1
                source = nodes[node["inputs"][0][0]]
                assert source["op"] == "Convolution" and int(source["attrs"]["num_filter"]) % 16 == 0
                assert node["attrs"]["momentum"] == "1"
    assert count > 16 and count % 2 == 0


@pytest.fixture(scope="module")
def networks_with_and_without_their_signs():
    """y1 bound as it is and with the signs as outputs, with the same random arrays."""
    if not fused_norm.is_available():
        pytest.skip("this MXNet has no BatchNormWithReLU that works")
    plain = accelerate(symbols.build("y1", 128, "GNAP"), (1, 3, 112, 112))
    random = np.random.RandomState(0)
    shapes, _, states = plain.infer_shape(data=(4, 3, 112, 112))
    values = {name: random.normal(0.5, 0.3, shape) for name, shape in zip(plain.list_arguments(), shapes)}
    values.update((name, np.ones(shape)) for name, shape in zip(plain.list_auxiliary_states(), states))
    bound = []
    for symbol in (plain, fused_norm.keep_signs(plain)):
        executor = symbol.simple_bind(mx.cpu(), data=(4, 3, 112, 112), grad_req="write")
        for name, array in {**executor.arg_dict, **executor.aux_dict}.items():
            array[:] = values[name]
        bound.append(executor)
    return bound


def test_signs_that_are_kept_change_no_number(networks_with_and_without_their_signs):
    gradient = mx.nd.array(np.random.RandomState(1).randn(4, 128))
    found = []
    for executor in networks_with_and_without_their_signs:
        embedding = executor.forward(is_train=True)[0].asnumpy()
        executor.backward(gradient)
        found.append({"embedding": embedding, **{name: array.asnumpy() for name, array in
                                                 {**executor.grad_dict, **executor.aux_dict}.items()}})
    assert found[0].keys() == found[1].keys() and len(found[0]) > 200
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array, err_msg=name)
    assert np.abs(found[0]["conv_1_conv2d_weight"]).max() > 0


def test_no_other_array_has_the_memory_of_signs(networks_with_and_without_their_signs):
    """So what is allotted beside them is less than what is allotted where others use it too."""
    plain, kept = networks_with_and_without_their_signs
    embedding, *signs = kept.outputs
    assert embedding.shape == (4, 128) and len(signs) == 33
    assert (4, 128, 56, 56) in {array.shape for array in signs}
    of_signs = sum(array.size * 4 for array in signs) / 2 ** 20
    assert allotted_megabytes(kept) - of_signs < 0.85 * allotted_megabytes(plain)

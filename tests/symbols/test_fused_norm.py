"""BatchNorm with ReLU as one operator: where MXNet computes it rightly, and where it is not used."""
import json

import mxnet as mx
import numpy as np
import pytest

import symbols
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

"""DREAM against its equations in numpy."""
import mxnet as mx
import numpy as np

from symbols.dream import Dream, gate


def test_the_gate_is_a_half_at_45_degrees_on_either_side_and_leaves_frontal_faces_alone():
    expected = [1 / (1 + np.exp(10)), 0.5, 0.5, 1 / (1 + np.exp(-10))]
    assert np.allclose(gate(np.array([0, 45, -45, 90])), expected, rtol=1e-5)
    assert gate(np.array([10.0]))[0] < 1e-3


def test_the_block_is_its_equation():
    random = np.random.RandomState(1)
    block = Dream(6)
    block.initialize(mx.init.Normal(0.5))
    embedding, gates = random.randn(4, 6).astype(np.float32), np.array([0, 0.25, 0.5, 1], np.float32)
    first, second = ([parameter.data().asnumpy() for parameter in (layer.weight, layer.bias)]
                     for layer in (block.first, block.second))
    hidden = np.maximum(embedding @ first[0].T + first[1], 0)
    residual = np.maximum(hidden @ second[0].T + second[1], 0)
    for hybrid in (False, True):
        block.hybridize(hybrid)
        moved = block(mx.nd.array(embedding), mx.nd.array(gates)).asnumpy()
        assert np.allclose(moved, embedding + gates[:, None] * residual, atol=1e-6)
    assert np.array_equal(moved[0], embedding[0])

"""The network of a step without autograd: the numbers of a hybridized block, also where it computes its maps again."""
import functools

import mxnet as mx
import numpy as np
import pytest
from small_models import SIDE, assert_same, make_batch, make_model, tiny_symbol, values

import symbols
import training.bound_network
import training.model
from symbols.float16_graph import to_float16
from symbols.segments import Cuts, choose_cuts, split
from symbols.shapes import infer_shapes, parameter_names
from symbols.symbol_utils import get_fc1
from training.step import update

pytestmark = pytest.mark.whole_network  # the maps of many layers


@pytest.fixture
def cut_everywhere(monkeypatch):
    """Segments as small as they can be: small nets would otherwise stay whole."""
    def everywhere(symbol, data_shape):
        monkeypatch.setattr("symbols.segments.KEPT_COSTS", 0)
        return choose_cuts(symbol, data_shape)
    monkeypatch.setattr(training.bound_network, "choose_cuts", everywhere)


@pytest.mark.parametrize("request_", ["write", "add"])
def test_a_pass_is_that_of_a_hybridized_block(monkeypatch, request_):
    """Two passes over other images: embeddings, gradients and running statistics, by MXNet's autograd."""
    ends = []
    for bound in (False, True):
        _, model, _ = make_model(monkeypatch, symbol=symbols.fmobilefacenet.get_symbol(6, "GNAP", blocks=(1, 1, 1, 1)))
        parameters = model.net_parameters.values()
        for parameter in parameters:
            parameter.grad_req = request_ if parameter.grad_req != "null" else "null"
        model.block.hybridize()
        data, gradient = mx.nd.empty((4, 3, SIDE, SIDE)), mx.nd.array(np.random.RandomState(5).randn(4, 6))
        found = []
        for seed in range(2):
            data[:] = mx.nd.array(make_batch(4, seed).images.transpose(0, 3, 1, 2))
            if bound:
                embedding = model.network(data).copy()
                model.network.backward([gradient])
            else:
                with mx.autograd.record():
                    embedding = model.block(data)
                embedding.backward(gradient)
            mx.nd.waitall()
            found += [embedding.asnumpy(), *(parameter.grad().asnumpy() for parameter in parameters
                                             if parameter.grad_req != "null")]
        ends.append(found + [parameter.data().asnumpy() for parameter in parameters])
    assert len(ends[0]) > 100
    for one, other in zip(*ends):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def steps(monkeypatch, count=3, **settings):
    _, model, trainer = make_model(monkeypatch, lr=0.002, **settings)
    if model.scale:
        model.scale.value = 256.0
    results = []
    for step in range(count):
        mx.random.seed(step)
        results.append(update(model, trainer, make_batch(12, step), step))
    if settings.get("mirror_memory"):
        assert len(model.network.segments) > 3
    return values(model), [result.embedding() for result in results]


@pytest.mark.parametrize("settings", [dict(), dict(devices=2, fc7_parallel=True), dict(accumulate=2),
                                      dict(devices=2, accumulate=3, partial_fc=0.5), dict(dtype="float16")], ids=str)
def test_training_ends_with_the_same_weights_and_running_statistics(monkeypatch, cut_everywhere, settings):
    monkeypatch.setattr(training.model, "to_float16", functools.partial(to_float16, products="float32"))
    symbol = tiny_symbol(frozen_statistics=False)
    expected, embeddings = steps(monkeypatch, symbol=symbol, **settings)
    got, its_embeddings = steps(monkeypatch, symbol=symbol, mirror_memory=True, **settings)
    assert_same(got, expected)
    np.testing.assert_allclose(its_embeddings, embeddings, rtol=1e-5, atol=1e-5)


def test_dropout_is_sampled_once(monkeypatch, cut_everywhere):
    data = (mx.sym.Variable("data") - 127.5) * 0.0078125
    body = mx.sym.Activation(mx.sym.Convolution(data, name="conv", num_filter=4, kernel=(3, 3)), act_type="relu")
    symbol = get_fc1(mx.sym.Convolution(body, name="conv2", num_filter=5, kernel=(3, 3)), 6, "E", input_channel=5)
    expected, _ = steps(monkeypatch, symbol=symbol)
    got, _ = steps(monkeypatch, symbol=symbol, mirror_memory=True)
    assert_same(got, expected)


@pytest.mark.parametrize("network, head", [("y1", "GNAP"), ("r18", "E"), ("r50", "GDC")])
def test_the_segments_are_the_network(network, head):
    symbol = symbols.build(network, 128, head)
    shape = (2, 3, 112, 112)
    cuts = choose_cuts(symbol, shape)
    segments = split(symbol, cuts.places)
    assert len(segments) == len(cuts.places) + 1 > 1
    assert 3 * cuts.kept + 2 * cuts.inner < 0.85 * 2 * cuts.whole
    assert sorted(name for segment in segments for name in parameter_names(segment)) == sorted(parameter_names(symbol))
    wanted = infer_shapes(symbol, shape)
    for segment in segments:
        found = infer_shapes(segment, shape)
        assert all(found[name] == wanted[name] for name in parameter_names(segment))
        shape = found[segment.list_outputs()[0]]
    assert shape == (2, 128)


def test_a_network_of_real_blocks_has_the_same_gradients(monkeypatch, cut_everywhere):
    symbol = symbols.fmobilefacenet.get_symbol(6, "GNAP", blocks=(1, 1, 1, 1))
    ends = [steps(monkeypatch, count=2, symbol=symbol, mirror_memory=mirrored)[0] for mirrored in (False, True)]
    assert_same(ends[1], ends[0], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_cut_stays_whole():
    symbol = mx.sym.BatchNorm(mx.sym.Variable("data"), name="fc1")
    assert choose_cuts(symbol, (1, 4)) == Cuts((), 0, 4, 4)
    (segment,) = split(symbol, ())
    assert segment.list_arguments() == symbol.list_arguments()


def test_a_later_pass_leaves_the_embeddings_of_an_earlier_one_alone(monkeypatch, cut_everywhere):
    _, model, _ = make_model(monkeypatch, symbol=tiny_symbol(False), mirror_memory=True)
    first, second = (model.network(mx.nd.array(make_batch(4, seed).images.transpose(0, 3, 1, 2))) for seed in (0, 1))
    assert first.shape == (4, 6) and np.abs(first.asnumpy() - second.asnumpy()).max() > 0.1

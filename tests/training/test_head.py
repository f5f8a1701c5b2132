"""The whole head against plain float64 numpy: loss, cosine, hit, and the gradients to embedding and parameters."""
import functools
import math

import head_cases
import mxnet as mx
import numpy as np
import pytest
from head_cases import (  # noqa: F401
    CLASSES,
    LOSSES,
    SAMPLES,
    SIZE,
    added_gradient,
    by_numpy,
    close,
    make_case,
    make_head,
    measured_gradient,
    own_with_margin,
)
from mxnet import gluon

from common.errors import UserError
from training.head import margin_head, shard
from training.head.fast_head import FastHead
from training.head.layer import Layer
from training.head.margin_head import MarginHead
from training.head.shard import CHUNK


@pytest.fixture(params=[(MarginHead, CHUNK), (FastHead, CHUNK), (FastHead, 7 * SIZE)],
                ids=["plain", "fast", "fast, weights in five parts"], autouse=True)
def head_class(request, monkeypatch):
    """Every test is of both heads, and of more weights than the fast one takes at once."""
    head, chunk = request.param
    monkeypatch.setattr(head_cases, "Head", head)
    monkeypatch.setattr(shard, "CHUNK", chunk)


def test_the_example_of_the_docstring():
    import doctest
    assert doctest.testmod(margin_head).failed == 0


def run(head, embedding, label, factor=1.0, devices=None):
    """Outputs over the devices joined, and the gradient of factor * sum(loss) to the embedding, as numpy."""
    devices, shares = devices or [mx.cpu()], np.array_split(np.arange(len(label)), len(devices or [0]))
    seen = head.backward([mx.nd.array(embedding[share], ctx=device) for device, share in zip(devices, shares)],
                         [label[share] for share in shares], factor)
    gradient = np.concatenate([part.asnumpy() for part in seen.gradients])
    return tuple(np.concatenate([part.asnumpy() for part in getattr(seen, name)])
                 for name in ("losses", "cosines", "correct")), gradient


@functools.lru_cache(maxsize=None)
def measured_gradients(factor, **settings):
    """Those of factor * the whole loss of `make_case`, once for all heads."""
    embedding, weight, bias, label = make_case()
    if settings.get("no_bias"):
        bias[:] = 0

    def total():
        return float((by_numpy(embedding, weight, bias, label, **settings)[0] * factor).sum())
    return {name: measured_gradient(total, array)
            for name, array in (("embedding", embedding), ("weight", weight), ("bias", bias))}


@pytest.mark.parametrize("settings", LOSSES.values(), ids=LOSSES.keys())
def test_loss_and_gradients_are_those_of_plain_numpy(settings):
    embedding, weight, bias, label = make_case()
    if settings.get("no_bias"):
        bias[:] = 0
    factor = 1.5
    head = make_head(weight, bias, **settings)
    (loss, cosine, hit), to_embedding = run(head, embedding, label, factor)
    expected = by_numpy(embedding, weight, bias, label, **settings)
    assert 0 < expected[2].sum() < SAMPLES and expected[1].min() < -0.9 and expected[1].max() > 0.9
    for got in (loss, cosine, hit):
        assert got.shape == (SAMPLES,) and got.dtype == np.float32
    np.testing.assert_allclose(loss, expected[0], rtol=1e-5, atol=5e-5)
    np.testing.assert_allclose(cosine, expected[1], atol=1e-6)
    np.testing.assert_array_equal(hit, expected[2])
    measured = measured_gradients(factor, **settings)
    close(to_embedding, measured["embedding"])
    close(added_gradient(head.fc7_weight), measured["weight"])
    if "fc7_bias" in head.layer.arrays:
        close(added_gradient(head.fc7_bias), measured["bias"])


@pytest.mark.parametrize("settings", LOSSES.values(), ids=LOSSES.keys())
def test_two_devices_equal_one(settings):
    embedding, weight, bias, label = make_case(1)
    two = [mx.cpu(0), mx.cpu(1)]
    single, shared = make_head(weight, bias, **settings), make_head(weight, bias, two, **settings)
    outputs, gradient = run(single, embedding, label)
    outputs_of_two, gradient_of_two = run(shared, embedding, label, devices=two)
    for one, other in zip(outputs, outputs_of_two):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    close(gradient_of_two, gradient)
    for name, parameter in single.collect_params().items():
        close(added_gradient(shared.collect_params()[name]), added_gradient(parameter))


@pytest.mark.parametrize("settings, names", [
    (dict(loss_type=0), {"fc7_weight": (CLASSES, SIZE), "fc7_bias": (CLASSES,)}),
    (dict(loss_type=0, no_bias=True), {"fc7_weight": (CLASSES, SIZE)}), (dict(loss_type=2), {"fc7_weight": (30, 16)}),
    (dict(loss_type=4), {"fc7_weight": (30, 16)}), (dict(loss_type=5), {"fc7_weight": (30, 16)})])
def test_parameters_have_the_ecosystems_names_and_shapes(settings, names):
    parameters = make_head(**settings).collect_params()
    assert {name: parameter.shape for name, parameter in parameters.items()} == names
    assert all(parameter.name == name for name, parameter in parameters.items())


def test_weights_start_small_and_the_bias_at_zero():
    parameters = make_head(loss_type=0).collect_params()
    assert parameters["fc7_weight"].data().asnumpy().std() == pytest.approx(0.01, rel=0.2)
    assert not parameters["fc7_bias"].data().asnumpy().any()


def test_learning_rate_and_decay_factors_reach_the_optimizer():
    embedding, weight, bias, label = make_case()
    head = make_head(weight, bias, loss_type=0, fc7_lr_mult=10.0, fc7_wd_mult=3.0)
    trainer = gluon.Trainer(head.collect_params(), "sgd", {"learning_rate": 0.01, "wd": 0.1})
    run(head, embedding, label)
    of_weight, of_bias = added_gradient(head.fc7_weight), added_gradient(head.fc7_bias)
    trainer.step(1)
    close(head.fc7_weight.data().asnumpy(), weight - 0.01 * 10 * (of_weight + 0.1 * 3 * weight))
    close(head.fc7_bias.data().asnumpy(), bias - 0.01 * 2 * of_bias)  # InsightFace's: 2, no decay


def test_the_hit_counts_the_margin_and_the_cosine_does_not():
    weight, label = np.eye(3, 4), np.array([0, 0, 0, 2])
    angles = np.radians([10, 35, 44, 80])  # away from class 0, towards class 1
    embedding = np.stack([7 * np.cos(angles), 7 * np.sin(angles), 0 * angles, 0 * angles], axis=1)
    (_, cosine, hit), _ = run(make_head(weight, loss_type=4, margin_m=0.5), embedding, label)
    np.testing.assert_allclose(cosine, [*np.cos(angles[:3]), 0], atol=1e-6)
    # 35 and 44 degrees are nearer to class 0 than to class 1, but not with 28.6 degrees on top
    np.testing.assert_array_equal(hit, [1, 0, 0, 0])
    np.testing.assert_array_equal(run(make_head(weight, loss_type=4, margin_m=0.0), embedding, label)[0][2],
                                  [1, 1, 1, 0])


@pytest.mark.parametrize("loss_type", [0, 4])
def test_gradients_of_micro_batches_add_up_where_the_trainer_asks_for_it(loss_type):
    embedding, weight, bias, label = make_case()
    whole, parts = (make_head(weight, bias, loss_type=loss_type) for _ in range(2))
    for parameter in parts.collect_params().values():
        parameter.grad_req = "add"
    _, expected = run(whole, embedding, label)
    half = len(label) // 2
    got = np.concatenate([run(parts, embedding[share], label[share])[1] for share in (slice(half), slice(half, None))])
    close(got, expected)
    for name, parameter in whole.collect_params().items():
        close(added_gradient(parts.collect_params()[name]), added_gradient(parameter))


@pytest.mark.parametrize("settings", LOSSES.values(), ids=LOSSES.keys())
def test_zero_and_matching_embeddings_give_finite_numbers(settings):
    _, weight, bias, _ = make_case()
    embedding = np.stack([np.zeros(SIZE), weight[3] * 5, -weight[4], np.full(SIZE, 1e-20)])
    label = np.array([1, 3, 4, 5])
    weight[7] = 0  # a class that was never drawn
    head = make_head(weight, bias, **settings)
    (loss, cosine, _), to_embedding = run(head, embedding, label)
    for array in (loss, cosine, to_embedding, added_gradient(head.fc7_weight)):
        assert np.isfinite(array).all()
    np.testing.assert_allclose(cosine, [0, 1, -1, 0], atol=1e-5)


def test_a_hopeless_sample_keeps_a_finite_exact_loss():
    # Logits 64 apart from -118: exp(-182) is 0 in float32, where the log of a probability would be infinite.
    weight, embedding = np.array([[1.0, 0], [-1, 0]]), np.array([[-1.0, 0]])
    (loss, *_), gradient = run(make_head(weight, loss_type=4, margin_s=128.0), embedding, np.array([0]))
    assert loss[0] == pytest.approx(128 * (2 + 0.5 * math.sin(0.5)), rel=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss_type", [0, 4])
def test_labels_beyond_what_float16_holds(loss_type, monkeypatch):
    generator = np.random.RandomState(3)
    label = np.array([0, 2049, 65_537, 69_999, 70_000])
    weight, embedding = (generator.randn(rows, 4).astype(np.float32) for rows in (70_001, len(label)))
    monkeypatch.setattr(shard, "CHUNK", shard.CHUNK * weight.size // (CLASSES * SIZE))  # as many parts as elsewhere
    head = make_head(weight, loss_type=loss_type, no_bias=True)
    (loss, cosine, hit), _ = run(head, embedding, label)
    expected = by_numpy(embedding.astype(np.float64), weight.astype(np.float64), 0.0, label, loss_type=loss_type)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-4)
    np.testing.assert_allclose(cosine, expected[1], atol=1e-6)
    np.testing.assert_array_equal(hit, expected[2])
    for vector, own in zip(embedding, label):  # descent pulls the own row towards the embedding, and no other
        run(head, vector[None], np.array([own]))
        towards = -added_gradient(head.fc7_weight) @ vector
        assert towards.argmax() == own and towards[own] > 0.1
    np.testing.assert_allclose(run(head, weight[label] * 3, label)[0][1], 1, atol=1e-6)


@pytest.mark.parametrize("settings, flag", [
    (dict(loss_type=1), "`loss_type`"), (dict(margin_s=0.0), "`margin_s`"), (dict(margin_s=math.nan), "`margin_s`"),
    (dict(margin_m=2.0), "`margin_m`")])
def test_senseless_settings_are_refused(settings, flag):
    with pytest.raises(UserError, match=flag):
        Layer(10, 4, **settings)

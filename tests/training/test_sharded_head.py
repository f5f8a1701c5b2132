"""The sharded and the sampled head against the whole one and against plain float64 numpy."""
import mxnet as mx
import numpy as np
import pytest
from head_cases import (
    CLASSES,
    LOSSES,
    SAMPLES,
    SIZE,
    by_numpy,
    close,
    make_case,
    make_head,
    measured_gradient,
)
from mxnet import gluon
from sharded_head_cases import DECAY, LAYOUTS, MOMENTUM, RATE, joined, make_sharded, numbers, run  # noqa: F401

from common.errors import UserError
from training.head.layer import Layer
from training.head.margin_head import MarginHead


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("settings", LOSSES.values(), ids=LOSSES.keys())
def test_loss_gradients_and_updates_are_those_of_the_whole_head(settings, layout):
    embedding, weight, bias, label = make_case()
    assert CLASSES % 7
    whole = make_head(weight, bias, fc7_lr_mult=2.0, fc7_wd_mult=3.0, **settings)
    trainer = gluon.Trainer(whole.collect_params(), "sgd", {"learning_rate": RATE, "momentum": MOMENTUM, "wd": DECAY})
    head = make_sharded(weight, bias, fc7_lr_mult=2.0, fc7_wd_mult=3.0, **LAYOUTS[layout], **settings)
    for step in range(3):
        expected = joined(whole.backward([mx.nd.array(embedding)], [label]))
        got = run(head, embedding, label, step)
        for one, other in zip(got[:3], expected[:3]):  # rounding of earlier steps comes on top
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=5e-4 if step else 5e-5)
        close(got[3], expected[3])
        trainer.step(SAMPLES)
        head.reduce()
        head.update(RATE, SAMPLES)
        arrays = numbers(head.arrays())
        assert {name for name in arrays if "@" not in name} == set(whole.collect_params())
        for name, parameter in whole.collect_params().items():
            close(arrays[name], parameter.data().asnumpy())


@pytest.mark.parametrize("settings", LOSSES.values(), ids=LOSSES.keys())
def test_three_shards_are_plain_numpy(settings):
    embedding, weight, bias, label = make_case(2)
    if settings.get("no_bias"):
        bias[:] = 0
    head = make_sharded(weight, bias, count=3, **settings)
    loss, cosine, hit, gradient = run(head, embedding, label)
    expected = by_numpy(embedding, weight, bias, label, **settings)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-5, atol=5e-5)
    np.testing.assert_allclose(cosine, expected[1], atol=1e-6)
    np.testing.assert_array_equal(hit, expected[2])

    def total():
        return float(by_numpy(embedding, weight, bias, label, **settings)[0].sum())
    close(gradient, measured_gradient(total, embedding))
    head.reduce()
    head.update(1.0, 1)  # no decay of the first step's momentum: the weights move by the gradient and the decay alone
    close(weight - numbers(head.arrays())["fc7_weight"] - DECAY * weight, measured_gradient(total, weight))


@pytest.mark.parametrize("label", [np.zeros(6, int), np.full(6, CLASSES - 1), np.arange(6)],
                         ids=["all in the first class", "all in the last", "all in the first shard"])
@pytest.mark.parametrize("loss_type", [0, 4])
def test_labels_that_lie_in_one_shard(loss_type, label):
    embedding, weight, bias, _ = make_case()
    whole, head = make_head(weight, bias, loss_type=loss_type), make_sharded(weight, bias, 3, loss_type=loss_type)
    expected = joined(whole.backward([mx.nd.array(embedding[:6])], [label]))
    for one, other in zip(run(head, embedding[:6], label), expected):
        close(one, other)


def test_far_apart_shards_keep_the_loss_exact():
    """Logits of one shard lie 200 below the other's: the shares under- and overflow where they are exponentiated."""
    weight = np.concatenate([np.full((3, 2), 10.0), np.full((3, 2), -10.0)]) + np.eye(6, 2)
    embedding, label = np.array([[5.0, 5.0], [-5.0, -5.0]]), np.array([4, 1])
    head = make_sharded(weight, count=2, loss_type=0)
    loss, _, _, gradient = run(head, embedding, label)
    np.testing.assert_allclose(loss, by_numpy(embedding, weight, np.zeros(6), label, loss_type=0)[0], rtol=1e-6)
    assert np.isfinite(gradient).all()


def test_equal_logits_are_a_hit_of_the_first_class_alone():
    weight, embedding = np.ones((4, 3)), np.ones((4, 3))
    head = make_sharded(weight, count=2, loss_type=0)
    np.testing.assert_array_equal(run(head, embedding, np.arange(4))[2], [1, 0, 0, 0])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("loss_type", [0, 4])
def test_micro_batches_add_up(loss_type, layout):
    embedding, weight, bias, label = make_case()
    ends = []
    for parts in (1, 3):
        head = make_sharded(weight, bias, accumulate=parts > 1, loss_type=loss_type, rate=0.5, **LAYOUTS[layout])
        for step in range(2):
            head.start_step(label, step)
            for part in np.array_split(np.arange(SAMPLES), parts):
                shares = np.array_split(part, len(head.devices))
                head.backward([mx.nd.array(embedding[share], ctx=device) for share, device in zip(shares, head.devices)
                               if len(share)], [label[share] for share in shares if len(share)])
            head.reduce()
            head.update(RATE, SAMPLES)
        ends.append(numbers(head.arrays()))
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("accumulate", [False, True])
def test_a_factor_multiplies_every_gradient(accumulate):
    embedding, weight, bias, label = make_case()
    once, more = (make_sharded(weight, bias, accumulate=accumulate) for _ in range(2))
    close(run(more, embedding, label, factor=1024.0)[3], 1024 * run(once, embedding, label)[3])
    once.update(RATE, SAMPLES)
    more.update(RATE, SAMPLES * 1024.0)
    close(numbers(more.arrays())["fc7_weight"], numbers(once.arrays())["fc7_weight"])


def test_arrays_go_to_another_number_of_devices():
    embedding, weight, bias, label = make_case()
    three, two = make_sharded(weight, bias, count=3, loss_type=0), make_sharded(weight * 0, count=2, loss_type=0)
    run(three, embedding, label)
    three.update(RATE, SAMPLES)
    two.set_arrays(three.arrays())
    for head in (three, two):
        run(head, embedding, label, 1)
        head.reduce()
        head.update(RATE, SAMPLES)
    one, other = three.arrays(), two.arrays()
    assert set(one) == {"fc7_weight", "fc7_bias", "fc7_weight@momentum", "fc7_bias@momentum"}
    for name, value in one.items():
        assert value.shape[0] == CLASSES and value.context == mx.cpu()
        np.testing.assert_allclose(other[name].asnumpy(), value.asnumpy(), rtol=1e-5, atol=1e-6)


def test_weights_begin_as_the_whole_heads_whatever_the_devices():
    begun = []
    for build in (lambda: make_sharded(np.zeros((CLASSES, SIZE)), count=3), lambda: make_sharded(
            np.zeros((CLASSES, SIZE)), count=1)):
        head = build()
        mx.random.seed(4)
        head.initialize(mx.init.Normal(0.01))
        begun.append(numbers(head.arrays())["fc7_weight"])
    whole = MarginHead(Layer(CLASSES, SIZE))
    mx.random.seed(4)
    whole.initialize(mx.init.Normal(0.01))
    np.testing.assert_array_equal(begun[0], whole.fc7_weight.data().asnumpy())
    np.testing.assert_array_equal(begun[1], begun[0])


def test_more_devices_than_classes_are_refused():
    with pytest.raises(UserError, match="`fc7_parallel`: 3 classes"):
        make_sharded(np.zeros((3, 2)), count=4)

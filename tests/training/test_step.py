"""One step over devices and micro-batches is the step of one device on the whole batch, and plain numpy's."""
import mxnet as mx
import numpy as np
import pytest
from small_models import SIZE, assert_same, make_batch, make_model, tiny_symbol, values

from symbols.symbol_utils import get_fc1
from training.data.loader import Batch
from training.step import update

STEPS = 3


def train(monkeypatch, steps=STEPS, images=12, **settings):
    config, model, trainer = make_model(monkeypatch, **settings)
    before = values(model)
    results = [update(model, trainer, make_batch(images, step), step) for step in range(steps)]
    after = values(model)
    assert all((after[name] != before[name]).any() for name in after if "moving" not in name)
    return after, [result.read() for result in results]


@pytest.mark.parametrize("loss_type", [0, 4])
@pytest.mark.parametrize("split", [dict(devices=2), dict(devices=3), dict(accumulate=2), dict(accumulate=4),
                                   dict(devices=2, accumulate=3)],
                         ids=lambda split: " ".join(f"{name} {number}" for name, number in split.items()))
def test_the_same_global_batch_gives_the_same_update_however_it_is_split(monkeypatch, loss_type, split):
    whole, seen = train(monkeypatch, loss_type=loss_type, margin_m=0.3)
    parts, seen_in_parts = train(monkeypatch, loss_type=loss_type, margin_m=0.3, **split)
    assert_same(parts, whole)
    for one, other in zip(seen, seen_in_parts):
        for mine, theirs in zip(one, other):  # losses, cosines and hits in the order of the batch
            np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-5)


def test_identical_halves_on_two_devices_equal_one_half_on_one_with_batch_statistics(monkeypatch):
    half = make_batch(6)
    both = Batch(np.concatenate([half.images] * 2), np.concatenate([half.labels] * 2), np.arange(12))
    ends = []
    for devices, batch in ((1, half), (2, both)):
        _, model, trainer = make_model(monkeypatch, devices=devices, symbol=tiny_symbol(frozen_statistics=False))
        for step in range(STEPS):
            update(model, trainer, batch, step)
        ends.append(values(model))
    assert_same(ends[1], ends[0])


def test_an_update_is_lr_times_the_mean_gradient_plus_decay(monkeypatch):
    """The rate is used as given: twice the images, each twice, move the weights just as far."""
    batch = make_batch(4)
    twice = Batch(np.repeat(batch.images, 2, axis=0), np.repeat(batch.labels, 2), np.arange(8))
    ends = []
    for devices, given in ((1, batch), (1, twice), (2, twice)):
        config, model, trainer = make_model(monkeypatch, devices=devices, fc7_lr_mult=10.0, fc7_wd_mult=3.0)
        weight = values(model)["fc7_weight"]
        update(model, trainer, given, 0)
        gradient = sum(one.asnumpy() for one in model.head.fc7_weight.list_grad()) / len(given.labels)
        if devices == 1:
            expected = weight - config.lr * 10 * (gradient + config.wd * 3 * weight)
            np.testing.assert_allclose(values(model)["fc7_weight"], expected, rtol=1e-5, atol=1e-7)
        ends.append(values(model))
    assert_same(ends[1], ends[0])
    assert_same(ends[2], ends[0])


def test_micro_batches_leave_no_gradient_behind(monkeypatch):
    _, model, trainer = make_model(monkeypatch, accumulate=2)
    update(model, trainer, make_batch(), 0)
    for parameter in (*model.net_parameters.values(), *model.head_parameters.values()):
        if parameter.grad_req != "null":
            assert parameter.grad_req == "add" and not parameter.grad().asnumpy().any(), parameter.name


def test_the_running_statistics_see_each_micro_batch(monkeypatch):
    symbol = tiny_symbol(frozen_statistics=False)
    ends = []
    for accumulate, batches in ((1, 2), (2, 1)):
        _, model, trainer = make_model(monkeypatch, symbol=symbol, accumulate=accumulate)
        trainer.set_learning_rate(0)
        batch = make_batch(8)
        for part in np.array_split(np.arange(8), batches):
            update(model, trainer, Batch(batch.images[part], batch.labels[part], part), 0)
        ends.append({name: value for name, value in values(model).items() if "moving" in name})
    assert ends[0]["conv_bn_moving_mean"].any()
    assert_same(ends[1], ends[0])


def test_labels_are_never_rounded(monkeypatch):
    _, model, trainer = make_model(monkeypatch, classes=5000, loss_type=0)
    batch = make_batch(4)
    labels = np.array([2049, 4097, 4999, 3], np.int32)  # float16 has none of the first three
    weight = values(model)["fc7_bias"]
    update(model, trainer, Batch(batch.images, labels, batch.keys), 0)
    rise = values(model)["fc7_bias"] - weight
    assert set(np.flatnonzero(rise > 0)) == set(labels)


def test_training_begins_from_the_seed_as_insightface_begins(monkeypatch):
    """Weights by a normal distribution of variance 2 / fan out, the ecosystem's Xavier; slopes 0.25, gammas 1."""
    begun = values(make_model(monkeypatch)[1])
    for name, fan_out in (("conv_weight", 4 * 9), ("pre_fc1_weight", SIZE)):
        weight = begun[name]
        assert weight.std() == pytest.approx((2 / fan_out) ** 0.5, rel=3 / weight.size ** 0.5)
        assert abs(weight.mean()) < 4 * weight.std() / weight.size ** 0.5
    assert (begun["relu_gamma"] == 0.25).all()
    for name, value in begun.items():
        if name.endswith(("bias", "beta", "mean")):
            assert not value.any(), name
        elif name.endswith(("bn_gamma", "fc1_gamma", "var")):
            assert (value == 1).all(), name
    for seed, same in ((0, True), (1, False)):
        again = values(make_model(monkeypatch, seed=seed)[1])
        assert all(np.array_equal(again[name], begun[name]) == same for name in ("conv_weight", "fc7_weight"))


def test_a_fixed_gamma_of_another_checkpoint_is_not_taken(monkeypatch):
    """It counts as 1 whatever it holds, and so it is saved, for readers that do not know that it is fixed."""
    body = mx.sym.Convolution(mx.sym.Variable("data"), name="conv", num_filter=4, kernel=(3, 3), no_bias=True)
    _, model, _ = make_model(monkeypatch, symbol=get_fc1(body, SIZE, "GAP", input_channel=4))
    model.take({"fc1_gamma": mx.nd.full((SIZE,), 0.3), "bn1_gamma": mx.nd.full((4,), 0.3)}, {})
    arguments, _ = model.network_arrays()
    assert (arguments["fc1_gamma"].asnumpy() == 1).all()
    assert (arguments["bn1_gamma"].asnumpy() == np.float32(0.3)).all()

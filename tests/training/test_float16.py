"""Training with --dtype float16, its products emulated where a CPU has none: scaling, skipping, state."""
import functools

import mxnet as mx
import numpy as np
import pytest
from sharded_training_cases import data, train  # noqa: F401
from small_models import assert_same, make_batch, make_model, values

import training.model
from common.mxnet_compat import momentum_arrays
from symbols.float16_graph import to_float16
from training.precision import LossScale
from training.step import update


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setattr(training.model, "to_float16", functools.partial(to_float16, products="float32"))
    monkeypatch.setattr("training.run.check_precision", lambda dtype, devices: None)


def steps(model, trainer, first, last):
    for step in range(first, last):
        update(model, trainer, make_batch(12, step), step)
    return values(model)


@pytest.mark.parametrize("split", [dict(), dict(devices=2), dict(devices=2, fc7_parallel=True),
                                   dict(accumulate=2, fc7_parallel=True)], ids=str)
def test_float16_trains_nearly_as_float32(monkeypatch, split):
    _, full, trainer = make_model(monkeypatch, lr=0.002)
    begun = values(full)
    expected = steps(full, trainer, 0, 2)
    _, half, its_trainer = make_model(monkeypatch, dtype="float16", lr=0.002, **split)
    assert half.scale.value == 65536
    half.scale.value = 256.0
    got = steps(half, its_trainer, 0, 2)
    for name, value in expected.items():
        assert got[name].dtype == np.float32
        if "moving" not in name and np.abs(value - begun[name]).max() > 1e-5:
            moved, should = got[name] - begun[name], value - begun[name]
            assert np.linalg.norm(moved - should) < 0.15 * np.linalg.norm(should), name
    assert (got["conv_weight"] != expected["conv_weight"]).any()
    assert half.scale.state() == (256, 2, 0)


def test_the_scale_keeps_gradients_that_float16_has_no_numbers_for(monkeypatch):
    """With a scale of 1 the convolution's gradients, some 1e-8 here, are zero in float16."""
    moved = {}
    for value in (1.0, 2.0 ** 16):
        _, model, trainer = make_model(monkeypatch, dtype="float16", wd=0.0, margin_s=1e-8, lr=1.0)
        model.scale.value = value
        before = values(model)["conv_weight"]
        update(model, trainer, make_batch(), 0)
        moved[value] = np.abs(values(model)["conv_weight"] - before).max()
    assert moved[1.0] == 0 < moved[2.0 ** 16]


@pytest.mark.parametrize("split", [dict(), dict(devices=2, fc7_parallel=True, partial_fc=0.5), dict(accumulate=2)],
                         ids=str)
def test_a_step_that_overflows_is_not_applied_and_halves_the_scale(monkeypatch, caplog, split):
    _, model, trainer = make_model(monkeypatch, dtype="float16", lr=0.002, **split)
    model.scale.value = 256.0
    update(model, trainer, make_batch(12), 0)
    before, momentum = values(model), {name: value.asnumpy() for name, value in
                                       momentum_arrays(trainer).items()}
    model.scale.value = 2.0 ** 40
    result = update(model, trainer, make_batch(12), 1)
    assert np.isfinite(result.read()[0]).all()
    assert model.scale.state() == (2.0 ** 39, 0, 1) and "overflow" in caplog.text
    assert_same(values(model), before, rtol=0, atol=0)
    for name, value in momentum_arrays(trainer).items():
        np.testing.assert_array_equal(value.asnumpy(), momentum[name])
    model.scale.value = 256.0
    update(model, trainer, make_batch(12), 2)
    assert (values(model)["conv_weight"] != before["conv_weight"]).any()
    assert np.isfinite(values(model)["conv_weight"]).all()


def test_labels_are_never_float16(monkeypatch):
    _, model, trainer = make_model(monkeypatch, classes=5000, loss_type=0, dtype="float16")
    labels = np.array([2049, 4097, 4999, 3], np.int32)  # float16 has none of the first three
    bias = values(model)["fc7_bias"]
    batch = make_batch(4)
    update(model, trainer, training.data.loader.Batch(batch.images, labels, batch.keys), 0)
    assert set(np.flatnonzero(values(model)["fc7_bias"] > bias)) == set(labels)


def test_a_resumed_float16_run_continues_exactly_with_its_scale(monkeypatch, data, tmp_path):  # noqa: F811
    monkeypatch.setattr("training.precision.GOOD_STEPS", 3)
    monkeypatch.setattr(training.model, "LossScale", lambda *state: LossScale(*(state or (64.0,))))
    flags = ["--dtype", "float16", "--fc7-parallel"]
    assert train(monkeypatch, data, tmp_path / "whole", *flags, "--max-steps", 7) == 0
    assert train(monkeypatch, data, tmp_path / "parts", *flags, "--max-steps", 4) == 0
    assert train(monkeypatch, data, tmp_path / "parts", *flags, "--max-steps", 7, "--resume") == 0
    states = [next((tmp_path / run / "state").glob("*7*/net.params")) for run in ("whole", "parts")]
    assert states[0].read_bytes() == states[1].read_bytes()
    assert list(mx.nd.load(str(states[0]))["loss_scale"].asnumpy()) == [256, 1, 0]
    _, arguments, auxiliary = mx.model.load_checkpoint(str(tmp_path / "whole" / "model"), 1)
    assert {value.dtype for value in (*arguments.values(), *auxiliary.values())} == {np.float32}

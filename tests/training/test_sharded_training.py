"""Sharded and sampled classification layers inside the model and in whole runs."""
import json

import mxnet as mx
import numpy as np
import pytest
from sharded_training_cases import data, train  # noqa: F401
from small_models import assert_same, make_batch, make_model, values

from common.errors import UserError
from training.step import update


def steps(model, trainer, first, last, images=12):
    for step in range(first, last):
        update(model, trainer, make_batch(images, step), step)
    return values(model)


@pytest.mark.parametrize("loss_type", [0, 4])
@pytest.mark.parametrize("split", [dict(devices=1), dict(devices=2), dict(devices=3), dict(devices=2, accumulate=2)],
                         ids=lambda split: " ".join(f"{name} {number}" for name, number in split.items()))
def test_training_with_shards_is_training_with_the_whole_layer(monkeypatch, loss_type, split):
    shared = dict(loss_type=loss_type, lr=0.002, margin_m=0.3, fc7_lr_mult=2.0, fc7_wd_mult=3.0)
    _, whole, trainer = make_model(monkeypatch, **shared)
    _, sharded, its_trainer = make_model(monkeypatch, fc7_parallel=True, **shared, **split)
    assert_same({name: value for name, value in values(sharded).items() if "@" not in name}, values(whole))
    expected = steps(whole, trainer, 0, 4)
    got = steps(sharded, its_trainer, 0, 4)
    assert_same({name: value for name, value in got.items() if "@" not in name}, expected)


@pytest.mark.parametrize("split", [dict(devices=2, fc7_parallel=True), dict(devices=2), dict(accumulate=2)], ids=str)
def test_a_sampled_model_learns_and_trains_all_classes_in_time(monkeypatch, split):
    _, model, trainer = make_model(monkeypatch, partial_fc=0.6, margin_m=0.1, **split)
    begun, losses = values(model)["fc7_weight"], []
    for step in range(30):
        losses.append(update(model, trainer, make_batch(12, classes=3), step).read()[0].mean())
    assert losses[-1] < 0.7 * losses[0]
    assert (values(model)["fc7_weight"] != begun).any(axis=1).all()


@pytest.mark.parametrize("devices_then", [1, 2, 3])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_restored_arrays_continue_exactly_and_on_other_devices_too(monkeypatch, rate, devices_then):
    shared = dict(fc7_parallel=True, partial_fc=rate, mom=0.0)  # the network's momentum is the trainer's to keep
    _, model, trainer = make_model(monkeypatch, devices=2, **shared)
    steps(model, trainer, 0, 2)
    net, head = model.state_arrays(), model.head_arrays()
    expected = steps(model, trainer, 2, 4)
    _, other, its_trainer = make_model(monkeypatch, devices=devices_then, **shared)
    other.set_arrays(net, head)
    got = steps(other, its_trainer, 2, 4)
    if devices_then == 2:
        for name, value in expected.items():
            np.testing.assert_array_equal(got[name], value, err_msg=name)
    elif rate == 1:
        assert_same(got, expected)


def test_pretrained_fc7_is_loaded_by_shards(monkeypatch):
    _, whole, _ = make_model(monkeypatch, seed=1)
    _, sharded, _ = make_model(monkeypatch, devices=3, fc7_parallel=True)
    arguments, auxiliary = whole.network_arrays()
    sharded.take({**arguments, **auxiliary}, whole.head_arrays())
    np.testing.assert_array_equal(values(sharded)["fc7_weight"], values(whole)["fc7_weight"])


@pytest.mark.parametrize("flags", [["--fc7-parallel"], ["--fc7-parallel", "--partial-fc", 0.5],
                                   ["--partial-fc", 0.5, "--accumulate", 2],
                                   ["--margin-warmup", 5, "--clip-gradient", 0.5],
                                   ["--fc7-parallel", "--partial-fc", 0.5, "--margin-warmup", 5, "--clip-gradient", 1],
                                   ["--fc7-parallel", "--partial-fc", 0.3, "--accumulate", 2, "--loss-type", 0]],
                         ids=lambda flags: " ".join(map(str, flags)))
def test_a_resumed_run_ends_bit_for_bit_as_the_run_that_was_never_stopped(monkeypatch, data, tmp_path, flags):
    assert train(monkeypatch, data, tmp_path / "whole", *flags, "--max-steps", 7) == 0
    assert train(monkeypatch, data, tmp_path / "parts", *flags, "--max-steps", 3) == 0
    assert train(monkeypatch, data, tmp_path / "parts", *flags, "--max-steps", 7, "--resume") == 0
    for name in ("net", "head", "momentum"):
        whole, parts = (next((tmp_path / run / "state").glob(f"*7/{name}.params")).read_bytes()
                        for run in ("whole", "parts"))
        assert whole == parts
    rows = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    total = 6 * (2 if "--accumulate" in flags else 1)
    assert [row["epoch"] for row in rows] == pytest.approx([step * total / 36 for step in range(1, 8)])


@pytest.mark.parametrize("more", [["--devices", "cpu:0", "--per-batch-size", 6],
                                  ["--devices", "cpu:0,cpu:1,cpu:2", "--per-batch-size", 1, "--accumulate", 2]],
                         ids=["one device", "three devices"])
def test_a_run_continues_on_other_devices_with_the_same_total_batch(monkeypatch, data, tmp_path, caplog, more):
    flags = ["--fc7-parallel"]
    assert train(monkeypatch, data, tmp_path / "whole", *flags, "--max-steps", 4) == 0
    assert train(monkeypatch, data, tmp_path / "parts", *flags, "--max-steps", 3) == 0
    assert train(monkeypatch, data, tmp_path / "parts", *flags, *more, "--max-steps", 4, "--resume") == 0
    assert "the total batch is the same" in caplog.text
    for name in ("fc7_weight", "fc7_weight@momentum"):  # batch statistics are of other batches, so not the same bits
        whole, parts, before = (mx.nd.load(str(next((tmp_path / run / "state").glob(f"*{step}/head.params"))))[name]
                                for run, step in (("whole", 4), ("parts", 4), ("parts", 3)))
        moved, should = (value.asnumpy() - before.asnumpy() for value in (parts, whole))
        assert (moved * should).sum() > 0.5 * np.linalg.norm(moved) * np.linalg.norm(should)


LAYOUTS = {"whole": [], "parallel": ["--fc7-parallel"], "sampled": ["--partial-fc", 0.5]}


@pytest.mark.parametrize("before, after", [("whole", "parallel"), ("parallel", "whole"), ("sampled", "whole"),
                                           ("whole", "sampled")])
def test_a_run_continues_with_its_layer_kept_in_another_way(monkeypatch, data, tmp_path, caplog, before, after):
    """Weights and momentum are those of before: so without a rate, momentum alone moves them, of a sample its rows."""
    assert train(monkeypatch, data, tmp_path, *LAYOUTS[before], "--max-steps", 3) == 0
    alone = ["--lr", 1e-12, "--wd", 0]
    assert train(monkeypatch, data, tmp_path, *LAYOUTS[after], "--max-steps", 4, "--resume", *alone) == 0
    head, momentum = (mx.nd.load(str(tmp_path / "state" / "000000003" / f"{part}.params"))
                      for part in ("head", "momentum"))
    moving = 0.9 * (momentum["fc7_weight"] if before == "whole" else head["fc7_weight@momentum"]).asnumpy()
    end = mx.nd.load(str(tmp_path / "state" / "000000004" / "head.params"))["fc7_weight"].asnumpy()
    moved = end - head["fc7_weight"].asnumpy()
    rows = moved.any(axis=1) if after == "sampled" else np.ones(len(moved), bool)
    assert len(rows) / 2 <= rows.sum() < len(rows) or after != "sampled"
    np.testing.assert_allclose(moved[rows], moving[rows], rtol=1e-3, atol=1e-6)
    assert np.abs(moving).max() > 1e-4
    assert "not, to the last bit, the one that was never changed" in caplog.text


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("before, after", [(0, 4), (4, 0)])
def test_a_run_continues_by_another_loss(monkeypatch, data, tmp_path, layout, before, after):
    flags = LAYOUTS[layout]
    assert train(monkeypatch, data, tmp_path, *flags, "--loss-type", before, "--max-steps", 2) == 0
    assert train(monkeypatch, data, tmp_path, *flags, "--loss-type", after, "--max-steps", 4, "--resume") == 0
    head = mx.nd.load(str(tmp_path / "state" / "000000004" / "head.params"))
    assert ("fc7_bias" in head) == (after == 0)
    assert train(monkeypatch, data, tmp_path, *flags, "--loss-type", after, "--max-steps", 5, "--resume") == 0


def test_a_run_continues_with_another_total_batch(monkeypatch, data, tmp_path, caplog):
    assert train(monkeypatch, data, tmp_path, "--max-steps", 3) == 0
    assert train(monkeypatch, data, tmp_path, "--per-batch-size", 4, "--max-steps", 5, "--resume") == 0
    assert "total batch 6 up to step 3, 8 from there" in caplog.text
    kept = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in kept if row["kind"] == "train"] == pytest.approx(
        [images / 36 for images in (6, 12, 18, 26, 34)])
    assert train(monkeypatch, data, tmp_path, "--per-batch-size", 4, "--max-steps", 6, "--resume") == 0


@pytest.mark.parametrize("flags, words", [
    (["--partial-fc", 0], "--partial-fc 0.0"), (["--partial-fc", 1.5], "--partial-fc 1.5"),
    (["--partial-fc", "nan"], "--partial-fc nan"), (["--accumulate", 0], "--accumulate 0"),
    (["--dtype", "float16"], "--dtype float16: cpu:0 has no float16"),
    (["--fc7-parallel", "--devices", ",".join(f"cpu:{i}" for i in range(10))],
     "9 classes cannot be sharded over 10 --devices; give at most 9, or leave --fc7-parallel out")])
def test_what_cannot_be_is_one_line_before_training(monkeypatch, data, tmp_path, flags, words):
    with pytest.raises(UserError, match=words) as caught:
        train(monkeypatch, data, tmp_path / "run", *flags)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()

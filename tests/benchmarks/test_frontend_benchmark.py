"""The benchmark compares Gluon and Module on the same computation: after equal steps everything learned is equal."""
import mxnet as mx
import pytest
from small_nets import small_symbol

from benchmarks.frontend import GluonSide, ModuleSide, agreement, difference, draw_batches, make_config
from training import model

PLACE = (16, 16), 7


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setattr(model, "build_symbol", lambda spec: small_symbol(spec.emb_size))


@pytest.mark.parametrize("devices", [[mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]], ids=["one device", "two devices"])
def test_gluon_and_module_learn_the_same(devices):
    config = make_config(emb_size=6, wd=0.1, emb_wd_mult=5.0, fc7_wd_mult=3.0, lr=0.01)
    batches = draw_batches(3, 4 * len(devices), *PLACE)
    assert agreement(config, PLACE, devices, batches) < 1e-4


@pytest.mark.parametrize("changed", [{"fc7_lr_mult": 9.0}, {"emb_wd_mult": 4.0}, {"fc7_wd_mult": 2.0}, {"mom": 0.8},
                                     {"margin_m": 0.4}], ids=str)
def test_a_difference_would_be_seen(changed):
    settings = dict(emb_size=6, wd=0.1, emb_wd_mult=5.0, fc7_wd_mult=3.0, lr=0.05)
    ours = GluonSide(make_config(**settings), *PLACE, [mx.cpu(0)])
    theirs = ModuleSide(make_config(**{**settings, **changed}), *PLACE, [mx.cpu(0)], start=ours.arrays())
    for batch in draw_batches(3, 4, *PLACE):
        ours.step(batch)
        theirs.step(batch)
    assert difference(ours, theirs) > 1e-3

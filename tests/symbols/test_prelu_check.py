"""PReLU's slopes: what the CPU's own kernel gets wrong, and how training steps around a device that does."""
import mxnet as mx
import numpy as np
import pytest
from small_models import assert_same, make_batch, make_model, values

import symbols.prelu_rewrite
from symbols.prelu_check import SLOPES, slope_gradients, slope_gradients_hold
from training.step import update


def test_finite_differences_show_that_the_cpu_s_own_kernel_is_wrong():
    given, expected = slope_gradients(mx.cpu(0))
    np.testing.assert_allclose(given, np.array(SLOPES) * expected, rtol=1e-4)
    assert not slope_gradients_hold(mx.cpu(0))


@pytest.mark.parametrize("holds", [True, False])
def test_gpus_train_on_the_plain_graph_only_where_slopes_are_right(monkeypatch, caplog, holds):
    asked = []
    monkeypatch.setattr(symbols.prelu_rewrite, "slope_gradients_hold", lambda device: asked.append(device) or holds)
    symbol = symbols.build("y1", 128, "GNAP")
    caplog.set_level("INFO")
    running = symbols.prelu_rewrite.for_training(symbol, (1, 3, 112, 112), [mx.gpu(0), mx.gpu(1)])
    assert asked == [mx.gpu(0), mx.gpu(1)] and (running is symbol) == holds
    assert ('"LeakyReLU"' in running.tojson()) == holds
    assert ("gpu:0, gpu:1: MXNet's PReLU computes a wrong gradient" in caplog.text) != holds
    # What embeds or detects needs no gradient, and a network without slopes asks nothing.
    assert symbols.prelu_rewrite.for_devices(symbol, (1, 3, 112, 112), [mx.gpu(0)]) is symbol
    relu = symbols.build("y1", 128, "GNAP", version_act="relu")
    assert symbols.prelu_rewrite.for_training(relu, (1, 3, 112, 112), [mx.gpu(0)]) is relu and len(asked) == 2


@pytest.mark.parametrize("settings", [{}, {"mirror_memory": True}, {"dtype": "float16"}], ids=str)
def test_a_model_forced_around_the_device_s_kernel_updates_its_slopes_correctly(monkeypatch, settings):
    """As on a GPU: the plain graph is the first choice, and what the device says of it decides."""
    monkeypatch.setattr("training.model.to_float16",
                        lambda symbol: symbols.float16_graph.to_float16(symbol, products="float32"))
    found = {}
    for holds in (None, True, False):
        if holds is not None:
            monkeypatch.setattr(symbols.prelu_rewrite, "for_devices", lambda symbol, *more: symbol)
            monkeypatch.setattr(symbols.prelu_rewrite, "slope_gradients_hold", lambda device, holds=holds: holds)
        _, model, trainer = make_model(monkeypatch, lr=0.002, **(settings if holds is not None else {}))
        if model.scale:
            model.scale.value = 256.0
        assert model.symbol.list_arguments().count("relu_gamma") == 1
        update(model, trainer, make_batch(8), 0)
        found[holds] = values(model)
    if settings.get("dtype") == "float16":
        moved = {holds: found[holds]["relu_gamma"] - 0.25 for holds in found}
        assert np.abs(moved[False] - moved[None]).max() < 0.1 * np.abs(moved[None]).max()
        assert np.abs(moved[True] - moved[None]).max() > 0.5 * np.abs(moved[None]).max()
    else:
        assert_same(found[False], found[None])

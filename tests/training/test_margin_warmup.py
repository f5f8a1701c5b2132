"""--margin-warmup: margin and scale as functions of the step, in every layout of the classification layer."""
import math

import mxnet as mx
import numpy as np
import pytest
from gradients_cases import LAYOUTS
from small_models import assert_same, make_batch, make_model, values

from training.bound_graph import BoundGraph
from training.head.joint import JointSoftmax
from training.head.layer import Layer
from training.step import update

COSINES = np.linspace(-0.99, 0.99, 41).astype(np.float32)


def at(layer, step):
    """The scale, and the margin's value for each of COSINES, at a step."""
    layer.start_step(step)
    return layer.scale, layer.margin(mx.nd.array(COSINES)).asnumpy()


@pytest.mark.parametrize("settings", [dict(loss_type=2, margin_m=0.35), dict(loss_type=4),
                                      dict(loss_type=4, easy_margin=True), dict(loss_type=5, margin_m=0.3, margin_a=0.9,
                                                                                margin_b=0.2)])
def test_margin_and_scale_grow_in_equal_steps_from_none(settings):
    layer = Layer(1000, 8, margin_warmup=10, **settings)
    first = math.sqrt(2) * math.log(999)
    scale, moved = at(layer, 0)
    assert scale == pytest.approx(first)
    np.testing.assert_allclose(moved, COSINES, atol=1e-5)
    scale, moved = at(layer, 5)
    assert scale == pytest.approx((first + 64) / 2)
    half = {name: value / 2 for name, value in settings.items() if name in ("margin_m", "margin_b")}
    half = {**settings, "margin_m": 0.25, **half, **({"margin_a": 0.95} if "margin_a" in settings else {})}
    np.testing.assert_allclose(moved, at(Layer(1000, 8, **half), 5)[1], atol=1e-6)
    for step in (10, 11, 10 ** 6):
        scale, moved = at(layer, step)
        assert scale == 64
        np.testing.assert_array_equal(moved, at(Layer(1000, 8, **settings), 0)[1])
    assert at(layer, 3)[0] == pytest.approx(first + (64 - first) * 0.3)  # no state: an earlier step is what it was


def test_softmax_has_nothing_to_grow():
    layer = Layer(1000, 8, loss_type=0, margin_warmup=10)
    assert at(layer, 0)[0] == at(layer, 10)[0]


def test_two_classes_have_a_scale():
    assert at(Layer(2, 8, margin_warmup=10), 0)[0] > 0 and at(Layer(3, 8, margin_warmup=10), 0)[0] > 0


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if "sampled" not in name and name != "both"])
def test_every_layout_of_the_layer_grows_alike(monkeypatch, layout):
    ends = []
    for settings in ({}, LAYOUTS[layout]):
        _, model, trainer = make_model(monkeypatch, margin_warmup=3, **settings)
        for step in range(4):
            update(model, trainer, make_batch(seed=step), step)
        ends.append({name: value for name, value in values(model).items() if "@" not in name})
    assert_same(ends[1], ends[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_after_it_a_step_is_that_of_a_run_without_it_to_the_last_bit(monkeypatch, layout):
    ends = []
    for warmup in (0, 3):
        _, model, trainer = make_model(monkeypatch, margin_warmup=warmup, **LAYOUTS[layout])
        update(model, trainer, make_batch(), 3)
        ends.append(values(model))
    for name, value in ends[0].items():
        np.testing.assert_array_equal(value, ends[1][name], err_msg=name)


@pytest.mark.parametrize("settings, most", [(dict(loss_type=4), 0), (dict(loss_type=2, margin_m=0.35), 0),
                                            (dict(loss_type=5, margin_m=0.3, margin_a=0.9), 1)])
def test_no_graph_is_bound_anew_while_the_margin_grows(monkeypatch, settings, most):
    """Only where the equation itself changes: cos(a theta + m) at a = 1."""
    _, model, trainer = make_model(monkeypatch, margin_warmup=5, fc7_parallel=True, **settings)
    update(model, trainer, make_batch(seed=0), 0)
    bound, bind = [], BoundGraph.__init__
    monkeypatch.setattr(BoundGraph, "__init__", lambda *given, **more: bound.append(1) or bind(*given, **more))
    joint = JointSoftmax.__init__
    made = []
    monkeypatch.setattr(JointSoftmax, "__init__", lambda *given: made.append(1) or joint(*given))
    for step in range(1, 7):
        update(model, trainer, make_batch(seed=step), step)
    assert len(made) == most and bool(bound) == bool(most)

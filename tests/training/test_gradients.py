"""The whole gradient, of network and classification layer: seen where it is not finite, shortened where too long."""
import re

import mxnet as mx
import numpy as np
import pytest
from gradients_cases import LAYOUTS  # noqa: F401
from small_models import assert_same, make_batch, make_model, values

from training.step import update
from training.sum_of_squares import SumOfSquares

layouts = pytest.mark.parametrize("layout", LAYOUTS)


def poison_head(monkeypatch, model, value, device):
    """Make one value of the gradient of fc7's weights `value`, on one device, at every step."""
    backward = model.head.backward

    def poisoned(*arguments):
        seen = backward(*arguments)
        head = model.head
        gradient = (head.shards[device].gradients["fc7_weight"] if hasattr(head, "shards") else
                    head.fc7_weight.list_grad()[device])
        gradient[-1, 2] = value
        return seen
    monkeypatch.setattr(model.head, "backward", poisoned)


@layouts
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_gradient_of_the_head_that_is_not_finite_is_detected_and_not_applied(monkeypatch, layout, value):
    settings = LAYOUTS[layout]
    _, model, trainer = make_model(monkeypatch, **settings)
    update(model, trainer, make_batch(), 0, True)
    before = values(model)
    with monkeypatch.context() as patched:
        poison_head(patched, model, value, settings.get("devices", 1) - 1)
        result = update(model, trainer, make_batch(seed=1), 1, True)
        assert not result.finite.asscalar()
        for name, now in values(model).items():
            np.testing.assert_array_equal(now, before[name], err_msg=name)
        assert not update(model, trainer, make_batch(seed=1), 1).finite.asscalar()


@layouts
def test_a_step_after_a_skipped_one_is_the_step_without_it(monkeypatch, layout):
    ends = []
    for skipped in (False, True):
        with monkeypatch.context() as patched:
            _, model, trainer = make_model(patched, **LAYOUTS[layout])
            if skipped:
                with monkeypatch.context() as poisoned:
                    poison_head(poisoned, model, np.inf, 0)
                    update(model, trainer, make_batch(seed=1), 1, True)
            update(model, trainer, make_batch(), 0, True)
            ends.append(values(model))
    for name, value in ends[0].items():
        np.testing.assert_array_equal(value, ends[1][name], err_msg=name)


def moved(monkeypatch, clip, **settings):
    """By what one step without decay moves every parameter, by name."""
    _, model, trainer = make_model(monkeypatch, wd=0.0, lr=1.0, clip_gradient=clip, **settings)
    before = values(model)
    update(model, trainer, make_batch(), 0)
    return {name: value - before[name] for name, value in values(model).items() if not re.search("moving|@", name)}


def norm(arrays):
    return np.sqrt(sum(float((value.astype(np.float64) ** 2).sum()) for value in arrays.values()))


@layouts
def test_a_gradient_that_is_too_long_is_shortened_as_a_whole(monkeypatch, layout):
    free = moved(monkeypatch, 0.0, **LAYOUTS[layout])
    clipped = moved(monkeypatch, norm(free) / 4, **LAYOUTS[layout])
    assert norm(clipped) == pytest.approx(norm(free) / 4, rel=1e-4)
    assert_same(clipped, {name: value / 4 for name, value in free.items()}, rtol=1e-3)


def test_a_shorter_gradient_is_left_alone_to_the_last_bit(monkeypatch):
    free = moved(monkeypatch, 0.0)
    for name, value in moved(monkeypatch, norm(free) * 1.01).items():
        np.testing.assert_array_equal(value, free[name])


@layouts
def test_the_norm_does_not_depend_on_the_layout(monkeypatch, layout):
    if "sampled" in layout or layout == "both":
        pytest.skip("another gradient")
    whole = moved(monkeypatch, 0.05)
    assert_same(moved(monkeypatch, 0.05, **LAYOUTS[layout]), whole, rtol=1e-4)


def test_squares_are_added_over_devices():
    arrays = [mx.nd.full((3, 2), 2, ctx=mx.cpu(0)), mx.nd.full((5,), 3, ctx=mx.cpu(1)), mx.nd.ones((2,), ctx=mx.cpu(0))]
    squares = SumOfSquares()
    assert squares(arrays).asscalar() == 24 + 45 + 2
    arrays[2][:] = 3
    assert squares(arrays).asscalar() == 24 + 45 + 18
    assert squares([*arrays[:2], mx.nd.ones((7,))]).asscalar() == 24 + 45 + 7

"""Each margin against plain float64 numpy over 0 to 180 degrees, and what happens at the ends and beyond."""
import math

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from common.errors import UserError
from training.head.margins import arcface, combined, cosface, make_margin, no_margin

ANGLES = np.radians(np.arange(0.05, 180, 0.05))
PAST = 1.0000001  # rounds to the float32 next above 1


def ours(function, cosines):
    """Values and gradients, float64."""
    given = mx.nd.array(cosines, dtype=np.float32)
    given.attach_grad()
    with autograd.record():
        values = function(given)
    values.backward()
    return values.asnumpy().astype(np.float64), given.grad.asnumpy().astype(np.float64)


def sweep():
    """Cosines as float32 holds them, in float64."""
    return np.cos(ANGLES).astype(np.float32).astype(np.float64)


def turned(cosines, m, a=1.0):
    """cos(a * theta + m) and its slope by the cosine, by arccos."""
    theta = np.arccos(cosines)
    return np.cos(a * theta + m), a * np.sin(a * theta + m) / np.sin(theta)


def arcface_by_numpy(cosines, m, easy):
    values, slopes = turned(cosines, m)
    keep = cosines <= 0 if easy else np.arccos(cosines) + m >= math.pi
    instead = cosines if easy else cosines - math.sin(m) * m  # sin(pi - m) = sin(m)
    return np.where(keep, instead, values), np.where(keep, 1.0, slopes)


def check(function, cosines, values, slopes):
    got_values, got_slopes = ours(function, cosines)
    np.testing.assert_allclose(got_values, values, atol=1.5e-6, rtol=0)
    np.testing.assert_allclose(got_slopes, slopes, atol=5e-6, rtol=5e-6)


def test_the_numpy_slopes_are_those_of_its_values():
    cosines, small = np.cos(np.radians(np.arange(5, 175, 0.5))), 1e-6
    for m, a in ((0.5, 1.0), (0.3, 0.9), (0.0, 1.3)):
        measured = (turned(cosines + small, m, a)[0] - turned(cosines - small, m, a)[0]) / (2 * small)
        np.testing.assert_allclose(turned(cosines, m, a)[1], measured, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("m", [0.0, 0.35, 1.2])
def test_cosface_takes_m_off_the_cosine(m):
    cosines = sweep()
    check(lambda c: cosface(c, m), cosines, cosines - m, np.ones_like(cosines))


@pytest.mark.parametrize("easy", [False, True])
@pytest.mark.parametrize("m", [0.1, 0.5, 1.0, 1.5])
def test_arcface_turns_the_angle(m, easy):
    cosines = sweep()
    check(lambda c: arcface(c, m, easy), cosines, *arcface_by_numpy(cosines, m, easy))


@pytest.mark.parametrize("m, a, b", [(0.5, 1.0, 0.0), (0.3, 1.0, 0.2), (0.4, 0.9, 0.15), (0.0, 1.35, 0.0),
                                     (0.0, 1.0, 0.35), (0.2, 1.7, 0.1)])
def test_combined_is_insightfaces_formula_and_continues_beyond_pi(m, a, b):
    cosines = sweep()
    values, slopes = turned(cosines, m, a)
    check(lambda c: combined(c, m, a, b), cosines, values - b, slopes)


@pytest.mark.parametrize("m", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("easy", [False, True])
def test_both_sides_of_arcfaces_kink(m, easy):
    kink = 0.0 if easy else math.cos(math.pi - m)
    cosines = (kink + np.array([-1e-3, -1e-6, 1e-6, 1e-3])).astype(np.float32).astype(np.float64)
    values, slopes = arcface_by_numpy(cosines, m, easy)
    check(lambda c: arcface(c, m, easy), cosines, values, slopes)
    step = values[2] - values[1]  # the margin comes with a step on either kink, in opposite directions
    assert step == pytest.approx(-math.sin(m) if easy else -1 + math.cos(m) + m * math.sin(m), abs=1e-4)


def test_easy_margin_leaves_a_cosine_of_exactly_0_alone():
    assert ours(lambda c: arcface(c, 0.5, easy_margin=True), [0.0])[0] == 0
    assert ours(lambda c: arcface(c, 0.5), [0.0])[0] == pytest.approx(-math.sin(0.5))


def test_arcface_without_easy_margin_is_never_above_the_cosine_and_grows_with_it_on_each_side():
    cosines = np.sort(sweep())
    values = ours(lambda c: arcface(c, 0.5), cosines)[0]
    assert (values < cosines).all()
    above = cosines > math.cos(math.pi - 0.5)
    assert (np.diff(values[above]) > 0).all() and (np.diff(values[~above]) > 0).all()


@pytest.mark.parametrize("function", [no_margin, lambda c: cosface(c, 0.0), lambda c: arcface(c, 0.0),
                                      lambda c: arcface(c, 0.0, True), lambda c: combined(c, 0.0)])
def test_without_a_margin_the_cosine_comes_back_as_it_is(function):
    cosines = np.concatenate([sweep(), [-PAST, -1, 0, 1, PAST]])
    values, slopes = ours(function, cosines)
    np.testing.assert_array_equal(values, cosines.astype(np.float32))
    np.testing.assert_array_equal(slopes, np.ones_like(cosines))


@pytest.mark.parametrize("function, at_one, at_minus_one", [
    (lambda c: cosface(c, 0.35), 0.65, -1.35),
    (lambda c: arcface(c, 0.5), math.cos(0.5), -1 - 0.5 * math.sin(0.5)),
    (lambda c: arcface(c, 0.5, True), math.cos(0.5), -1),
    (lambda c: combined(c, 0.3, 1.0, 0.2), math.cos(0.3) - 0.2, math.cos(math.pi + 0.3) - 0.2),
    (lambda c: combined(c, 0.4, 0.9, 0.15), math.cos(0.4) - 0.15, math.cos(0.9 * math.pi + 0.4) - 0.15),
    (lambda c: combined(c, 0.0, 1.3, 0.0), 1, math.cos(1.3 * math.pi))])
def test_values_and_gradients_stay_finite_at_the_ends_and_a_hair_past(function, at_one, at_minus_one):
    hair = np.nextafter(np.float32(1), np.float32(0))  # the last float32 inside
    cosines = np.array([1, PAST, 1.00001, hair, -1, -PAST, -1.00001, -hair], np.float32)
    assert cosines[1] > 1 and cosines[5] < -1
    values, slopes = ours(function, cosines)
    np.testing.assert_allclose(values[:4], at_one, atol=5e-4)
    np.testing.assert_allclose(values[4:], at_minus_one, atol=6e-4)
    assert np.isfinite(slopes).all()
    assert np.abs(slopes).max() < 1e4  # 1 / sin(theta) of the last float32 inside is 2,900


@pytest.mark.parametrize("loss_type, same", [(0, no_margin), (2, lambda c: cosface(c, 0.4)),
                                             (4, lambda c: arcface(c, 0.4)),
                                             (5, lambda c: combined(c, 0.4, 0.9, 0.1))])
def test_make_margin_picks_by_loss_type(loss_type, same):
    made = make_margin(loss_type, m=0.4, a=0.9, b=0.1)
    np.testing.assert_array_equal(ours(made, sweep())[0], ours(same, sweep())[0])


def test_make_margin_passes_the_easy_margin_on():
    np.testing.assert_array_equal(ours(make_margin(4, 0.4, easy_margin=True), sweep())[0],
                                  ours(lambda c: arcface(c, 0.4, True), sweep())[0])


@pytest.mark.parametrize("arguments, flag", [
    ((1,), "`loss_type`"), ((3,), "`loss_type`"), ((2, -0.1), "`margin_m`"), ((2, 28.6), "`margin_m`"),
    ((4, -0.5), "`margin_m`"), ((4, 28.6), "`margin_m`"), ((4, math.nan), "`margin_m`"), ((5, -0.1), "`margin_m`"),
    ((5, 0.3, 0.0), "`margin_a`"), ((5, 0.3, math.inf), "`margin_a`"), ((5, 0.3, 1.0, -0.2), "`margin_b`"),
    ((5, 0.3, 1.0, math.inf), "`margin_b`")])
def test_senseless_margins_are_refused_by_their_name(arguments, flag):
    with pytest.raises(UserError, match=flag):
        make_margin(*arguments)


def test_the_edges_of_what_is_allowed():
    for arguments in ((0, 99.0), (2, 0.0), (4, 0.0), (4, 1.5), (5, 0.0, 0.1, 0.0)):
        make_margin(*arguments)

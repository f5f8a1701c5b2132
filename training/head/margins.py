"""Margin functions: the target logit as a function of the cosine to the target class's weight.

Pure functions of cosines (n,), an NDArray or a Symbol, which MXNet differentiates. Cosines computed in float32 do
get past 1; values and gradients stay finite there: sines come from (1 - c)(1 + c) clipped at TINY, which is exact
to rounding near both ends, where 1 - c * c is not.
"""
from __future__ import annotations

import math
from typing import Any, Callable, TypeVar

import mxnet as mx

from common.errors import UserError

SOFTMAX, COSFACE, ARCFACE, COMBINED = 0, 2, 4, 5
TINY = 1e-12  # below the smallest (1 - c)(1 + c) of a float32 c inside (-1, 1), which is 1.2e-7

Values = TypeVar("Values", mx.nd.NDArray, mx.sym.Symbol)
Margin = Callable[[Any], Any]  # of one type of Values to the same


def make_margin(loss_type: int, m: float = 0.0, a: float = 1.0, b: float = 0.0, easy_margin: bool = False) -> Margin:
    """The margin of `loss_type`: a function from cosines (n,) to cosines with the margin (n,).

    0 softmax: none; 2 CosFace: c - m; 4 ArcFace: cos(theta + m); 5 combined: cos(a * theta + m) - b.
    UserError for another loss type, or a margin the loss is not defined for.
    """
    if loss_type == SOFTMAX:
        return no_margin
    if loss_type == COSFACE:
        _check("`margin_m`", m, 2.0, "CosFace takes a cosine from 0 to below 2 (0.35 is usual)")
        return lambda cosine: cosface(cosine, m)
    if loss_type == ARCFACE:
        _check("`margin_m`", m, math.pi / 2, "ArcFace takes an angle from 0 to below pi/2, in radians (0.5 is usual)")
        return lambda cosine: arcface(cosine, m, easy_margin)
    if loss_type == COMBINED:
        if not 0 < a < math.inf:
            raise UserError(f"`margin_a` {a:g}: the factor of the angle is above 0 (1 leaves the angle unchanged)")
        _check("`margin_m`", m, math.pi / 2, "the combined loss takes an angle from 0 to below pi/2, in radians")
        _check("`margin_b`", b, 2.0, "the combined loss takes a cosine from 0 to below 2")
        return lambda cosine: combined(cosine, m, a, b)
    raise UserError(f"`loss_type` {loss_type}: 0 softmax, 2 CosFace, 4 ArcFace or 5 combined")


def _check(flag: str, value: float, below: float, allowed: str) -> None:
    if not 0 <= value < below:  # so that nan is rejected too
        raise UserError(f"{flag} {value:g}: {allowed}")


def no_margin(cosine: Values) -> Values:
    """Plain softmax: the value unchanged."""
    return cosine


def cosface(cosine: Values, m: float) -> Values:
    """CosFace (Wang et al. 2018): c - m."""
    return cosine - m


def arcface(cosine: Values, m: float, easy_margin: bool = False) -> Values:
    """ArcFace (Deng et al. 2018): cos(theta + m), m in radians.

    Where theta + m would exceed pi, and cos(theta + m) increase again, the value is c - m sin(pi - m) instead, as in
    InsightFace of 2018. easy_margin: where c <= 0 the value is c itself, and cos(theta + m) elsewhere.
    """
    moved = _rotate(cosine, m)
    operators = mx.sym if isinstance(cosine, mx.sym.Symbol) else mx.nd
    if easy_margin:
        return operators.where(cosine > 0, moved, cosine)
    return operators.where(cosine > math.cos(math.pi - m), moved, cosine - math.sin(math.pi - m) * m)


def combined(cosine: Values, m: float, a: float = 1.0, b: float = 0.0) -> Values:
    """cos(a * theta + m) - b, m in radians; no special case beyond pi, as in InsightFace."""
    moved = _rotate(cosine, m) if a == 1.0 else (_angle(cosine) * a + m).cos()
    return moved - b


def _rotate(cosine: Values, m: float) -> Values:
    """cos(theta + m) by angle addition: no arccos, whose gradient is infinite at both ends."""
    if m == 0:
        return cosine
    sine = ((1 - cosine) * (1 + cosine)).clip(TINY, 1.0).sqrt()
    return cosine * math.cos(m) - sine * math.sin(m)


def _angle(cosine: Values) -> Values:
    """theta in (0, pi): 2 arctan(tan(theta / 2)), its cosine kept TINY inside the domain.

    arccos itself loses precision of its gradient near both ends, and has none at +-1.
    """
    below, above = (1 - cosine).clip(TINY, 2.0), (1 + cosine).clip(TINY, 2.0)
    return 2 * (below / above).sqrt().arctan()

"""Margin functions: the target logit as a function of the cosine to the target class's weight.

Pure functions of cosines (n,), an NDArray or a Symbol, which MXNet differentiates. Cosines computed in float32 do
get past 1; values and gradients stay finite there: sines come from (1 - c)(1 + c) clipped at TINY, which is exact
to rounding near both ends, where 1 - c * c is not.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Sequence, TypeVar

import mxnet as mx

from common.errors import UserError

SOFTMAX, COSFACE, ARCFACE, COMBINED = 0, 2, 4, 5
TINY = 1e-12  # below the smallest (1 - c)(1 + c) of a float32 c inside (-1, 1), which is 1.2e-7

Values = TypeVar("Values", mx.nd.NDArray, mx.sym.Symbol)


@dataclass(frozen=True)
class Margin:
    """A function from cosines (n,), an NDArray or a Symbol, to cosines with the margin (n,).

    form: its equation, one of FORMS; numbers: what stands in that, which may be arrays of (n,) in its place.
    """

    form: str
    numbers: tuple[float, ...] = ()

    def __call__(self, cosine: Values, numbers: Sequence[Any] | None = None) -> Values:
        return FORMS[self.form](cosine, *(self.numbers if numbers is None else numbers))


def make_margin(loss_type: int, m: float = 0.0, a: float = 1.0, b: float = 0.0, easy_margin: bool = False) -> Margin:
    """The margin of `loss_type`: a function from cosines (n,) to cosines with the margin (n,).

    0 softmax: none; 2 CosFace: c - m; 4 ArcFace: cos(theta + m); 5 combined: cos(a * theta + m) - b.
    UserError for another loss type, or a margin the loss is not defined for.
    """
    if loss_type == SOFTMAX:
        return Margin("none")
    if loss_type == COSFACE:
        _check("`margin_m`", m, 2.0, "CosFace takes a cosine from 0 to below 2 (0.35 is usual)")
        return Margin("cosface", (m,))
    if loss_type == ARCFACE:
        _check("`margin_m`", m, math.pi / 2, "ArcFace takes an angle from 0 to below pi/2, in radians (0.5 is usual)")
        kept = () if easy_margin else (math.cos(math.pi - m), math.sin(math.pi - m) * m)
        return Margin("easy arcface" if easy_margin else "arcface", (math.cos(m), math.sin(m), *kept))
    if loss_type == COMBINED:
        if not 0 < a < math.inf:
            raise UserError(f"`margin_a` {a:g}: the factor of the angle is above 0 (1 leaves the angle unchanged)")
        _check("`margin_m`", m, math.pi / 2, "the combined loss takes an angle from 0 to below pi/2, in radians")
        _check("`margin_b`", b, 2.0, "the combined loss takes a cosine from 0 to below 2")
        return Margin("rotated", (math.cos(m), math.sin(m), b)) if a == 1.0 else Margin("combined", (a, m, b))
    raise UserError(f"`loss_type` {loss_type}: 0 softmax, 2 CosFace, 4 ArcFace or 5 combined")


def _check(flag: str, value: float, below: float, allowed: str) -> None:
    if not 0 <= value < below:  # so that nan is rejected too
        raise UserError(f"{flag} {value:g}: {allowed}")


def no_margin(cosine: Values) -> Values:
    """Plain softmax: the value unchanged."""
    return cosine


def cosface(cosine: Values, m: float) -> Values:
    """CosFace (Wang et al. 2018): c - m."""
    return make_margin(COSFACE, m)(cosine)


def arcface(cosine: Values, m: float, easy_margin: bool = False) -> Values:
    """ArcFace (Deng et al. 2018): cos(theta + m), m in radians.

    Where theta + m would exceed pi, and cos(theta + m) increase again, the value is c - m sin(pi - m) instead, as in
    InsightFace of 2018. easy_margin: where c <= 0 the value is c itself, and cos(theta + m) elsewhere.
    """
    return make_margin(ARCFACE, m, easy_margin=easy_margin)(cosine)


def combined(cosine: Values, m: float, a: float = 1.0, b: float = 0.0) -> Values:
    """cos(a * theta + m) - b, m in radians; no special case beyond pi, as in InsightFace."""
    return make_margin(COMBINED, m, a, b)(cosine)


def _arcface(cosine: Values, cos_m: Any, sin_m: Any, last: Any, less: Any) -> Values:
    return _operators(cosine).where(cosine > last, _rotate(cosine, cos_m, sin_m), cosine - less)


def _easy_arcface(cosine: Values, cos_m: Any, sin_m: Any) -> Values:
    return _operators(cosine).where(cosine > 0, _rotate(cosine, cos_m, sin_m), cosine)


def _rotate(cosine: Values, cos_m: Any, sin_m: Any) -> Values:
    """cos(theta + m) by angle addition: no arccos, whose gradient is infinite at both ends."""
    sine = ((1 - cosine) * (1 + cosine)).clip(TINY, 1.0).sqrt()
    return cosine * cos_m - sine * sin_m


def _angle(cosine: Values) -> Values:
    """theta in (0, pi): 2 arctan(tan(theta / 2)), its cosine kept TINY inside the domain.

    arccos itself loses precision of its gradient near both ends, and has none at +-1.
    """
    below, above = (1 - cosine).clip(TINY, 2.0), (1 + cosine).clip(TINY, 2.0)
    return 2 * (below / above).sqrt().arctan()


def _operators(values: Values) -> Any:
    return mx.sym if isinstance(values, mx.sym.Symbol) else mx.nd


FORMS: dict[str, Callable[..., Any]] = {
    "none": no_margin, "cosface": lambda cosine, m: cosine - m, "arcface": _arcface, "easy arcface": _easy_arcface,
    "rotated": lambda cosine, cos_m, sin_m, b: _rotate(cosine, cos_m, sin_m) - b,
    "combined": lambda cosine, a, m, b: (_angle(cosine) * a + m).cos() - b}

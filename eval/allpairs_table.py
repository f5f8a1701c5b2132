"""What `allpairs` prints."""
from __future__ import annotations

from textwrap import indent
from typing import Sequence

import numpy as np

from common.foreign import shown
from eval.bootstrap import interval, share_of_other_sign
from eval.operating_points import marked
from eval.quality import Kept
from eval.set_scoring import ScoredModel
from eval.slices import Slice
from eval.verify_table import aligned, fixed_table


def table(results: Sequence[ScoredModel]) -> str:
    """A block for each model: a row for every FPR, with interval, false accepts and threshold; their identities; then
    rates at other thresholds, slices and error against discard where there are any."""
    lines = []
    for result in results:
        lines.append(_head(result))
        lines.append(f"  {'FPR':>7}  {'TPR %':>7}  {'95% interval':>16}  {'false accepts':>13}  {'distance':>8}  "
                     f"{'cosine':>7}" + ("" if result is results[0] else "  difference to the first (other sign)"))
        lines += _rows(result, results[0])
        behind = result.blamed
        if behind["count"]:
            lines.append(f"  the {behind['count']} false accepts at FPR {_blamed_at(result):g} are of "
                         f"{behind['people']} identities; {100 * behind['top_share']:.1f}% involve one of "
                         + ", ".join(shown(name) for name, _ in behind["top"]))
        fixed = fixed_table({"all pairs": result.fixed})
        lines += [*([indent(fixed, "  ")] if fixed else []), *_slices(result), *_quality(result)]
    return "\n".join(lines)


def _head(result: ScoredModel) -> str:
    line = f"{result.model}: {len(result.scored.genuine)} genuine, {result.scored.impostors} impostor pairs"
    for name, rate in (("EER", result.eer), ("AUC", result.auc)):
        limits = f" ({_limits(result.draws[name.lower()])})" if result.draws else ""
        line += f", {name} {100 * rate:.2f}%{limits}"
    return line


def _rows(result: ScoredModel, first: ScoredModel) -> list[str]:
    lines = []
    for number, point in enumerate(result.points):
        draws = result.draws.get(f"{point.fpr_target:g}") if point.tpr is not None else None
        rate = marked(point.tpr, point.false_accepts, number=False)
        line = (f"  {point.fpr_target:>7g}  {rate:>7}  {'' if draws is None else _limits(draws):>16}  "
                f"{point.false_accepts:>13}  {point.threshold:>8.4f}  {point.cosine:>7.4f}")
        theirs = first.points[number].tpr
        if draws is not None and result is not first and point.tpr is not None and theirs is not None:
            change = 100 * (point.tpr - theirs)
            apart = draws - first.draws[f"{point.fpr_target:g}"]
            limits = interval(apart)
            line += (f"  {change:+.2f} [{100 * limits.low:+.2f}, {100 * limits.high:+.2f}] "
                     f"({100 * share_of_other_sign(change, apart):.1f}%)")
        lines.append(line)
    return lines


def _slices(result: ScoredModel) -> list[str]:
    if not result.slices:
        return []
    point = result.at
    rows = [["groups", "genuine", "TPR %", "95% interval", "impostors", "FPR %", "95% interval", "false accepts"]]
    rows += [_slice(one) for one in result.slices]
    where = f"all have FPR {point.fpr_target:g}" if point.tpr is not None else "no impostor pair is accepted"
    return [f"  groups at one threshold, distance {point.threshold:.4f}, where {where}:",
            indent(aligned(rows), "  ")]


def _blamed_at(result: ScoredModel) -> float:
    return next((point.fpr_target for point in result.points if point.false_accepts == result.blamed["count"]),
                result.points[0].fpr_target)


def _slice(one: Slice) -> list[str]:
    return [_name(one), str(one.genuine), one.marked_tpr, _pair(one.tpr_limits, 2),
            str(one.impostors), "-" if one.fpr is None else f"{'~' if one.few else ''}{100 * one.fpr:.4f}",
            _pair(one.fpr_limits, 4), str(one.false_accepts)]


def _name(one: Slice) -> str:
    return one.left if one.left == one.right else f"{one.left} - {one.right}"


def _quality(result: ScoredModel) -> list[str]:
    curves = [("all", result.quality), *((_name(one), one.quality) for one in result.slices)]
    rows = [["groups", "left out %", "norm from", "genuine", "FNMR %", "95% interval", "FPR %"]]
    for name, curve in curves:
        rows += [_kept(name, kept) for kept in curve]
    if len(rows) == 1:
        return []
    return [f"  error as the pairs of smallest norm are left out, at distance {result.at.threshold:.4f}:",
            indent(aligned(rows), "  ")]


def _kept(name: str, kept: Kept) -> list[str]:
    return [name, f"{100 * kept.discarded:.0f}", f"{kept.norm:.2f}", str(kept.genuine), f"{100 * kept.fnmr:.2f}",
            _pair(kept.limits, 2), "-" if kept.fpr is None else f"{100 * kept.fpr:.4f}"]


def _limits(draws: np.ndarray) -> str:
    limits = interval(draws)
    return f"{100 * limits.low:.2f} to {100 * limits.high:.2f}"


def _pair(limits: tuple[float, float] | None, digits: int) -> str:
    return "-" if limits is None else f"{100 * limits[0]:.{digits}f} to {100 * limits[1]:.{digits}f}"

"""The text output of `robustness`."""
from __future__ import annotations

from textwrap import indent
from typing import Mapping, Sequence

from eval.operating_points import marked
from eval.robustness_curve import Setting
from eval.verify_table import aligned, fixed_table


def table(curves: Mapping[str, Sequence[Setting]]) -> str:
    """A block for each model and FPR, a row for each misalignment; rates at the user's thresholds where there are."""
    lines = []
    for name, curve in curves.items():
        for place, point in enumerate(curve[0].points):
            there = f", and at the threshold of the aligned set (distance {point.threshold:.4f})" if place == 0 else ""
            head = ["crops", "TPR %", "95% interval", "false accepts"]
            rows = [head + ["TPR % there", "FPR % there"] * (place == 0)]
            rows += [_row(setting, place) for setting in curve]
            lines += [f"{name}: TPR at FPR {point.fpr_target:g}{there}", indent(aligned(rows), "  ")]
        fixed = fixed_table({str(setting.how): setting.fixed for setting in curve})
        lines += [indent(fixed, "  ")] if fixed else []
    return "\n".join(lines)


def _row(setting: Setting, place: int) -> list[str]:
    point, limits = setting.points[place], setting.all_limits[place]
    rate = marked(point.tpr, point.false_accepts, number=False)
    accepts = round(setting.fixed_fpr * point.impostors)
    there = [marked(setting.fixed_tpr, accepts), f"{100 * setting.fixed_fpr:.4f}"] if place == 0 else []
    return [str(setting.how), rate, f"{100 * limits[0]:.2f} to {100 * limits[1]:.2f}" if limits else "",
            str(point.false_accepts), *there]

"""The text output of `verify`: aligned columns, rates in percent, with false accepts."""
from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from common.foreign import shown
from eval.bootstrap import interval
from eval.fixed_threshold import FixedPoint
from eval.operating_points import FEW, marked
from eval.pair_scoring import ScoredSet


def table(found: Mapping[str, ScoredSet]) -> str:
    """A row for each set. A TPR based on few false accepts has a ~ and their number, one based on none is a dash."""
    fprs = list(next(iter(found.values())).result.tprs)
    rows = [["set", "pairs", "accuracy %", "+-", *(f"TPR@FPR={100 * rate:g}%" for rate in fprs), "EER %", "AUC %",
             "XNorm", "threshold", "seconds"]]
    for name, scored in found.items():
        result = scored.result
        rows.append([name, str(result.pairs), f"{100 * result.accuracy:.2f}", f"{100 * result.accuracy_std:.2f}",
                     *(marked(point.tpr, point.false_accepts) for point in scored.statistics.points),
                     f"{100 * result.eer:.2f}", f"{100 * result.auc:.3f}",
                     f"{result.xnorm:.2f}" if np.isfinite(result.xnorm) else "-", f"{result.threshold:.3f}",
                     f"{result.seconds:.1f}"])
    return aligned(rows)


def interval_table(found: Mapping[str, ScoredSet]) -> str:
    """What the rates rest on, a row for each set: the 95% interval of every rate where there are resamples, and the
    false accepts behind each TPR."""
    names = _in_order(dict.fromkeys(name for scored in found.values() for name in scored.statistics.draws))
    rows = [["95% interval" if names else "set", *map(_title, names), "false accepts"]]
    for title, scored in found.items():
        cells = []
        refused = {f"{point.fpr_target:g}" for point in scored.statistics.points if point.tpr is None}
        for name in names:
            limits = interval(scored.statistics.draws[name])
            cells.append("-" if name in refused or not np.isfinite(limits.low)
                         else f"{100 * limits.low:.2f} to {100 * limits.high:.2f}")
        rows.append([title, *cells, ", ".join(str(point.false_accepts) for point in scored.statistics.points)])
    return aligned(rows)


def difference_table(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """By set and rate the differences of a model to the first, as `Statistics.as_row` has them, in percentage points;
    "" where there are none."""
    rows = [["difference", "to", "rate", "points", "95% interval", "other sign"]]
    for title, rates in found.items():
        for name in _in_order(rates):
            value, (low, high), other = (rates[name][key] for key in ("value", "interval", "other_sign"))
            rows.append([title, rates[name]["to"], _title(name).replace(" %", ""), f"{100 * value:+.2f}", *(
                (f"{100 * low:+.2f} to {100 * high:+.2f}", f"{100 * other:.1f}%") if np.isfinite(low) else ("-", "-"))])
    return aligned(rows) if len(rows) > 1 else ""


def _in_order(names: Iterable[str]) -> list[str]:
    """Rates as the first table has them: the accuracy, TPR by FPR, EER, AUC."""
    last = {"accuracy": 0, "eer": 2, "auc": 3}
    return sorted(names, key=lambda name: last.get(name, 1))


def _title(name: str) -> str:
    titles = {"accuracy": "accuracy %", "eer": "EER %", "auc": "AUC %"}
    return titles.get(name) or f"TPR@FPR={100 * float(name):g}%"


def fixed_table(found: Mapping[str, Sequence[FixedPoint]]) -> str:
    """Rates at thresholds that were not chosen on the set itself; "" where there are none."""
    return aligned(fixed_rows(found)) if any(found.values()) else ""


def fixed_rows(found: Mapping[str, Sequence[FixedPoint]]) -> list[list[str]]:
    """The cells of `fixed_table`, its head first."""
    rows = [["at a threshold", "from", "distance", "cosine", "TPR %", "95% interval", "FPR achieved %", "95% interval",
             "false accepts", "accuracy %"]]
    for name, points in found.items():
        for point in points:
            origin = f"{point.chosen_on} at {100 * point.fpr_target:g}%" if point.fpr_target is not None else "given"
            rows.append([name, origin, f"{point.threshold:.4f}", f"{point.cosine:.4f}",
                         marked(point.tpr, point.false_accepts, number=False), _limits(point.tpr_limits, 2),
                         f"{'~' if point.false_accepts < FEW else ''}{100 * point.fpr:.4f}",
                         _limits(point.fpr_limits, 4), f"{point.false_accepts} of {point.impostors}",
                         f"{100 * point.accuracy:.2f}"])
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first to the left; names in them are escaped, so that a row is one line."""
    rows = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width
                                                           in zip(row[1:], widths[1:]))]).rstrip() for row in rows)


def _limits(limits: tuple[float, float] | None, digits: int) -> str:
    return f"{100 * limits[0]:.{digits}f} to {100 * limits[1]:.{digits}f}" if limits else "-"

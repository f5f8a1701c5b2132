"""The results of 1:N identification, as a table and for JSON."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from eval.bootstrap import differences, interval
from eval.operating_points import OperatingPoint
from eval.templates.identification import Search

RANKS = (1, 5, 10)


def table(found: Mapping[str, Search], draws: Mapping[str, Mapping[str, np.ndarray]], fpirs: Sequence[float]) -> str:
    """A block for each gallery: how many probes, hit rates by rank, FNIR by FPIR with the number of false alarms."""
    lines = []
    for name, one in found.items():
        mated = int(one.mated.sum())
        lines.append(f"1:N, {name}: {mated} probes of people in the gallery, {len(one.mated) - mated} of others")
        for rank in RANKS:
            lines.append(f"  {f'rank {rank}':<14}  {100 * one.hit_rate(rank):>8.2f} %"
                         f"{_limits(draws[name].get(f'rank {rank}'))}")
        for fpir in fpirs if mated < len(one.mated) else ():
            point = one.misses(fpir)
            rate = "-" if point.tpr is None else f"{'~' if point.few else ''}{100 * (1 - point.tpr):.2f}"
            known = draws[name].get(f"fnir {fpir:g}") if point.tpr is not None else None
            lines.append(f"  {f'FNIR@FPIR {fpir:g}':<14}  {rate:>8} %{_limits(known)}  {point.false_accepts} false "
                         f"alarms, distance {point.threshold:.4f}, cosine {point.cosine:.4f}")
    return "\n".join(lines)


@dataclass(frozen=True)
class Searched:
    """The results of a model, by its name, in a gallery; draws: by rate its values on the resamples, {} for none."""

    model: str
    found: Search
    draws: Mapping[str, np.ndarray]

    def points(self, fpirs: Sequence[float]) -> dict[str, OperatingPoint]:
        """By FPIR; none where every probe is mated."""
        return {} if self.found.mated.all() else {f"{fpir:g}": self.found.misses(fpir) for fpir in fpirs}

    def rates(self, fpirs: Sequence[float]) -> dict[str, float | None]:
        """By their names in `draws`; None for a FNIR without a false alarm behind it."""
        return {**{f"rank {rank}": self.found.hit_rate(rank) for rank in RANKS},
                **{f"fnir {name}": None if point.tpr is None else 1 - point.tpr
                   for name, point in self.points(fpirs).items()}}


def as_row(made: Searched, fpirs: Sequence[float], first: Searched | None = None) -> dict[str, Any]:
    """For JSON: rates from 0 to 1; false_accepts are probes of others with any answer above the threshold. first: of
    the model that differences are to; none to itself."""
    found, draws, rates, points = made.found, made.draws, made.rates(fpirs), made.points(fpirs)
    limits = {name: interval(values) for name, values in draws.items() if rates[name] is not None}
    row = {"mated": int(found.mated.sum()), "non_mated": int((~found.mated).sum()),
            "rank": {str(rank): found.hit_rate(rank) for rank in RANKS},
            "fnir_at_fpir": {name: rates[f"fnir {name}"] for name in points},
            "false_accepts": {name: point.false_accepts for name, point in points.items()},
            "thresholds": {name: {"threshold": point.threshold, "cosine": point.cosine, "fpir": point.fpr,
                                  "false_accepts": point.false_accepts, "few": point.few}
                           for name, point in points.items()},
            "interval": {name: [one.low, one.high] for name, one in limits.items()}}
    if first is not None and first is not made and draws:
        row["difference"] = differences(first.model, rates, first.rates(fpirs), draws, first.draws)
    return row


def _limits(draws: np.ndarray | None) -> str:
    if draws is None:
        return ""
    limits = interval(draws)
    return f"  [{100 * limits.low:.2f}, {100 * limits.high:.2f}]" if np.isfinite(limits.low) else ""

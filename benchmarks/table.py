"""A row of the table of speed and memory, and the networks of its rows."""
from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Sequence

NETWORKS = {"MobileFaceNet": ("y1", 128, "GDC"), "LResNet18E": ("r18", 512, "E")}  # network, emb_size, version_output
SIDE = 112  # height and width of an image


@dataclass(frozen=True)
class Row:
    """A measured figure, its bound and target (None: none), and both sides in words.

    turns: the figure in each turn, whose median counts; one where there are no turns. least: whether it is to be at
    most that much, as a share is; else at least. negligible: a difference, in the figure's unit, that nobody would
    notice.
    """

    what: str
    turns: Sequence[float]
    must: float | None
    aim: float | None
    detail: str
    least: bool = False
    negligible: float = 0.0

    @property
    def reached(self) -> float:
        """The median of the turns."""
        return statistics.median(self.turns)

    def meets(self, bound: float | None) -> str:
        """yes, no, or nothing where there is no bound."""
        if bound is None:
            return ""
        return "yes" if (self.reached <= bound if self.least else self.reached >= bound) else "no"


def show(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| benchmark | result | required | met | target | met | measured |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {row.what} | {_figure(row.reached, row.least)} | {_figure(row.must, row.least)} | "
              f"{row.meets(row.must)} | {_figure(row.aim, row.least)} | {row.meets(row.aim)} | {row.detail} |"
              for row in rows]
    return "\n".join(lines)


def _figure(value: float | None, least: bool) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if least else f"{value:.3g}x"

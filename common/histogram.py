"""Histogram of the images per identity: text for a terminal, and a plot."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Sequence

import numpy as np

from common.files import atomic_path
from common.foreign import plotted

MOST_BINS = 12
BAR = 40  # characters of the longest bar


class Bin(NamedTuple):
    """`identities` of them have `first` to `last` images, both included."""

    first: int
    last: int
    identities: int


def bins(counts: np.ndarray) -> list[Bin]:
    """Bins of whole numbers over counts, int (N,), all above 0.

    One for each number where there are few; of equal width where the largest is below ten times the smallest; else
    doubling, 1, 2, 3-4, 5-8, ...
    """
    if not len(counts):
        return []
    low, high = int(counts.min()), int(counts.max())
    if high - low < MOST_BINS:
        edges = np.arange(low, high + 2)
    elif high < 10 * low:
        width = _round_width((high - low + 1) / MOST_BINS)
        edges = np.arange(low // width * width, high + width + 1, width)
    else:
        powers = 1 << np.arange(int(high - 1).bit_length() + 1)
        edges = np.concatenate([[0], powers]) + 1
        edges = edges[np.searchsorted(edges, low, "right") - 1:]
    numbers = np.histogram(counts, edges)[0]
    return [Bin(int(first), int(following) - 1, int(number))
            for first, following, number in zip(edges, edges[1:], numbers)]


def spread(values: np.ndarray) -> dict | None:
    """min, quarter, median, three_quarters, max and mean of whole numbers; None of nothing."""
    if not len(values):
        return None
    quarter, median, three = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return {"min": int(values.min()), "quarter": quarter, "median": median, "three_quarters": three,
            "max": int(values.max()), "mean": round(float(values.mean()), 2)}


def text_bars(table: Sequence[Bin]) -> list[str]:
    """A line for each bin: range, number, bar."""
    most = max((entry.identities for entry in table), default=1) or 1
    names = [f"{entry.first:,}" if entry.first == entry.last else f"{entry.first:,}-{entry.last:,}" for entry in table]
    width = max(map(len, names), default=0)
    return [f"{name:>{width}}  {entry.identities:>8,}  {'#' * -(-BAR * entry.identities // most)}"
            for name, entry in zip(names, table)]


def draw(sets: Sequence[tuple[str, np.ndarray]], path: Path, replace: bool = True) -> None:
    """Write a plot: for each (title, images of each identity) the histogram, and the identities by rank.

    Axes are logarithmic where the numbers span orders of magnitude. OSError where it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4 * len(sets)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(sets), 2, squeeze=False)
    for (title, counts), (left, right) in zip(sets, axes):
        table = bins(counts)
        wide = int(counts.max()) >= 10 * int(counts.min())
        left.bar(range(len(table)), [entry.identities for entry in table], width=0.95, color="#4878a8")
        left.set_xticks(range(len(table)), [f"{entry.first}" if entry.first == entry.last else
                                            f"{entry.first}-{entry.last}" for entry in table], rotation=45, ha="right")
        tallest = [entry.identities for entry in table if entry.identities]
        if max(tallest) >= 30 * min(tallest):
            left.set_yscale("log")
            left.set_ylim(bottom=0.5)
        left.set(title=plotted(title), xlabel="images of an identity", ylabel="identities")
        right.plot(np.arange(1, len(counts) + 1), np.sort(counts)[::-1], color="#4878a8", drawstyle="steps-mid")
        right.axhline(np.median(counts), color="#c06030", linewidth=1, linestyle="--",
                      label=f"median {np.median(counts):g}")
        right.axhline(counts.mean(), color="#707070", linewidth=1, linestyle=":", label=f"mean {counts.mean():.1f}")
        right.set(title=f"{len(counts):,} identities, {int(counts.sum()):,} images",
                  xlabel="identity, the largest first", ylabel="images", yscale="log" if wide else "linear")
        if not wide:
            right.set_ylim(bottom=0)
        right.legend(frameon=False)
        for axis in (left, right):
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", alpha=0.3)
    with atomic_path(path, replace) as temporary:
        figure.savefig(temporary, dpi=120, format=path.suffix[1:].lower())


def _round_width(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, ... that is not below `least`."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= least:
                return factor * power
        power *= 10

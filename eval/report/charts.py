"""Charts as inline SVG that take the page's colours, light or dark, by matplotlib."""
from __future__ import annotations

import io
import re
from typing import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from eval.report.html import SERIES, Html, escape

INK, GRID = "#010203", "#040506"  # placeholders for the page's colours, replaced once the SVG is written
COLOURS = [f"#0a0b0{number}" for number in range(SERIES)]
DASHES: Sequence = ("-", (0, (5, 2)), (0, (1.2, 1.5)))
SETTINGS = {"svg.fonttype": "none", "font.family": ["sans-serif"], "font.size": 10, "text.color": INK,
            "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "grid.color": GRID,
            "axes.facecolor": "none", "figure.facecolor": "none", "axes.spines.top": False, "axes.spines.right": False}


def chart(name: str, what: str, draw: Callable[[Axes], None], width: float = 4.6, height: float = 3.1) -> Html:
    """The SVG of axes drawn by `draw`. name: unique among the charts of a page; what: the alternative text for screen
    readers."""
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        axes.grid(alpha=0.9, linewidth=0.6)
        draw(axes)
        stream = io.StringIO()
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})
    return _inline(stream.getvalue(), what)


def line_style(number: int) -> dict:
    """The colour and dash of a model's curve, the same as in the page's key."""
    return {"color": COLOURS[number % SERIES], "linestyle": DASHES[number % len(DASHES)], "linewidth": 1.8}


def draw_roc(curves: Sequence[tuple[np.ndarray, np.ndarray]], least: float, most: float = 1) -> Callable[[Axes], None]:
    """TPR against FPR on a logarithmic scale from `least` to `most`; curves: (FPR, TPR) of each model, ascending."""
    def draw(axes: Axes) -> None:
        for number, (fpr, tpr) in enumerate(curves):
            axes.plot(fpr, 100 * tpr, drawstyle="steps-post", **line_style(number))
        axes.set_xscale("log")
        axes.set_xlim(least, most)
        axes.set_ylim(0, 101)
        axes.set_xlabel("FPR")
        axes.set_ylabel("TPR, %")
    return draw


def draw_histogram(genuine: np.ndarray, impostor: np.ndarray, edges: np.ndarray,
                   thresholds: Sequence[float]) -> Callable[[Axes], None]:
    """Fractions of genuine and impostor pairs by cosine; (bins,) counts between (bins + 1,) edges; a line for each
    threshold."""
    def draw(axes: Axes) -> None:
        for number, counts in enumerate((genuine, impostor)):
            share = 100 * counts / max(counts.sum(), 1)
            axes.stairs(share, edges, fill=True, color=COLOURS[number], alpha=0.25)
            axes.stairs(share, edges, **line_style(number))
        for threshold in thresholds:
            axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.set_xlabel("cosine")
        axes.set_ylabel("share of the pairs, %")
    return draw


def draw_curves(curves: Sequence[Sequence[tuple[float, float, tuple[float, float] | None]]], x: str,
                y: str) -> Callable[[Axes], None]:
    """Lines with bands: of each model its points (x, value, interval), values from 0 to 1; NaN and None leave a
    gap."""
    def draw(axes: Axes) -> None:
        for number, points in enumerate(curves):
            values = [point[0] for point in points]
            axes.plot(values, [100 * point[1] for point in points], marker="o", markersize=3, **line_style(number))
            limits = 100 * np.array([point[2] or (np.nan, np.nan) for point in points])
            if np.isfinite(limits).any():
                axes.fill_between(values, limits[:, 0], limits[:, 1], color=COLOURS[number % SERIES], alpha=0.15,
                                  linewidth=0)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_ylim(bottom=0)
    return draw


def draw_groups(names: Sequence[str], models: Sequence[Sequence[tuple[float, tuple[float, float] | None] | None]],
                y: str) -> Callable[[Axes], None]:
    """A dot with its interval for each group and model; None where a group has no rate."""
    def draw(axes: Axes) -> None:
        for number, rates in enumerate(models):
            shift = (number - (len(models) - 1) / 2) * min(0.5 / len(models), 0.2)
            for place, rate in enumerate(rates):
                if rate is None:
                    continue
                value, limits = rate
                style = line_style(number)
                if limits:
                    axes.plot([place + shift] * 2, [100 * limits[0], 100 * limits[1]], **{**style, "linestyle": "-"})
                axes.plot([place + shift], [100 * value], marker="os^Dv*"[number % SERIES], markersize=6,
                          color=style["color"])
        axes.set_xticks(range(len(names)), [text.replace("$", r"\$") for text in names])
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(0, 101)
        axes.set_ylabel(y)
    return draw


def _inline(svg: str, what: str) -> Html:
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # the same in every chart, and not referenced
    svg = re.sub(r'(<svg[^>]*?) (?:height|width)="[^"]*"([^>]*?) (?:height|width)="[^"]*"', r"\1\2", svg, count=1)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(what)}"', 1)
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--line)")
    for number, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--s{number})")
    return Html(svg.strip())

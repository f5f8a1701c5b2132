"""The study's figures: differences between systems with intervals, what misaligned crops leave of their rate, and norms
of local features by position."""
from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.foreign import plotted
from eval.robustness_plot import write_figure
from study.differences import Scores, differences
from study.norm_maps import SIDES, mean_norm_maps
from study.plan import Plan
from study.tables import by_reference, misaligned_of

LINE = 0.28  # height of a system's row, inches
MAPS, MAP = 7, 1.2  # systems side by side, and the side of one's map, inches


def draw_plots(results: Mapping[str, Sequence[Scores]], plan: Plan, folder: Path) -> list[Path]:
    """Write the figures that the finished runs allow into `folder`, as SVG; returns their paths."""
    drawn = []
    for name, draw in (("differences", _draw_differences), ("misaligned", _draw_misaligned),
                       ("norms", _draw_norm_maps)):
        figure = draw(results, plan)
        if figure:
            drawn.append(folder / f"study-{plan.name}-{name}.svg")
            write_figure(figure, str(drawn[-1]))
    return drawn


def _draw_differences(results: Mapping[str, Sequence[Scores]], plan: Plan) -> Figure | None:
    """A row of panels for each reference, one for each FPR: mean and interval of every system, a dot for each seed."""
    rows = [(reference, differences(some, plan.fpr, reference))
            for reference, some in by_reference(results, plan).items()]
    rows = [(reference, apart) for reference, apart in rows if apart]
    if not rows:
        return None
    names = [list(dict.fromkeys(item.system for item in apart)) for _, apart in rows]
    figure = Figure(figsize=(9.5, sum(LINE * len(some) + 0.8 for some in names)), layout="constrained")
    panels = figure.subplots(len(rows), len(plan.fpr), squeeze=False, sharey="row",
                             gridspec_kw={"height_ratios": [len(some) + 1 for some in names]})
    for line, (reference, apart), some in zip(panels, rows, names):
        for panel, fpr in zip(line, plan.fpr):
            panel.axvline(0, color="black", linewidth=0.8)
            for item in (item for item in apart if item.fpr == fpr):
                place, limits = some.index(item.system), item.mean.limits
                _draw_row(panel, place, 100 * limits.low, 100 * limits.high, 100 * item.mean.value)
                panel.plot([100 * change.value for change in item.by_seed], [place] * len(item.by_seed), "|",
                           color="tab:orange", markersize=8)
            _style(panel, f"points of TPR at FPR {fpr:g}")
        line[1 % len(line)].set_xlabel(f"minus {plotted(reference)}'s", fontsize=8)
        _name_rows(line[0], some)
    return figure


def _draw_misaligned(results: Mapping[str, Sequence[Scores]], plan: Plan) -> Figure | None:
    """A panel for each misalignment: how much of its aligned rate every system keeps, mean and range over seeds."""
    kept: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for name, runs in results.items():
        for point in misaligned_of(runs):
            kept[point.how][name] = [100 * part for part in point.left]
    if not kept:
        return None
    names = [name for name in results if any(name in systems for systems in kept.values())]
    figure = Figure(figsize=(9.5, LINE * len(names) + 0.8), layout="constrained")
    for panel, (how, systems) in zip(figure.subplots(1, len(kept), squeeze=False, sharey=True)[0], kept.items()):
        for name, parts in systems.items():
            _draw_row(panel, names.index(name), min(parts), max(parts), float(np.mean(parts)))
        _style(panel, how)
    figure.supxlabel(f"TPR at FPR {plan.fpr[0]:g}, % of that of aligned images", fontsize=8)
    _name_rows(figure.axes[0], names)
    return figure


def _draw_norm_maps(results: Mapping[str, Sequence[Scores]], plan: Plan) -> Figure | None:
    """A map for each system over frontal faces and one over profile faces: each position's norm over the image's mean,
    mean over images and seeds."""
    maps = mean_norm_maps(results)
    if not maps:
        return None
    columns, lines = min(MAPS, len(maps)), -(-len(maps) // MAPS)
    figure = Figure(figsize=(MAP * columns + 1.2, (2 * MAP + 0.2) * lines), layout="compressed")
    panels = figure.subplots(len(SIDES) * lines, columns, squeeze=False)
    apart = max(float(np.abs(values - 1).max()) for pair in maps.values() for values in pair)
    shown = None
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
        panel.axis("off")
    for number, (name, pair) in enumerate(maps.items()):
        for side, values in enumerate(pair):
            panel = panels[len(SIDES) * (number // columns) + side, number % columns]
            panel.axis("on")
            shown = panel.imshow(values, cmap="RdBu_r", vmin=1 - apart, vmax=1 + apart, interpolation="none")
            panel.set_ylabel(SIDES[side] if number % columns == 0 else "", fontsize=8)
        panels[len(SIDES) * (number // columns), number % columns].set_title(plotted(name), fontsize=7)
    bar = figure.colorbar(shown, ax=panels, shrink=0.5, aspect=30)
    bar.set_label("norm over the image's mean norm", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def _draw_row(panel: Axes, place: int, low: float, high: float, mean: float) -> None:
    panel.plot([low, high], [place] * 2, color="tab:blue")
    panel.plot([mean], [place], "o", color="tab:blue", markersize=5)


def _style(panel: Axes, title: str) -> None:
    panel.set_title(title, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(axis="x", alpha=0.3)


def _name_rows(panel: Axes, names: Sequence[str]) -> None:
    """The first at the top."""
    panel.set_yticks(range(len(names)), [plotted(name) for name in names])
    panel.set_ylim(len(names) - 0.5, -0.5)

"""The curves of `robustness`: TPR against each kind of misalignment, with intervals over identities."""
from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from common.files import atomic_path
from common.foreign import plotted

if TYPE_CHECKING:
    from eval.robustness_curve import Setting

KINDS = (("shift", "shift, pixels", 0.0), ("rotate", "rotation, degrees", 0.0), ("scale", "scale", 1.0))


def draw(curves: dict[str, list[Setting]], fpr: float, path: str) -> None:
    """Write the plot to `path`, SVG or PNG by its name; a panel for each kind that has more than one value."""
    any_curve = next(iter(curves.values()))
    kinds = [kind for kind in KINDS if any(getattr(setting.how, kind[0]) != kind[2] for setting in any_curve)]
    figure = Figure(figsize=(4.2 * max(len(kinds), 1), 3.6), layout="constrained")
    panels = figure.subplots(1, max(len(kinds), 1), sharey=True, squeeze=False)[0]
    for panel, (kind, label, nothing) in zip(panels, kinds):
        for name, curve in curves.items():
            rows = sorted((setting for setting in curve if setting.how.none
                           or getattr(setting.how, kind) != nothing), key=lambda row: getattr(row.how, kind))
            values = [getattr(row.how, kind) for row in rows]
            rates = [np.nan if row.point.tpr is None else 100 * row.point.tpr for row in rows]  # a gap
            line, = panel.plot(values, rates, marker="o", markersize=3, label=plotted(name))
            limits = 100 * np.array([row.limits or (np.nan, np.nan) for row in rows])
            if np.isfinite(limits).any():
                panel.fill_between(values, limits[:, 0], limits[:, 1], color=line.get_color(), alpha=0.15)
        panel.set_xlabel(label)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(f"TPR at FPR {fpr:g}, %")
    panels[0].legend(fontsize=7)
    write_figure(figure, path)


def write_figure(figure: Figure, path: str) -> None:
    """SVG or PNG by its name; an SVG of equal content has equal bytes."""
    kind = path.rsplit(".", 1)[1]
    canvas = FigureCanvasSVG(figure) if kind == "svg" else FigureCanvasAgg(figure)
    settings = {"svg.hashsalt": "figure", "svg.fonttype": "none"}  # text, not outlines of letters
    with matplotlib.rc_context(settings), atomic_path(path) as temporary:
        with open(temporary, "wb") as stream:
            canvas.print_figure(stream, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)

"""The ROC curve as an image for TensorBoard."""
from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING

import numpy as np

from common.foreign import plotted
from eval.metrics import point_at_fpr
from eval.operating_points import FEW, given
from eval.verification import VerificationResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.lines import Line2D


def roc_picture(result: VerificationResult) -> np.ndarray:
    """The curve of one set, TPR over log FPR, as (3, H, W) uint8."""
    canvas, axes, curve = _canvas()
    fpr, tpr = result.roc
    least = 0.5 / result.pairs
    curve.set_data(np.maximum(fpr, least), tpr)
    axes.set(xlim=(min(least, 1e-3), 1), title=f"{plotted(result.name)}: {_rate(result)}")
    with warnings.catch_warnings():  # missing glyphs
        warnings.simplefilter("ignore")
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].transpose(2, 0, 1).copy()


def _rate(result: VerificationResult) -> str:
    """The TPR as the log has it: with ~ and their number on few false accepts, not given on none."""
    at = f"at FPR {100 * result.fpr_target:g}%"
    if result.scores is None:
        return f"TPR {result.tpr:.3f} {at}"
    accepts = point_at_fpr(result.scores, result.same, result.fpr_target)[3]
    if given(result.tpr, accepts) is None:
        return f"TPR {at} not given"
    return f"TPR {'~' if accepts < FEW else ''}{result.tpr:.3f}{f' ({accepts})' if accepts < FEW else ''} {at}"


@functools.lru_cache(maxsize=1)
def _canvas() -> tuple[FigureCanvasAgg, Axes, Line2D]:
    """One for all plots, since a verification makes training wait: making axes anew and fitting the margins to the
    text takes ten times as long, and matplotlib caches the sizes of 4,096 texts per canvas."""
    # Here, since it takes a tenth of the time in which a command starts.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    canvas = FigureCanvasAgg(Figure(figsize=(5, 4), dpi=80))
    axes = canvas.figure.add_axes((0.13, 0.13, 0.84, 0.79))
    curve, = axes.step([], [], where="post", color="#2a6f97")
    axes.axvline(1e-3, color="#999999", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="false positive rate", ylabel="true positive rate", ylim=(0, 1.01))
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    return canvas, axes, curve

"""Draws the GNAP block: `python scripts/draw_gnap.py docs/figures/gnap.svg`."""
from __future__ import annotations

import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch  # noqa: E402

INK, PALE, STRONG = "#24313f", "#eef2f6", "#cfe3f5"
BOXES = [  # left, width, title, what it does, shape of its output, colour
    (0.0, 2.0, "feature map", "convolutions", "N, C, H, W", PALE),
    (2.5, 2.0, "BatchNorm", r"$\gamma = 1$ fixed", "N, C, H, W", PALE),
    (5.0, 3.6, "norm-aware reweighting", r"$f_{ij} \leftarrow f_{ij}\,\overline{\|f\|_2}\,/\,\|f_{ij}\|_2$",
     "N, C, H, W", STRONG),
    (9.1, 2.5, "average pooling", "global", "N, C", PALE),
    (12.1, 2.0, "BatchNorm", r"$\gamma = 1$ fixed", "N, C: fc1", PALE),
]


def draw(path: str) -> None:
    """Write the picture, as SVG, to `path`."""
    pyplot.rcParams.update({"font.family": "sans-serif", "svg.hashsalt": "gnap"})
    figure, axes = pyplot.subplots(figsize=(10.4, 2.0))
    for left, width, title, what, shape, colour in BOXES:
        axes.add_patch(FancyBboxPatch((left, 0), width, 1.1, boxstyle="round,pad=0,rounding_size=0.12", linewidth=1.2,
                                      edgecolor=INK, facecolor=colour))
        middle = left + width / 2
        axes.text(middle, 0.74, title, ha="center", va="center", fontsize=9.5, color=INK, weight="bold")
        axes.text(middle, 0.34, what, ha="center", va="center", fontsize=10, color=INK)
        axes.text(middle, -0.25, shape, ha="center", va="center", fontsize=8.5, color="#5b6b7b")
    for (left, width, *_), (following, *_) in zip(BOXES, BOXES[1:]):
        axes.add_patch(FancyArrowPatch((left + width + 0.04, 0.55), (following - 0.04, 0.55), arrowstyle="-|>",
                                       mutation_scale=13, color=INK))
    axes.text(6.8, 1.38, r"$\overline{\|f\|_2}$: mean over the positions of one image", ha="center", fontsize=9,
              color="#5b6b7b")
    axes.set_xlim(-0.2, 14.3)
    axes.set_ylim(-0.5, 1.65)
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].endswith(".svg"):
        sys.exit("usage: python scripts/draw_gnap.py FILE.svg")
    draw(sys.argv[1])

"""Norms of local features by position, as the tables and figures of finished runs have them."""
from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from study.differences import Scores

SIDES = ("frontal", "profile")
HEAD = ["system", "layer", "effective positions, frontal", "profile", "norm with distance from centre, frontal",
        "profile", "largest norm, frontal", "profile"]


def mean_norm_maps(results: Mapping[str, Sequence[Scores]]) -> dict[str, list[np.ndarray]]:
    """Of each system over frontal and over profile faces, (H, W): the norm at each position over the image's mean norm,
    mean over images and seeds."""
    return {name: [np.mean([statistics[side]["norm_map"] for statistics in _positions_of(runs)], axis=0)
                   for side in SIDES] for name, runs in results.items() if _positions_of(runs)}


def positions_rows(results: Mapping[str, Sequence[Scores]]) -> list[list[str]]:
    """Rows of text under HEAD, means over seeds."""
    rows = []
    for name, maps in mean_norm_maps(results).items():
        groups = _positions_of(results[name])
        rows.append([name, groups[0]["frontal"]["layer"], *(
            f"{np.mean([group[side][key] for group in groups]):.{digits}f}"
            for key, digits in (("effective_positions", 1), ("centre_correlation", 2))
            for side in SIDES), *map(_largest, maps)])
    return rows


def _positions_of(runs: Sequence[Scores]) -> list[Mapping[str, Any]]:
    return [run["scores"]["positions"] for run in runs if "positions" in run["scores"]]


def _largest(norms: np.ndarray) -> str:
    row, _ = np.unravel_index(norms.argmax(), norms.shape)
    return f"{norms.max():.2f}, row {row + 1} of {len(norms)}"

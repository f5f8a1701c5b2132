"""Head pose from the five landmarks of alignment: an average head is fitted to them.

The camera is assumed to be distant (weak perspective), so the points in the image are an affine map of those on the
head, solved by least squares; the nearest rotation gives yaw, pitch and roll (DeMenthon and Davis, "Model-based object
pose in 25 lines of code", 1995, without their iterations).
"""
from __future__ import annotations

from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

from align.landmark_fit import check_faces
from align.landmark_table import read_table
from common.errors import UserError

# Left eye, right eye, nose, left and right corner of the mouth as the image shows them: x to the right, y up, z towards
# the camera, in distances of the eyes; an average of adults.
HEAD = np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, -0.57, 0.53], [-0.39, -1.06, 0.03], [0.39, -1.06, 0.03]])
YAW_EDGES = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0)


def head_pose(points: np.ndarray) -> np.ndarray:
    """(N, 3) degrees of yaw, pitch and roll of (N, 5, 2) landmarks in pixels, x to the right and y down.

    yaw > 0: the face is turned to the image's right; pitch > 0: raised; roll > 0: leans clockwise. NaN where the points
    coincide. Accurate to some degrees; the sign is reliable, the magnitude less so near 90.
    """
    points = np.asarray(points, np.float64).reshape(-1, 5, 2)
    model = HEAD - HEAD.mean(axis=0)
    image = (points - points.mean(axis=1, keepdims=True)) * [1.0, -1.0]
    rows = np.einsum("kp,npc->nck", np.linalg.pinv(model), image)  # (N, 2, 3): the camera's first two axes, scaled
    found = np.full((len(points), 3), np.nan)
    for number, axes in enumerate(rows):
        if not np.isfinite(axes).all() or np.linalg.matrix_rank(axes) < 2:
            continue
        left, _, right = np.linalg.svd(axes, full_matrices=False)
        first, second = left @ right
        turn = np.stack([first, second, np.cross(first, second)])
        found[number] = np.rad2deg([np.arctan2(-turn[2, 0], turn[2, 2]), -np.arcsin(np.clip(turn[2, 1], -1, 1)),
                                    np.arctan2(turn[0, 1], turn[1, 1])])
    return found


def yaw_of(points: np.ndarray) -> np.ndarray:
    """(N,) degrees, the sign as in `head_pose`."""
    return head_pose(points)[:, 0]


def read_yaw(path: Path, names: Sequence[str]) -> np.ndarray:
    """(N,) yaw of each image of a set by a table of landmarks, as `align` and `synth` write; NaN where it has none.

    names: paths below the set's folder. The table's paths may begin at a parent folder, and have another extension
    (.png for .jpg). UserError where the table is invalid, or has no image of the set, or where its landmarks cannot be
    faces'.
    """
    rows = read_table(path, path.parent)
    check_faces(rows, path)
    known = _by_end(rows)
    found = [known.get(_stem(name)) for name in names]
    places = [number for number, row in enumerate(found) if row]
    if not places:
        raise UserError(f"{path}: names none of the set's images; its first is {next(iter(rows), 'none')}, the set's "
                        f"{names[0] if names else 'none'}")
    yaw = np.full(len(names), np.nan)
    yaw[places] = yaw_of(np.stack([rows[found[place] or ""].array() for place in places]))
    return yaw


def yaw_groups(yaw: np.ndarray, edges: Sequence[float] = YAW_EDGES) -> np.ndarray:
    """(N,) text such as `yaw 15-30` by absolute yaw; "" where it is not known."""
    size = np.clip(np.abs(np.nan_to_num(yaw)), edges[0], np.nextafter(edges[-1], 0))
    bins = np.searchsorted(edges, size, "right") - 1
    return np.array([f"yaw {edges[place]:g}-{edges[place + 1]:g}" if known else "" for place, known
                     in zip(bins, np.isfinite(yaw))])


def _by_end(rows: Mapping[str, object]) -> dict[str, str]:
    """Every suffix of a row's path, without the extension, to the row; ambiguous suffixes are left out."""
    known: dict[str, str | None] = {}
    for name in rows:
        parts = _stem(name).split("/")
        for first in range(len(parts)):
            end = "/".join(parts[first:])
            known[end] = None if end in known else name
    return {end: name for end, name in known.items() if name}


def _stem(name: str) -> str:
    folder, slash, last = name.replace("\\", "/").rpartition("/")
    return folder + slash + (last.rpartition(".")[0] or last)

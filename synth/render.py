"""Rasterisation of a posed mesh: rotation, projection, shadows and visibility."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from synth import grid


@dataclass(frozen=True)
class Camera:
    """yaw, pitch, roll: degrees (see `rotation`); distance: cm; scale: pixels a cm at the head; centre: pixels (x, y)
    of the point between the eyes and the chin; size: pixels (height, width)."""

    yaw: float
    pitch: float
    roll: float
    distance: float
    scale: float
    centre: tuple[float, float]
    size: tuple[int, int]


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) from head to camera axes; degrees. yaw > 0 turns the face to the image's right, pitch > 0 raises it,
    roll > 0 leans it clockwise as the image shows it."""
    a, b, c = np.deg2rad([yaw, -pitch, -roll])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    lean = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (lean @ nod @ turn).astype(np.float32)


def turned(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """matrix applied to (..., 3) points, without BLAS, whose rounding may depend on threads."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([x * row[0] + y * row[1] + z * row[2] for row in matrix], -1)


def dot(vectors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Scalar products (...) float32 of (..., 3) vectors with one direction."""
    x, y, z = (np.float32(value) for value in direction)
    return vectors[..., 0] * x + vectors[..., 1] * y + vectors[..., 2] * z


def project(points: np.ndarray, camera: Camera) -> np.ndarray:
    """(..., 3) points in camera axes (cm) to (..., 2) pixels (x, y), y down, in perspective."""
    size = camera.scale * camera.distance / (camera.distance - points[..., 2])
    return np.stack([camera.centre[0] + points[..., 0] * size, camera.centre[1] - (points[..., 1] + 3.0) * size], -1)


def normals_of(points: np.ndarray) -> np.ndarray:
    """(ROWS, COLUMNS, 3) unit normals, outwards, of a mesh's points."""
    across, down = np.empty_like(points), np.empty_like(points)
    across[:, 1:-1] = points[:, 2:] - points[:, :-2]
    across[:, 0] = across[:, -1] = points[:, 1] - points[:, -2]  # the seam at the back
    down[1:-1] = points[2:] - points[:-2]
    down[0], down[-1] = points[1] - points[0], points[-1] - points[-2]
    a, b = across, down
    normal = np.stack([b[..., 1] * a[..., 2] - b[..., 2] * a[..., 1], b[..., 2] * a[..., 0] - b[..., 0] * a[..., 2],
                       b[..., 0] * a[..., 1] - b[..., 1] * a[..., 0]], -1)
    length = np.sqrt(normal[..., 0] ** 2 + normal[..., 1] ** 2 + normal[..., 2] ** 2)
    return normal / np.maximum(length, np.float32(1e-9))[..., None]


def nearest(pixels: np.ndarray, depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The point visible at each pixel: (H, W) int32 indices of points, -1 where none.

    pixels: (N, 2) x, y; depth: (N,) cm, larger is nearer. Points are written from far to near (painter's algorithm).
    """
    height, width = size
    column, row = np.rint(pixels[:, 0]).astype(np.int32), np.rint(pixels[:, 1]).astype(np.int32)
    kept = np.flatnonzero((column >= 0) & (column < width) & (row >= 0) & (row < height))
    kept = kept.take(_far_to_near(depth.take(kept)))
    row, column = row.take(kept), column.take(kept)
    shown = np.full(size, -1, np.int32)
    shown.ravel()[row * width + column] = kept
    shown = _without_pinholes(shown, depth)
    return _without_gaps(shown, kept, row, column)


def _far_to_near(depth: np.ndarray) -> np.ndarray:
    # 16 bits are sorted by radix, ten times faster than float32; a step is 14 micrometres
    return np.argsort(np.clip((depth + 40) * 700, 0, 65535).astype(np.uint16), kind="stable")


def _without_pinholes(shown: np.ndarray, depth: np.ndarray, gap: float = 1.2) -> np.ndarray:
    """A pixel that shows something more than `gap` cm behind both its neighbours on opposite sides shows a neighbour's:
    there the samples of the nearer surface lie more than a pixel apart."""
    far = np.where(shown < 0, np.float32(-1e3), depth.take(shown))
    for ahead in ((0, 1), (1, 0)):
        one, depth_one = np.roll(shown, ahead, (0, 1)), np.roll(far, ahead, (0, 1))
        depth_other = np.roll(far, (-ahead[0], -ahead[1]), (0, 1))
        hole = np.minimum(depth_one, depth_other) > far + np.float32(gap)
        shown, far = np.where(hole, one, shown), np.where(hole, depth_one, far)
    return shown


def _without_gaps(shown: np.ndarray, kept: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Empty pixels between covered ones show the nearest point of their 4 x 4 block, or else of their 8 x 8 block."""
    full = (shown >= 0).astype(np.uint8)
    gaps = cv2.morphologyEx(full, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))) > full
    places = np.nonzero(gaps)
    for block in (4, 8):
        coarse = np.full((shown.shape[0] // block + 1, shown.shape[1] // block + 1), -1, np.int32)
        coarse[row // block, column // block] = kept
        found = coarse[places[0] // block, places[1] // block]
        shown[places] = np.where(shown[places] < 0, found, shown[places])
    return shown


def visible_from(points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """(ROWS, COLUMNS) fraction of light, 0 to 1, that reaches each mesh point from a distant lamp in `direction`
    (unit)."""
    side = np.cross(direction, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side)
    above = np.cross(side, direction)
    seen = turned(points, np.stack([side, above, direction]).astype(np.float32))
    cell = 0.5  # cm
    column = np.clip(np.rint(seen[..., 0] / cell).astype(np.int32) + 48, 0, 95)
    row = np.clip(np.rint(seen[..., 1] / cell).astype(np.int32) + 48, 0, 95)
    order = _far_to_near(seen[..., 2].ravel())
    nearest_depth = np.full(96 * 96, -1e3, np.float32)
    nearest_depth[(row * 96 + column).ravel()[order]] = seen[..., 2].ravel()[order]
    blocked = nearest_depth.reshape(96, 96)[row, column] - seen[..., 2]
    lit = 1 - np.clip((blocked - 0.8) / 1.0, 0, 1)  # less than 0.8 cm is the cell's own slope
    return cv2.GaussianBlur(lit.astype(np.float32), (0, 0), 1.6)


def samples_of(values: np.ndarray) -> np.ndarray:
    """Mesh values (ROWS, COLUMNS, C) at the samples, as (4 ROWS COLUMNS, C)."""
    return grid.finer(np.ascontiguousarray(values, np.float32)).reshape(-1, values.shape[-1])

"""The grid that covers a head: columns are azimuths, rows heights; denser where the face is.

The mesh (ROWS x COLUMNS) is posed and shaded; its points are then doubled in both directions to the samples (2 ROWS x 2
COLUMNS) that carry the texture and are rasterised.
"""
from __future__ import annotations

import cv2
import numpy as np

ROWS, COLUMNS = 132, 216
TOP, BOTTOM = 11.8, -19.0  # cm above the eyes: the crown, and the shoulders' lower end
_HEIGHTS = ((0, 1.0), (8, 0.35), (26, 0.27), (44, 0.2), (108, 0.2), (120, 0.35), (131, 0.9))  # row: step in cm
_AZIMUTHS = ((0.0, 1.0), (0.35, 1.0), (0.6, 0.75), (1.2, 0.55), (np.pi, 0.42))  # |azimuth|: density of columns


def azimuths() -> np.ndarray:
    """(COLUMNS,) radians from -pi to pi, 0 straight ahead, increasing towards the image's right."""
    fine = np.linspace(-np.pi, np.pi, 4001)
    turns, densities = zip(*_AZIMUTHS)
    density = np.interp(np.abs(fine), turns, densities)
    share = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.interp(np.linspace(0, share[-1], COLUMNS), share, fine).astype(np.float32)


def heights() -> np.ndarray:
    """(ROWS,) cm from TOP down to BOTTOM; close to the crown, where a row is a ring, steps follow the dome."""
    rows, sizes = zip(*_HEIGHTS)
    steps = np.interp(np.arange(1, ROWS), rows, sizes)
    steps[:10] = np.linspace(0.02, 0.34, 10)
    depth = np.concatenate([[0.0], np.cumsum(steps)])
    return (TOP - depth * (TOP - BOTTOM) / depth[-1]).astype(np.float32)


def finer(values: np.ndarray) -> np.ndarray:
    """Mesh values (ROWS, COLUMNS[, C]) at the samples (2 ROWS, 2 COLUMNS[, C]), float32, by linear interpolation."""
    return cv2.resize(values, (2 * COLUMNS, 2 * ROWS), interpolation=cv2.INTER_LINEAR)


def smoothstep(values: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """0 below low, 1 above high, a smooth rise between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: np.ndarray, y: np.ndarray, centre: tuple[float, float], width: float, height: float) -> np.ndarray:
    """A Gaussian hill of height 1 at `centre`, standard deviations `width` and `height`."""
    return np.exp(-0.5 * (((x - centre[0]) / width) ** 2 + ((y - centre[1]) / height) ** 2))

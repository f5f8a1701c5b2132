"""Simulated detector landmarks: the five true ones with an error that grows with yaw."""
from __future__ import annotations

import numpy as np

from synth.photograph import Photograph
from synth.shot import Shot

EYE_DISTANCE = 6.4  # cm, of the average person: the unit of errors
STILL, TURNED = 0.012, 0.045  # standard deviation of a point, in eye distances, at yaw 0 and added at yaw 90


def deviation(yaw: float) -> float:
    """Standard deviation of a visible landmark's error along x or y, in eye distances, at `yaw` degrees.

    Detectors are trained on mostly frontal faces: the error rises slowly up to half profile, then fast.
    """
    return STILL + TURNED * (abs(yaw) / 90) ** 2


def detect(photograph: Photograph, shot: Shot, random: np.random.RandomState) -> np.ndarray:
    """(5, 2) float64 pixels (x, y): the landmarks with a detector's error.

    Besides an error of each point there is one common to all five (an offset of the box), and an occluded point is
    estimated with up to twice the error.
    """
    unit = EYE_DISTANCE * shot.camera.scale
    spread = deviation(shot.camera.yaw) * unit
    each = spread * (1 + np.minimum(photograph.hidden / 3, 1))[:, None]
    middle = photograph.points.mean(0)
    together = 1 + 0.6 * deviation(shot.camera.yaw) * random.normal()
    found = middle + (photograph.points - middle) * together + 0.5 * spread * random.normal(size=2)
    return found + each * random.normal(size=(5, 2))

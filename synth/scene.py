"""Backgrounds."""
from __future__ import annotations

import cv2
import numpy as np

from synth.shot import Shot
from synth.texture import linear


def background(shot: Shot, random: np.random.RandomState) -> np.ndarray:
    """(H, W, 3) linear light: patches of colour out of focus, often with straight edges like walls and windows."""
    height, width = shot.camera.size
    rows, columns = random.randint(2, 7, 2)
    base = random.uniform(20, 210) + random.normal(0, 22, 3)
    table = linear(base + random.normal(0, random.uniform(5, 60), (rows, columns, 1))
                   + random.normal(0, 18, (rows, columns, 3)))
    image = cv2.resize(table, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(random.randint(0, 5)):
        centre = random.uniform(0, 1, 2) * (width, height)
        corners = cv2.boxPoints((tuple(map(float, centre)), tuple(map(float, random.uniform(10, 0.8 * width, 2))),
                                 float(random.normal(0, 20))))
        tone = linear(base + random.normal(0, 45) + random.normal(0, 15, 3))
        cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], tuple(map(float, tone)))
    return np.clip(cv2.GaussianBlur(image, (0, 0), random.uniform(0.8, 5.0)), 0, 1)

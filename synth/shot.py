"""Parameters of one photograph: pose, expression, light, camera, occluders. Sampled from a seed."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synth.render import Camera
from synth.seeds import FRONTAL, LFW, PROFILE

OCCLUDERS = ("none", "glasses", "sunglasses", "cap", "object")


@dataclass(frozen=True)
class Shot:
    """moves: weights of expression.MOVES. light: unit direction in camera axes; its colour, the sky's and the ground's
    are linear light. hair_shift: cm; beard: 0 to 1. gain, balance, contrast: the camera's. blur: pixels; shrink: factor
    of lost resolution; noise: sRGB levels; quality: of the photograph's JPEG."""

    camera: Camera
    moves: np.ndarray
    gaze: tuple[float, float]
    lids: float
    teeth: float
    light: np.ndarray
    key: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    hair_shift: float
    hair_tone: np.ndarray
    beard: float
    shine: float
    gain: float
    balance: np.ndarray
    contrast: float
    grey: bool
    blur: float
    shrink: float
    noise: float
    quality: int
    occluder: str


def draw_yaw(random: np.random.RandomState, what: int) -> float:
    """Degrees, -90 to 90. Training albums hold every yaw; LFW-like images are mostly frontal; the rest is CFP's."""
    if what == FRONTAL:
        return float(np.clip(random.normal(0, 7), -15, 15))
    if what == PROFILE:
        return float(random.choice([-1, 1]) * random.uniform(68, 90))
    if what == LFW:
        return float(np.clip(random.normal(0, 20), -60, 60))
    if random.uniform() < 0.35:
        return float(np.clip(random.normal(0, 18), -90, 90))
    return float(random.uniform(-90, 90))


def draw_shot(random: np.random.RandomState, what: int) -> Shot:
    """Sample one photograph's parameters; `what` is a kind of image of `seeds`."""
    yaw = draw_yaw(random, what)
    pitch = float(np.clip(random.normal(0, 7), -22, 22))
    roll = float(np.clip(random.normal(0, 6), -25, 25))
    smile = max(0.0, random.normal(0.35, 0.45))
    opened = max(0.0, random.normal(-0.05, 0.28)) + 0.2 * max(0.0, smile - 0.5)
    moves = np.array([smile, min(opened, 0.9), random.normal(0, 0.45), max(0.0, random.normal(-0.5, 0.6)),
                      random.uniform(0.45, 1.25)], np.float32)
    scale = random.uniform(5.6, 7.8)
    height, width = int(scale * 30), int(scale * 34)  # wide enough that a profile's crop is seldom black at the side
    centre = (width * (0.5 - 0.14 * np.sin(np.deg2rad(yaw))) + random.normal(0, 0.05) * width,
              height * (0.54 + random.normal(0, 0.04)))
    camera = Camera(yaw, pitch, roll, random.uniform(70, 220), scale, (float(centre[0]), float(centre[1])),
                    (height, width))
    azimuth, elevation = np.deg2rad(np.clip(random.normal(0, 35), -85, 85)), np.deg2rad(random.uniform(-5, 65))
    light = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    warm = random.normal(0, 0.05)
    hard = random.uniform(0.2, 0.8)
    fill = 1.05 - 0.75 * hard
    wide = np.exp(random.normal(0, 0.025, (3, 3)))
    cast = np.array([1 + warm, 1.0, 1 - warm])
    occluder = OCCLUDERS[int(np.searchsorted(np.cumsum([0.84, 0.06, 0.03, 0.04, 0.03]), random.uniform()))]
    return Shot(camera, moves, (float(random.normal(0, 0.16)), float(random.normal(0, 0.06))),
                float(np.clip(random.normal(0.95, 0.18) - 0.15 * smile, 0.0, 1.25)),
                float(np.clip(random.normal(0.5, 0.4), 0, 1)), light, 1.15 * hard * cast * wide[0],
                fill * (2 - cast) * wide[1], 0.65 * fill * cast * wide[2], float(random.normal(0, 0.2)),
                np.exp(random.normal(0, 0.05, 3)) * np.exp(random.normal(0, 0.12)), float(random.uniform(-0.1, 0.15)),
                float(random.uniform(0.02, 0.22)), float(np.exp(random.normal(0.05, 0.12))),
                np.exp(random.normal(0, 0.025, 3)), float(np.exp(random.normal(0, 0.07))),
                bool(random.uniform() < 0.02), float(max(0.0, random.normal(0.35, 0.25))),
                float(random.uniform(1.0, 1.5) if random.uniform() < 0.2 else 1.0), float(random.uniform(0.5, 4.0)),
                int(random.randint(55, 96)), occluder)

"""Texture of a head that is constant for an identity: skin with its marks, brows, the region of the hair.

Colours are linear light, 0 to 1, in the order red, green, blue.
"""
from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from synth import grid
from synth.grid import bump, smoothstep
from synth.head import Base, ear_place
from synth.identity import Person

GAMMA = 2.2


def linear(colour: np.ndarray | Sequence[float]) -> np.ndarray:
    """sRGB values, 0 to 255, as linear light, 0 to 1, float32."""
    return (np.clip(np.asarray(colour, np.float32) / 255, 0, 1) ** GAMMA).astype(np.float32)


def dyed(random: np.random.RandomState) -> np.ndarray:
    """A colour of cloth or paint, linear light: mostly muted, sometimes bright."""
    return linear(random.uniform(15, 225) + random.normal(0, random.choice([10, 25, 60]), 3))


def noise(random: np.random.RandomState, shape: tuple[int, ...], rows: int, columns: int) -> np.ndarray:
    """Smooth noise of deviation about 1: a rows x columns table of normal numbers scaled to `shape`."""
    table = random.normal(size=(rows, columns)).astype(np.float32)
    return cv2.resize(table, shape[::-1], interpolation=cv2.INTER_CUBIC)


def skin_of(person: Person, fine: Base) -> np.ndarray:
    """(2 ROWS, 2 COLUMNS, 3) float32: bare skin with brows; no eyes, lips or hair."""
    random = np.random.RandomState(person.grain)
    x, y, side = fine.x, fine.y, np.abs(fine.x)
    front = smoothstep(fine.z, 1.0, 4.0)
    skin = linear(person.skin)
    pale = float(skin.mean())
    mottle = 0.045 * noise(random, x.shape, 34, 56) + 0.03 * noise(random, x.shape, 90, 140)
    mottle += 0.025 * noise(random, x.shape, 2 * grid.ROWS, 2 * grid.COLUMNS)
    colour = skin * (1 + mottle)[..., None]
    red = bump(side, y, (4.2, -3.2), 1.7, 1.3) + 0.8 * bump(x, y, (0, person.nose_tip_y), 1.2, 0.8)
    across, up = ear_place(person, fine)
    red += 0.7 * smoothstep(-np.sqrt(across ** 2 + up ** 2), -1.05, -0.8)
    red = (red * front + red * (1 - front)) * person.redness
    colour = colour * (1 - red[..., None] * np.array([-0.02, 0.20, 0.17], np.float32))
    dark = 0.32 * person.eye_shadow * bump(side, y, (person.eye_x - 0.2, person.eye_y - 0.6), 1.3, 0.55) * front
    dark += 0.22 * person.eye_shadow * bump(side, y, (person.eye_x - 0.5, person.eye_y + 0.5), 1.3, 0.45) * front
    dark += _folds(person, side, y) * front
    dark += 0.6 * bump(side, y, (0.66, person.nose_tip_y - 0.70), 0.24, 0.13) * front
    dark += 0.35 * bump(across, up, (-0.2, -0.1), 0.16, 0.14)
    spots = np.maximum(noise(random, x.shape, 180, 300) - 1.1, 0) * max(person.freckles, 0)
    dark += 0.55 * np.clip(spots, 0, 0.6) * bump(side, y, (2.2, -2.6), 2.6, 1.6) * front
    for azimuth, height, radius, strength in person.marks:
        dark += strength * bump(fine.azimuth * 9.0, y, (azimuth * 9.0, height), radius, radius)
    colour = colour * (1 - np.clip(dark, 0, 0.85)[..., None] * np.array([0.8, 0.95, 1.0], np.float32))
    brow = brows_of(person, fine, random) * front
    tone = linear(person.hair) * 0.8 + 0.04 * pale
    return (colour * (1 - brow[..., None]) + tone * brow[..., None]).astype(np.float32)


def _folds(person: Person, side: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lines from the nose to the mouth's corners, and across the forehead: how much darker."""
    strength = max(person.folds, 0)
    line = np.interp(y, (person.mouth_y - 0.6, person.nose_tip_y - 0.2), (person.mouth_width + 0.85,
                                                                          person.nose_width + 0.45))
    cheek = np.exp(-0.5 * ((side - line) / 0.22) ** 2)
    cheek *= smoothstep(y, person.mouth_y - 1.0, person.mouth_y) * smoothstep(-y, -person.nose_tip_y - .2,
                                                                             -person.nose_tip_y + .8)
    forehead = np.clip(np.sin((y - 3.3) * 5.2) - 0.75, 0, 1) * bump(side, y, (0, 4.5), 2.6, 1.0)
    return 0.4 * strength * cheek + 0.7 * max(strength - 0.25, 0) * forehead


def brows_of(person: Person, fine: Base, random: np.random.RandomState) -> np.ndarray:
    """(2 ROWS, 2 COLUMNS) fraction of brow, 0 to 1."""
    side = np.abs(fine.x)
    along = (side - person.brow_gap) / (2 * person.brow_length)
    middle = person.brow_height + person.brow_arch * 1.6 * np.sin(np.pi * np.clip(along * 0.9, 0, 1)) \
        + person.brow_tilt * (along - 0.5) * 4 - 0.25
    thick = person.brow_thickness * (1 - 0.55 * smoothstep(along, 0.35, 1.0))
    share = smoothstep(-np.abs(fine.y - middle), -thick - 0.14, -thick * 0.4)
    share = share * smoothstep(along, -0.04, 0.06) * smoothstep(-along, -1.02, -0.85)
    hairs = np.clip(0.85 + 0.3 * noise(random, side.shape, 120, 2 * grid.COLUMNS), 0, 1.1)
    return np.clip(share * person.brow_density * hairs, 0, 0.95)


def beard_of(person: Person, fine: Base) -> np.ndarray:
    """(2 ROWS, 2 COLUMNS) where a beard would grow, 0 to 1."""
    x, y, side = fine.x, fine.y, np.abs(fine.x)
    jaw = smoothstep(-y, 5.2, 7.0) * smoothstep(y, -12.5, -11.0) * smoothstep(fine.z, -0.5, 1.5)
    cheek = smoothstep(-y - 0.55 * np.maximum(side - 2.5, 0) * (side < 6.5), 3.4, 5.4) * smoothstep(side, 2.5, 4.0)
    lip = bump(side, y, (0.9, person.mouth_y + 1.25), 1.3, 0.38)
    area = np.maximum(np.maximum(jaw * smoothstep(side + (-y - 6.6), 1.0, 2.4), lip), jaw * cheek)
    area = area * np.clip(0.8 + 0.25 * noise(np.random.RandomState(person.grain ^ 0xBEA2), x.shape, *x.shape), 0, 2)
    return area * (1 - 0.9 * bump(x, y, (0, person.mouth_y - 0.1), person.mouth_width * 0.75, 0.55))


def hair_field(person: Person, base: Base) -> np.ndarray:
    """How far (cm) a point lies inside the hair; negative on bare skin."""
    turn = np.abs(base.azimuth)
    top, recess = person.hairline, max(person.hair_recess, -0.4)
    fall = np.clip(person.hair_length, 0, 1.6) / 1.6  # 0: above the ears, 1: on the shoulders
    short = np.interp(turn, (0, 0.3, 0.62, 0.85, 1.05, 1.2, 1.38, 1.5, 1.95, 2.15, 2.4, np.pi),
                      (top, top + 0.2, top + recess, top - 0.6, 3.2, -0.8, -1.4, 2.1, 2.1, -2.5, -6.0, -7.0))
    hang = float(np.interp(fall, (0.0, 0.35, 1.0), (-5.0, -9.0, -18.0)))
    long = np.interp(turn, (0, 0.3, 0.62, 0.9, 1.12, 1.25, np.pi),
                     (top, top + 0.2, top + recess * 0.5, top - 1.4, 0.0, hang, hang - 2))
    return (base.y - (long if person.hair_length > 0.35 else short)) * 0.8


def strands_of(person: Person, shape: tuple[int, ...]) -> np.ndarray:
    """Brightness of the hair, about 1: streaks along the height, broken up by curls."""
    random = np.random.RandomState(person.grain ^ 0x5A5A)
    streaks = noise(random, shape, 9, shape[1] // 2) * 0.30 + noise(random, shape, 22, shape[1] // 3) * 0.15
    curls = noise(random, shape, shape[0] // 5, shape[1] // 6) * 0.4
    mix = float(np.clip(person.hair_curl, 0, 1))
    return np.clip(1 + (1 - mix) * streaks + mix * curls, 0.35, 2.0).astype(np.float32)

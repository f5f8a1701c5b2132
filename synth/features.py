"""Eyes and mouth, painted on the samples for each image: gaze, lids and opening change from one to the next."""
from __future__ import annotations

import numpy as np

from synth.grid import bump, smoothstep
from synth.head import Base
from synth.identity import Person
from synth.texture import linear

WHITE = linear((206, 198, 193))
TEETH = linear((222, 214, 200))
INSIDE = linear((58, 22, 22))


def window(where: np.ndarray) -> tuple[slice, slice]:
    """The smallest block of rows and columns that holds every True."""
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def paint_eyes(colour: np.ndarray, person: Person, fine: Base, gaze: tuple[float, float], lids: float) -> None:
    """Paint both eyes onto (2 ROWS, 2 COLUMNS, 3). gaze: the iris's shift in cm; lids: 0 closed, 1 as usual."""
    for sign in (-1, 1):
        centre = sign * person.eye_x
        place = window((np.abs(fine.x - centre) < 2.1) & (np.abs(fine.y - person.eye_y) < 1.6) & (fine.z > 0))
        x, y = fine.x[place] - centre, fine.y[place] - person.eye_y
        across = sign * x / person.eye_width  # -1 at the inner corner, 1 at the outer
        y = y - person.eye_tilt * across * 1.2
        arch = np.clip(1 - np.abs(across - 0.05) ** 2.3, 0, 1)
        upper = (person.eye_open * lids - 0.25 * (1 - lids)) * arch ** 0.75
        lower = -0.62 * person.eye_open * arch ** 0.9 * (0.35 + 0.65 * lids)
        lower = np.minimum(lower, upper)
        opened = smoothstep(upper - y, -0.04, 0.07) * smoothstep(y - lower, -0.04, 0.07) * (np.abs(across) < 1.04)
        shade = 0.55 + 0.45 * smoothstep(upper - y, 0.0, 0.4)
        eye = WHITE * (shade * (1 - 0.25 * np.abs(across) ** 2))[..., None]
        distance = np.hypot(x - gaze[0], y - gaze[1] - 0.03)
        iris = smoothstep(-distance, -0.66, -0.55)[..., None]
        tone = linear(person.iris) * (shade * (0.6 + 0.7 * smoothstep(-np.abs(distance - 0.4), -0.25, 0)))[..., None]
        eye = eye * (1 - iris) + tone * iris
        eye = eye * (1 - 0.95 * smoothstep(-distance, -0.31, -0.22))[..., None]
        eye = eye + 0.6 * bump(x, y, (gaze[0] - 0.17, gaze[1] + 0.2), 0.1, 0.1)[..., None]
        block = colour[place]
        crease = 0.45 * np.exp(-0.5 * ((y - upper - 0.34) / 0.10) ** 2) * smoothstep(-np.abs(across), -1.15, -0.7)
        lash = 0.9 * np.exp(-0.5 * ((y - upper - 0.04) / 0.10) ** 2) * smoothstep(-np.abs(across), -1.12, -0.95)
        rim = 0.35 * np.exp(-0.5 * ((y - lower + 0.05) / 0.07) ** 2) * smoothstep(-np.abs(across), -1.05, -0.8)
        block = block * (1 - crease)[..., None]
        block = block * (1 - opened)[..., None] + eye * opened[..., None]
        colour[place] = block * (1 - lash)[..., None] * (1 - rim)[..., None]


def paint_mouth(colour: np.ndarray, person: Person, fine: Base, opened: float, teeth: float) -> None:
    """Paint the lips onto (2 ROWS, 2 COLUMNS, 3). opened: 0 closed to 1; teeth: how far they show, 0 to 1."""
    place = window((np.abs(fine.x) < person.mouth_width + 1) & (np.abs(fine.y - person.mouth_y) < 2) & (fine.z > 0))
    x, y = fine.x[place], fine.y[place] - person.mouth_y
    across = x / person.mouth_width
    taper = np.clip(1 - np.abs(across) ** 2.2, 0, 1)
    bow = person.lip_bow * (np.exp(-0.5 * ((np.abs(across) - 0.2) / 0.14) ** 2) - np.exp(-0.5 * (across / 0.1) ** 2))
    top = (person.lip_upper * taper ** 0.8 + bow * taper) + 0.05
    bottom = -person.lip_lower * taper ** 0.65 - 0.05
    lip = smoothstep(top - y, -0.03, 0.12) * smoothstep(y - bottom, -0.03, 0.12) * (np.abs(across) < 1.02)
    block = colour[place]
    skin = linear(person.skin)
    tone = skin * (1 - np.clip(person.lip_redness, 0.05, 1) * np.array([0.18, 0.62, 0.52], np.float32))
    grooves = 1 + 0.08 * np.sin(x * 21) - 0.12 * smoothstep(y, -0.05, 0.3)
    block = block * (1 - 0.9 * lip[..., None]) + (tone * grooves[..., None]) * 0.9 * lip[..., None]
    low = -0.42 * opened * taper ** 0.6
    inner = smoothstep(0.05 - y, -0.03, 0.05) * smoothstep(y - low, -0.03, 0.05) * min(1.0, opened * 6)
    inner = inner * smoothstep(-np.abs(across), -1.02, -0.85)
    shown = smoothstep(y - low * teeth, -0.06, 0.06)[..., None]
    inside = INSIDE + (TEETH * (1 - 0.5 * np.abs(across[..., None])) - INSIDE) * shown
    block = block * (1 - inner[..., None]) + inside * inner[..., None]
    line = 0.72 * np.exp(-0.5 * ((y - 0.03) / 0.085) ** 2) * smoothstep(-np.abs(across), -1.08, -0.9)
    colour[place] = block * (1 - line * (1 - 0.7 * inner))[..., None]

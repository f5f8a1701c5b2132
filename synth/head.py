"""The shape of a head: a skull and neck of smooth rings, with the face's features raised on it."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synth import grid
from synth.grid import bump, smoothstep
from synth.identity import Person

# heights above the eyes (cm) and what the rings measure there, for the average person
_FRONT = ((11.8, 9.2), (8, 9.5), (5, 9.55), (2.2, 9.45), (0.3, 9.1), (-2, 9.35), (-4.6, 9.5), (-6.6, 9.4), (-8.2, 9.1),
          (-9.6, 9.3), (-10.6, 9.0), (-11.6, 8.2), (-13, 7.5), (-19, 7))
_SIDE = ((11.8, 1.04), (6, 1.04), (3, 1.0), (0, 0.965), (-2.5, 0.94))  # fraction of the skull's half width
# fraction of its half depth
_BACK = ((11.8, 1.0), (4, 1.04), (0, 1.0), (-4, 0.86), (-8, 0.7), (-12, 0.66), (-19, 0.66))


@dataclass(frozen=True)
class Base:
    """Coordinates of features: azimuth and height (cm), and the featureless head's x and z (cm), of mesh points or
    samples."""

    azimuth: np.ndarray
    y: np.ndarray
    x: np.ndarray
    z: np.ndarray

    def finer(self) -> Base:
        """The same at the samples."""
        return Base(*(grid.finer(part) for part in (self.azimuth, self.y, self.x, self.z)))


def base_of(person: Person) -> Base:
    """The rings of a person's head and neck, without features: (ROWS, COLUMNS) float32 each."""
    azimuth = np.broadcast_to(grid.azimuths(), (grid.ROWS, grid.COLUMNS))
    y = np.broadcast_to(grid.heights()[:, None], azimuth.shape)
    radius = _rings(person, azimuth, y)
    return Base(*(np.ascontiguousarray(part, np.float32)
                  for part in (azimuth, y, radius * np.sin(azimuth), radius * np.cos(azimuth))))


def _rings(person: Person, azimuth: np.ndarray, y: np.ndarray) -> np.ndarray:
    height = y[:, 0]
    front = _curve(height, _FRONT) + person.chin_forward * 0.5 * smoothstep(-height, 6.5, 9.5)
    front = front - person.forehead_slope * 0.12 * np.clip(height - 2, 0, 8)
    side = person.skull_width * _curve(height, _SIDE)
    low = smoothstep(-height, 2.0, 10.5)
    side = side * (1 - low) + (person.jaw_width * (0.96 - 0.36 * smoothstep(-height, 6.5, 12.0))) * low
    back = person.skull_depth * _curve(height, _BACK)
    dome = np.sqrt(np.clip(1 - np.clip((height - 2.5) / (grid.TOP - 2.5), 0, 1) ** 2.5, 0, 1))
    sine, cosine = np.abs(np.sin(azimuth)), np.cos(azimuth)
    depth = np.where(cosine > 0, front[:, None], back[:, None])
    power = person.face_square - 0.25 * low[:, None]
    face = ((sine / side[:, None]) ** power + (np.abs(cosine) / depth) ** power) ** (-1 / power) * dome[:, None]
    neck = _neck(person, azimuth, height)
    turn = np.abs(azimuth)
    jaw = np.interp(turn, (0, 0.5, 1.4, 1.75, 2.2, np.pi), (-10.9, -10.6, -10.9 + person.jaw_rise, -5.5, -5.0, -6.5))
    share = smoothstep(y - jaw, -1.0, 0.55)
    return neck + (face - neck) * share


def _neck(person: Person, azimuth: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Distance from the head's axis to a neck whose own axis is behind it, widening to shoulders below."""
    shoulder = smoothstep(-height, 14.5, 19.5)[:, None]
    across = person.neck_width + 13 * shoulder
    along = person.neck_width * 1.02 + 3.5 * shoulder
    centre = (-1.6 - 0.22 * np.clip(-height - 9, 0, None))[:, None]
    a = (np.sin(azimuth) / across) ** 2 + (np.cos(azimuth) / along) ** 2
    b = -np.cos(azimuth) * centre / along ** 2
    c = (centre / along) ** 2 - 1
    return (-b + np.sqrt(np.maximum(b * b - a * c, 0))) / a


def shape_of(person: Person, base: Base, hair: np.ndarray) -> np.ndarray:
    """(ROWS, COLUMNS, 3) float32 positions of a relaxed face, in cm: x to the image's right, y up, z to the camera.

    hair: (ROWS, COLUMNS) fraction of hair, 0 to 1; it covers ears, and hangs straight down where it is long.
    """
    x, y, z = base.x, base.y, base.z
    side = np.abs(x)
    front = smoothstep(z, 1.5, 5.0)
    forward = front * (_nose(person, side, y) + _eyes(person, side, y) + _mouth(person, x, side, y))
    cheek = person.cheekbone * bump(side, y, (4.7, -2.3), 1.5, 1.2)
    cheek += person.cheek_fullness * bump(side, y, (4.4, -5.6), 1.4, 1.8)
    chin = (person.chin_forward * 0.7 + 0.25) * bump(x, y, (0, -9.5), 1.5 * person.chin_width, 0.95)
    moved = np.stack([x, y, z], 2)
    moved[..., 2] += forward + front * (0.8 * cheek + chin)
    moved[..., 0] += np.sign(x) * front * 0.7 * cheek
    drop = smoothstep(-y, 7.5, 11.0) * smoothstep(z, 2.0, 8.5)
    moved[..., 1] -= person.chin_drop * drop + 0.5 * person.nose_turn * bump(x, y, (0, person.nose_tip_y), 0.9, 0.8)
    moved += _ears(person, base) * (1 - hair[..., None])
    moved += _hanging(base, hair)
    moved[..., 1] *= np.where(moved[..., 1] > 0, person.upper_height, person.lower_height)
    return moved.astype(np.float32)


def _nose(person: Person, side: np.ndarray, y: np.ndarray) -> np.ndarray:
    tip, root = person.nose_tip_y, 0.6
    along = np.clip((root - y) / (root - tip), 0, 1)  # 0 at the root, 1 at the tip
    height = person.nasion_depth * (1 - along) + (person.nose_forward - 0.3) * along ** 1.15
    height += person.nose_hump * np.sin(np.pi * np.clip(along * 1.15, 0, 1)) ** 2
    height *= smoothstep(y, tip - 1.05, tip - 0.1) * smoothstep(-y, -2.2, 0.2)
    width = person.nose_bridge_width + 0.38 * along ** 2
    ridge = height * np.exp(-(side / width) ** 2.4 * 0.8)
    ball = person.nose_ball * bump(side, y, (0, tip + 0.05), 0.62, 0.5)
    wings = 0.75 * bump(side, y, (person.nose_width * 0.88, tip - 0.45), 0.40, 0.42)
    holes = -0.5 * bump(side, y, (0.6, tip - 0.78), 0.3, 0.18)
    return ridge + ball + wings + holes


def _eyes(person: Person, side: np.ndarray, y: np.ndarray) -> np.ndarray:
    brow = person.brow_ridge * bump(side, y, (2.6, 1.95), 2.0, 0.55)
    socket = -person.eye_depth * bump(side, y, (person.eye_x - 0.3, 0.15 + person.eye_y), 1.35, 0.75)
    ball = (person.eye_bulge + 0.2) * bump(side, y, (person.eye_x, person.eye_y), 0.85, 0.6)
    lid = 0.13 * bump(side, y, (person.eye_x, person.eye_y + 0.62), 1.0, 0.18)
    bag = 0.12 * bump(side, y, (person.eye_x, person.eye_y - 1.05), 1.0, 0.3)
    return brow + socket + ball + lid + bag


def _mouth(person: Person, x: np.ndarray, side: np.ndarray, y: np.ndarray) -> np.ndarray:
    middle, width = person.mouth_y, person.mouth_width
    within = smoothstep(-side, -width * 1.1, -width * 0.35)
    forward = 0.22 + person.lip_forward
    muzzle = 0.55 * forward * bump(x, y, (0, middle + 0.3), width * 0.75, 1.5)
    upper = forward * np.exp(-0.5 * ((y - middle - 0.42) / (0.22 + 0.4 * person.lip_upper)) ** 2) * within
    lower = forward * np.exp(-0.5 * ((y - middle + 0.52) / (0.20 + 0.4 * person.lip_lower)) ** 2) * within
    slit = -0.32 * np.exp(-0.5 * ((y - middle) / 0.16) ** 2) * smoothstep(-side, -width * 1.15, -width * 0.8)
    corner = -0.18 * bump(side, y, (width, middle), 0.4, 0.35)
    groove = (-0.12 + person.philtrum * 0.3) * bump(x, y, (0, middle + 1.35), 0.22, 0.5)
    fold = -0.3 * bump(x, y, (0, middle - 1.65), 1.4, 0.4)
    return muzzle + upper + 0.95 * lower + slit + corner + groove + fold


def ear_place(person: Person, base: Base) -> tuple[np.ndarray, np.ndarray]:
    """Position within the nearer ear: across (-1 its front, 1 its back) and up (-1 lobe, 1 top); beyond +-1 outside."""
    across = (-base.z - 0.9 + 0.16 * (base.y - person.ear_y)) / (1.75 * person.ear_size)
    up = (base.y - person.ear_y) / (3.15 * person.ear_size)
    return np.where(np.abs(base.azimuth) < 2.6, across, 9), up


def _ears(person: Person, base: Base) -> np.ndarray:
    across, up = ear_place(person, base)
    narrow = 1 - 0.28 * np.clip(-up, 0, 1)
    radius = np.sqrt((across / narrow) ** 2 + up ** 2)
    inside = smoothstep(-radius, -1.05, -0.86)
    rim = np.exp(-0.5 * ((radius - 0.84) / 0.11) ** 2) * smoothstep(across + 0.55 * up, -0.75, 0.0)
    fold = np.exp(-0.5 * ((radius - 0.48) / 0.12) ** 2) * smoothstep(across, -0.2, 0.25)
    bowl = bump(across, up, (-0.15, -0.1), 0.30, 0.26)
    out = inside * (0.35 + person.ear_out * smoothstep(across, -1.0, 1.1)) + 0.5 * rim + 0.3 * fold - 0.55 * bowl
    out *= smoothstep(-radius, -1.25, -0.9)
    return np.stack([np.sign(base.x) * out, np.zeros_like(out), -0.45 * inside * smoothstep(across, -0.6, 1.0)], 2)


def _hanging(base: Base, hair: np.ndarray) -> np.ndarray:
    radius = np.hypot(base.x, base.z)
    fall = radius[int(np.argmin(np.abs(base.y[:, 0] + 1.0)))]  # where hair hangs from: the head beside the eyes
    out = np.maximum(fall * (1 - 0.012 * np.clip(-1 - base.y, 0, 20)) - radius, 0)
    out *= hair * smoothstep(-base.y, 1.0, 3.0) * smoothstep(np.abs(base.azimuth), 1.18, 1.75)
    return np.stack([out * np.sin(base.azimuth), np.zeros_like(out), out * np.cos(base.azimuth)], 2)


def _curve(height: np.ndarray, points: tuple) -> np.ndarray:
    """Straight lines between (height, value) points, rounded over about a centimetre."""
    heights, values = zip(*points)
    return np.mean([np.interp(-(height + shift), [-h for h in heights], values) for shift in np.linspace(-.9, .9, 7)],
                   axis=0)

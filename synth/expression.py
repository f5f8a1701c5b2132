"""Facial expressions: displacements of the mesh that an image blends, and the samples of the five landmarks."""
from __future__ import annotations

import numpy as np

from synth.grid import bump, smoothstep
from synth.head import Base
from synth.identity import Person

MOVES = ("smile", "open", "brows", "pucker", "hair")


def moves_of(person: Person, base: Base, hair: np.ndarray) -> np.ndarray:
    """(len(MOVES), ROWS, COLUMNS, 3) float32: displacement (cm) of each point at full strength of a movement.

    hair: (ROWS, COLUMNS) fraction of hair, 0 to 1, which the last movement lifts.
    """
    x, y, z = base.x, base.y, base.z
    side, sign = np.abs(x), np.sign(x)
    front = smoothstep(z, 1.5, 5.0)
    middle, width = person.mouth_y, person.mouth_width
    corner = bump(side, y, (width + 0.2, middle), 1.1, 1.0) * front
    cheek = bump(side, y, (3.9, -3.0), 1.3, 1.0) * front
    zero = np.zeros_like(x)
    smile = np.stack([sign * 0.75 * corner, 0.65 * corner + 0.3 * cheek, 0.45 * cheek - 0.25 * corner], 2)
    reach = 1.6 * smoothstep(side, width * 0.8, width + 1.6)  # lips part at once; a cheek stretches over its height
    below = smoothstep(middle - y, -0.1 - 0.6 * reach, 0.5 + reach) * smoothstep(z, -1.0, 6.0)
    below = below * smoothstep(y, -13.5, -10.5)
    jaw = np.stack([zero, -1.5 * below, -0.45 * below], 2)
    brows = np.stack([zero, 0.55 * bump(side, y, (2.9, 2.2), 1.9, 0.8) * front, zero], 2)
    lips = bump(x, y, (0, middle), width * 0.9, 0.9) * front
    pucker = np.stack([-0.28 * x * lips, zero, 0.55 * lips], 2)
    size = np.maximum(np.sqrt(x * x + z * z), 3)
    lift = hair * person.hair_volume
    up = smoothstep(y, 2.0, 10.0)
    tall = np.stack([x / size * lift * (1 - 0.5 * up), up * lift, z / size * lift * (1 - 0.5 * up)], 2)
    return np.stack([smile, jaw, brows, pucker, tall]).astype(np.float32)


def landmark_samples(person: Person, fine: Base, mouth_width: float) -> list[tuple[int, int]]:
    """(row, column) of the five landmarks among the samples: left eye, right eye, nose tip, mouth corners, left and
    right as the image shows them at yaw 0."""
    places = [(-person.eye_x, person.eye_y), (person.eye_x, person.eye_y), (0, person.nose_tip_y + 0.1),
              (-mouth_width, person.mouth_y), (mouth_width, person.mouth_y)]
    found = []
    for x, y in places:
        distance = (fine.x - x) ** 2 + (fine.y - y) ** 2 + np.where(fine.z > 0, 0, 1e6)
        row, column = np.unravel_index(np.argmin(distance), distance.shape)
        found.append((int(row), int(column)))
    return found

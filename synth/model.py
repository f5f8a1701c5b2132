"""An identity's 3D model: all that does not change from image to image."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synth import expression, head, texture
from synth.grid import smoothstep
from synth.identity import Person


@dataclass(frozen=True)
class FaceModel:
    """shape: (ROWS, COLUMNS, 3) cm; moves: see `expression`; of the samples: base, bare skin, beard's place, depth in
    hair (cm), strands. landmarks: (row, column) of the five among the samples."""

    person: Person
    shape: np.ndarray
    moves: np.ndarray
    fine: head.Base
    skin: np.ndarray
    beard: np.ndarray
    hair: np.ndarray
    strands: np.ndarray
    landmarks: list[tuple[int, int]]


def model_of(person: Person) -> FaceModel:
    """Compute an identity's model."""
    base = head.base_of(person)
    fine = base.finer()
    covered = smoothstep(texture.hair_field(person, base), -0.2, 1.8).astype(np.float32)
    return FaceModel(person, head.shape_of(person, base, covered), expression.moves_of(person, base, covered), fine,
                 texture.skin_of(person, fine), texture.beard_of(person, fine).astype(np.float32),
                 texture.hair_field(person, fine).astype(np.float32), texture.strands_of(person, fine.x.shape),
                 expression.landmark_samples(person, fine, person.mouth_width))

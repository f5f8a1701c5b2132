"""Controlled misalignment of crops, as by a detector's errors: Section 3.1 of the paper as a curve."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Iterator, Mapping

import cv2
import numpy as np

BORDERS = {"black": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}


@dataclass(frozen=True)
class Misalignment:
    """shift: pixels, in a random direction for each image. rotate: degrees about the centre, the sense random for each
    image. scale: about the centre, above 1 larger."""

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 1.0

    @property
    def none(self) -> bool:
        """Whether it is the identity."""
        return self.shift == 0 and self.rotate == 0 and self.scale == 1

    def __str__(self) -> str:
        parts = [f"{name} {value:g}" for name, value, nothing in (
            ("shift", self.shift, 0), ("rotate", self.rotate, 0), ("scale", self.scale, 1)) if value != nothing]
        return ", ".join(parts) or "aligned"


def misalign(images: np.ndarray, how: Misalignment, first: int, seed: int = 0, border: str = "black") -> np.ndarray:
    """(n, H, W, 3) uint8, each image transformed; the border is black, or the image reflected.

    first: the index of the first image in its set: directions are a function of it and the seed, so the same image is
    transformed the same way in any batch, and for every model.
    """
    if how.none:
        return images
    height, width = images.shape[1:3]
    moved = np.empty_like(images)
    for number, image in enumerate(images):
        random = np.random.RandomState([seed, first + number])
        direction, sense = random.uniform(0, 2 * np.pi), random.choice([-1.0, 1.0])
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), sense * how.rotate, how.scale)
        matrix[:, 2] += how.shift * np.array([np.cos(direction), np.sin(direction)])
        moved[number] = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR,
                                       borderMode=BORDERS[border])
    return moved


def misaligned_batches(batches: Iterable[np.ndarray], how: Misalignment, seed: int = 0,
                       border: str = "black") -> Iterator[np.ndarray]:
    """The batches of a whole set, in order, each image transformed by `misalign`."""
    first = 0
    for batch in batches:
        yield misalign(batch, how, first, seed, border)
        first += len(batch)


def misalignments(values: Mapping[str, Iterable[float]]) -> list[Misalignment]:
    """Aligned first, then each value of each kind (`shift`, `rotate`, `scale`) alone, without repetition."""
    return list(dict.fromkeys([Misalignment(), *(Misalignment(**{kind: value}) for kind, some in values.items()
                                                 for value in some)]))

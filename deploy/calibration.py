"""Calibration images of 8-bit quantisation: a sample of a packed set."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from common.errors import DataError, UserError
from eval.face_sets import open_face_set
from images.codec import ImageError, decode

SEED = 0
FEWEST = 16


def read_calibration(path: Path, count: int, held_out: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """`count` images of the set at `path`, and `held_out` others, (n, 3, H, W) float32 from 0 to 255, sampled by a
    fixed seed. UserError where there are fewer, or they are not of `size`."""
    with open_face_set(path, of_pairs=True) as faces:
        there = len(faces.names)
        if there < FEWEST:
            raise UserError(f"`int8` {path}: holds {there} images; {FEWEST} are needed at least, and hundreds are "
                            "better")
        order = np.random.RandomState(SEED).permutation(there)[:count + held_out]
        pixels = []
        for number in order.tolist():
            try:
                image = decode(faces.read(number))
            except ImageError as error:
                raise DataError(f"{path}: {faces.names[number]} {error}") from None
            if image.shape[:2] != tuple(size):
                raise UserError(f"`int8` {path}: {faces.names[number]} is {image.shape[0]}x{image.shape[1]}, the model "
                                f"takes {size[0]}x{size[1]}")
            pixels.append(image)
    images = np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2), dtype=np.float32)
    apart = min(held_out, there // 3)  # of a small set a third is held out
    return images[apart:apart + count], images[:apart]

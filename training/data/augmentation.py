"""Augmentation of training images, as in InsightFace's image iterator."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """Augmentations, as in InsightFace's image iterator: the colours of every image are jittered, each of the others is
    applied with probability 0.5. cutoff: side of the square, where an odd one is one less."""

    mirror: bool = True
    cutoff: int = 0
    color: int = 0

    @property
    def draws(self) -> bool:
        """Whether `apply` is random."""
        return self.color > 0 or self.cutoff > 0

    def apply(self, image: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        """An augmented copy (or the image itself) of (H, W, 3) uint8 RGB; mirroring is the loader's."""
        if self.color > 1 and random.randint(2):
            image = _jpeg_artefacts(image, random)
        if self.color > 0:
            image = _jitter(image, 0.125, random)
        if self.cutoff > 0 and random.randint(2):
            image = _cut_out(image, self.cutoff, random)
        return image


def _jitter(image: np.ndarray, strength: float, random: np.random.RandomState) -> np.ndarray:
    out = image.astype(np.float32)
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    brightness, contrast, saturation = 1 + random.uniform(-strength, strength, 3).astype(np.float32)
    out *= brightness
    out = out * contrast + (1 - contrast) * (out @ luma).mean()
    out = out * saturation + (1 - saturation) * (out @ luma)[..., None]
    return np.clip(out, 0, 255).astype(np.uint8)


def _cut_out(image: np.ndarray, side: int, random: np.random.RandomState) -> np.ndarray:
    row, column = random.randint(image.shape[0]), random.randint(image.shape[1])
    half = side // 2
    image = image.copy()
    image[max(0, row - half):row + half, max(0, column - half):column + half] = 128
    return image


def _jpeg_artefacts(image: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    quality = random.randint(2, 21)  # 2 to 20, as InsightFace samples it
    _, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]

"""Inputs of the later networks: square patches of photographs, scaled to one size, and their mirror images."""
from __future__ import annotations

import cv2
import numpy as np

MIRRORED = [1, 0, 2, 4, 3]  # the five landmarks in a mirror image: the left eye is the right one there


def cut_patches(photograph: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    """(N, side, side, 3) uint8: the boxes (N, 4) of an (H, W, 3) photograph, scaled; black beyond its border."""
    pictures = np.empty((len(boxes), side, side, 3), np.uint8)
    for picture, (left, top, right, bottom) in zip(pictures, boxes):
        step_x, step_y = (right - left) / side, (bottom - top) / side  # pixels of the photograph per pixel of the patch
        matrix = np.array([[step_x, 0, left + (step_x - 1) / 2], [0, step_y, top + (step_y - 1) / 2]])
        cv2.warpAffine(photograph, matrix, (side, side), dst=picture, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                       borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return pictures


def with_mirrors(pictures: np.ndarray) -> np.ndarray:
    """(2N, ...): images (N, H, W, C), then their mirror images."""
    return np.concatenate([pictures, pictures[:, :, ::-1]])


def without_mirrors(points: np.ndarray) -> np.ndarray:
    """(N, 5, 2): the mean of landmarks in images and in their mirror images, (2N, 5, 2), relative to the image's
    side."""
    straight, mirrored = np.split(points, 2)
    mirrored = mirrored[:, MIRRORED]
    return (straight + np.stack([1 - mirrored[..., 0], mirrored[..., 1]], axis=-1)) / 2

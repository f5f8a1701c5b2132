"""Boxes as rows (left, top, right, bottom) in pixels, floating point: overlap, NMS, squares, regression."""
from __future__ import annotations

import numpy as np


def nms(boxes: np.ndarray, scores: np.ndarray, most: float, by_smaller: bool = False) -> np.ndarray:
    """Non-maximum suppression: indices of the kept boxes, best score first, none overlapping a better one by over
    `most`.

    boxes: (N, 4); scores: (N,). Overlap is the common area over that of the union, or over that of the smaller box.
    Of equal scores the first comes first.
    """
    order = np.argsort(-scores, kind="stable")
    left, top, right, bottom = boxes[order].T
    areas = (right - left) * (bottom - top)
    width = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    height = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    common = np.maximum(width, 0) * np.maximum(height, 0)
    whole = np.minimum(areas[:, None], areas) if by_smaller else areas[:, None] + areas - common
    overlapping = common > most * whole
    gone = np.zeros(len(order), bool)
    for row in range(len(order)):
        if not gone[row]:
            gone[row + 1:] |= overlapping[row, row + 1:]
    return order[~gone]


def apply_regression(boxes: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Boxes moved by a network's regression; shifts: (N, 4), of each side, in widths and heights of the box."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + shifts * np.hstack([sides, sides])


def squared(boxes: np.ndarray) -> np.ndarray:
    """The squares with the boxes' centres and their longer sides."""
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.hstack([centre - half, centre + half])

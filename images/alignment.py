"""Alignment by five landmarks: the similarity transform to the ecosystem's template, and the warp."""
from __future__ import annotations

import cv2
import numpy as np

# left eye, right eye, nose tip, left and right corner of the mouth, as the image shows them: x, y in a 112x112 crop
TEMPLATE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
                     (70.7299, 92.2041)])
TEMPLATE.setflags(write=False)
WORST_FIT = 20.0  # of 112 pixels, root mean square
SMALLEST = 12.0  # smallest side of a crop, in pixels of the photograph
NO_FACE = "landmarks that fit no face"
TOO_SMALL = "landmarks of a face of less than 12 pixels"
COINCIDE = "landmarks that coincide"
NOT_MARKED = "landmarks at 0,0 or -1,-1"
NO_NUMBERS = "landmarks that are not numbers of pixels"
HELP = {NO_FACE: "are left and right as the image shows them, x before y, and the columns in the order that is "
        "expected (x1,y1,...,x5,y5 in a table, x1..x5 y1..y5 in a .lst)?",
        TOO_SMALL: "are they in fractions of the image instead of pixels?", COINCIDE: "is a face missing there?",
        NOT_MARKED: "that stands for points that are not marked: leave such lines out, or let `align --detector` find "
        "all five", NO_NUMBERS: "nan, inf or too large: leave lines without a face out"}
APART = [0, 0, 0, 1, 1, 1, 2, 2], [2, 3, 4, 2, 3, 4, 3, 4]  # pairs of points; a profile's two eyes may coincide
FARTHEST = 1e6  # pixels; farther coordinates are invalid
LONGEST_SIDE = (1 << 15) - 2  # of an image that OpenCV warps


def template(height: int = 112, width: int = 112) -> np.ndarray:
    """(5, 2) landmarks in a crop of another size: scaled with the height, kept in the middle of the width."""
    scale = height / 112
    return TEMPLATE * scale + np.array([(width - 112 * scale) / 2, 0.0])


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3) float64 matrix of the rotation, scale and translation that best maps source points to target points.

    source, target: (N, 2) pixels, N >= 2. Least squares without reflection: S. Umeyama, "Least-squares estimation of
    transformation parameters between two point patterns", PAMI 1991, in closed form for the plane.
    Raises ValueError where the source points coincide or a point is not finite, so that no scale exists.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2 or len(source) < 2:
        raise ValueError(f"similarity: points of shapes {source.shape} and {target.shape}, not two of (N, 2), N >= 2")
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise ValueError("similarity: the points are not finite")
    middle, goal = source.mean(0), target.mean(0)
    a, b = source - middle, target - goal
    spread = float((a * a).sum())
    if not np.isfinite(spread) or spread < 1e-12:
        raise ValueError("similarity: the points coincide, or are too far apart")
    cosine = float((a * b).sum()) / spread  # scale * cos, scale * sin of the rotation
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    if not cosine * cosine + sine * sine > 0:
        raise ValueError("similarity: the points imply a scale of 0")
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = goal - np.array([cosine * middle[0] - sine * middle[1], sine * middle[0] + cosine * middle[1]])
    return np.hstack([turn, shift[:, None]])


def misfit(points: np.ndarray) -> str:
    """Why five (x, y) cannot be a face's, or "".

    The similarity to the template leaves at most 4.9 of 112 pixels (root mean square) with real frontal faces, 14.0
    with real profiles and 17.8 with synthetic ones up to a yaw of 90 degrees; 22.5 and more where the two sides are
    swapped, and about as much for x and y swapped or y counted from the bottom. Landmarks of a face below SMALLEST
    pixels count as fractions of the image size.
    """
    points = np.asarray(points, np.float64)
    if not (np.abs(points) < FARTHEST).all():
        return NO_NUMBERS
    if (points == 0).all(axis=1).any() or (points == -1).all(axis=1).any():  # as COCO and AFLW write them
        return NOT_MARKED
    if (points[APART[0]] == points[APART[1]]).all(axis=1).any():
        return COINCIDE
    try:
        matrix = similarity(points, TEMPLATE)
    except ValueError:
        return COINCIDE
    if np.hypot(*matrix[0, :2]) > 112 / SMALLEST:
        return TOO_SMALL
    rest = points @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE
    if np.sqrt((rest ** 2).sum(axis=1).mean()) > WORST_FIT:
        return NO_FACE
    return "" if _is_in_order(points * np.hypot(*matrix[0, :2])) else NO_FACE


def _is_in_order(points: np.ndarray) -> bool:
    """Whether eyes and mouth, in pixels of the crop, point the same way and do not lie on one line.

    A profile's eyes may be close together, or a little past each other, so short distances are not tested.
    """
    eyes, mouth = points[1] - points[0], points[4] - points[3]
    long_enough = min(np.hypot(*eyes), np.hypot(*mouth)) > 10
    if long_enough and eyes @ mouth < -0.5 * np.hypot(*eyes) * np.hypot(*mouth):
        return False
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[1] > 0.05 * spread[0])


def align(image: np.ndarray, points: np.ndarray, height: int = 112, width: int = 112) -> np.ndarray:
    """Crop a face: (H, W, 3) uint8 and its five (x, y) to (height, width, 3), black beyond the image's border.

    Raises ValueError for points that cannot be a face's.
    """
    matrix = similarity(points, template(height, width))
    if max(image.shape[:2]) > LONGEST_SIDE:
        image, matrix = _around_crop(image, matrix, height, width)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=0)


def _around_crop(image: np.ndarray, matrix: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image that the crop shows, and the matrix for it; ValueError where that is too large as well."""
    corners = np.array([(0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)], np.float64)
    shown = corners @ cv2.invertAffineTransform(matrix).T
    limits = image.shape[1], image.shape[0]
    left, top = (int(side) for side in np.clip(np.floor(shown.min(0)) - 2, 0, np.subtract(limits, 1)))
    right, bottom = (int(side) for side in np.clip(np.ceil(shown.max(0)) + 2, 1, limits))
    part = image[top:max(bottom, top + 1), left:max(right, left + 1)]
    if max(part.shape[:2]) > LONGEST_SIDE:
        raise ValueError(f"a face of more than {LONGEST_SIDE} pixels")
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (left, top)
    return part, shifted

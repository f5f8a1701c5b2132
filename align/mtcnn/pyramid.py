"""The image pyramids of many photographs, packed on canvases of one size.

The first network has a receptive field of 12x12 pixels and stride 2, and is applied to ever smaller copies of a
photograph. It is bound to canvases of one shape, however the photographs differ in size: their copies, split where they
are larger than a canvas, are placed side by side. Only outputs whose windows are inside one copy are read; they are
those that the copy alone would give.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Sequence

import cv2
import numpy as np

WINDOW = 12  # receptive field of one output of the first network, in pixels
STRIDE = 2  # pixels from one output to the next


@dataclass(frozen=True)
class Piece:
    """Part of a copy of a photograph, and its place on a canvas.

    photograph: its number; copy: (height, width) to which it was scaled; start: (top, left) of the part in the copy;
    size: (height, width) of the part; canvas: number of the canvas; place: (top, left) there, even numbers.
    """

    photograph: int
    copy: tuple[int, int]
    start: tuple[int, int]
    size: tuple[int, int]
    canvas: int = -1
    place: tuple[int, int] = (0, 0)


def scales(height: int, width: int, min_face: float, factor: float) -> list[float]:
    """The scales at which faces, from `min_face` pixels to the whole photograph, fill the window; largest first."""
    found, scale = [], WINDOW / min_face
    while min(height, width) * scale >= WINDOW:
        found.append(scale)
        scale *= factor
    return found


def pack(sizes: Sequence[tuple[int, int]], min_face: float, factor: float, side: int) -> list[Piece]:
    """Place all copies of photographs of `sizes`, (height, width), on few canvases of side x side."""
    pieces = []
    for number, (height, width) in enumerate(sizes):
        for scale in scales(height, width, min_face, factor):
            copy = math.ceil(height * scale), math.ceil(width * scale)
            pieces += [Piece(number, copy, (top, left), (min(side, copy[0] - top), min(side, copy[1] - left)))
                       for top in _starts(copy[0], side) for left in _starts(copy[1], side)]
    return _on_shelves(pieces, side)


def _starts(length: int, side: int) -> range:
    # Neighbours overlap by a window less its first STRIDE pixels: no window is lost, and none is evaluated twice.
    return range(0, max(length - (WINDOW - STRIDE), 1), side - (WINDOW - STRIDE))


def _on_shelves(pieces: list[Piece], side: int) -> list[Piece]:
    """Tallest first, each on the first shelf with room; a shelf is as tall as its first piece."""
    shelves: list[list[int]] = []  # canvas, top, height, room taken from the left
    taken: list[int] = []  # height used of each canvas
    placed = []
    for piece in sorted(pieces, key=lambda piece: -piece.size[0]):
        height, width = (length + length % STRIDE for length in piece.size)
        shelf = next((shelf for shelf in shelves if shelf[2] >= height and shelf[3] + width <= side), None)
        if shelf is None:
            canvas = next((number for number, used in enumerate(taken) if used + height <= side), len(taken))
            if canvas == len(taken):
                taken.append(0)
            shelf = [canvas, taken[canvas], height, 0]
            shelves.append(shelf)
            taken[canvas] += height
        placed.append(replace(piece, canvas=shelf[0], place=(shelf[1], shelf[3])))
        shelf[3] += width
    return placed


def render(photographs: Sequence[np.ndarray], pieces: Sequence[Piece], side: int) -> np.ndarray:
    """The canvases, (n, side, side, 3) uint8, with the pieces of the (H, W, 3) uint8 photographs on them."""
    canvases = np.zeros((1 + max((piece.canvas for piece in pieces), default=-1), side, side, 3), np.uint8)
    copies: dict = {}
    for piece in pieces:
        key = piece.photograph, piece.copy
        if key not in copies:
            copies[key] = cv2.resize(photographs[piece.photograph], piece.copy[::-1], interpolation=cv2.INTER_LINEAR)
        (top, left), (y, x), (height, width) = piece.place, piece.start, piece.size
        canvases[piece.canvas, top:top + height, left:left + width] = copies[key][y:y + height, x:x + width]
    return canvases


def read(piece: Piece, photograph: tuple[int, int], faces: np.ndarray, shifts: np.ndarray, threshold: float
         ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first network's detections on a piece: boxes (N, 4) in pixels of the photograph, scores (N,), shifts (N, 4).

    photograph: its (height, width). faces: (h, w), the probability of a face at each output of the piece's canvas;
    shifts: (4, h, w), of left, top, right, bottom in window sides. Outputs above `threshold` count.
    """
    rows, columns = ((length - WINDOW) // STRIDE + 1 for length in piece.size)
    top, left = (place // STRIDE for place in piece.place)
    window = slice(top, top + max(rows, 0)), slice(left, left + max(columns, 0))
    y, x = np.nonzero(faces[window] > threshold)
    corners = np.stack([STRIDE * x + piece.start[1], STRIDE * y + piece.start[0]], axis=1).astype(np.float64)
    scale = np.array([photograph[1] / piece.copy[1], photograph[0] / piece.copy[0]])
    boxes = np.hstack([corners * scale, (corners + WINDOW) * scale])
    return boxes, faces[window][y, x], shifts[(slice(None), *window)][:, y, x].T

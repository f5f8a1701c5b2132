"""MTCNN's cascade: three networks, each refining the candidates of the one before; a fourth refines the five
landmarks."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Sequence

import mxnet as mx
import numpy as np

from align.mtcnn import pyramid
from align.mtcnn.boxes import apply_regression, nms, squared
from align.mtcnn.networks import Network, load
from align.mtcnn.patches import MIRRORED, cut_patches, with_mirrors, without_mirrors
from common.files import PathLike

CANVAS = 512  # side of the first network's canvases, in pixels
MOST = 1000  # boxes of a scale, and of a photograph, passed to the next stage: bounds the work on an image of noise
PATCH = 0.25  # side of the fourth network's patches, relative to the face box
FAR = 0.35  # its shifts beyond this, relative to its patch, are ignored


@dataclass(frozen=True)
class Search:
    """min_face: the smallest face to detect, in pixels; factor: from one scale of the pyramid to the next;
    thresholds: of the three networks' face probabilities."""

    min_face: float = 40
    factor: float = 0.709
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Face:
    """box: (4,), left, top, right, bottom; score: probability by the third network; points: (5, 2), x and y of the left
    eye, right eye, nose, left and right corner of the mouth as the image shows them. All in the photograph's pixels."""

    box: np.ndarray
    score: float
    points: np.ndarray


class Detector:
    """The networks det1 to det4 of a folder, on some devices; UserError where they are missing."""

    def __init__(self, folder: PathLike, devices: Sequence[mx.Context]) -> None:
        def network(name: str, side: int, channels: int, batch: int, outputs: Sequence[tuple[int, ...]]) -> Network:
            return load(folder, name, devices, (side, side, channels), batch, outputs)

        answers = (CANVAS - pyramid.WINDOW) // pyramid.STRIDE + 1
        self._det1 = network("det1", CANVAS, 3, 1, [(4, answers, answers), (2, answers, answers)])
        self._det2 = network("det2", 24, 3, 64, [(4,), (2,)])
        self._det3 = network("det3", 48, 3, 16, [(10,), (4,), (2,)])
        self._det4 = network("det4", 24, 15, 16, [(2,)] * 5)

    def detect(self, photographs: Sequence[np.ndarray], search: Search) -> list[list[Face]]:
        """The faces in each of the (H, W, 3) uint8 RGB photographs, of any sizes; best score first."""
        boxes = self._propose(photographs, search)
        closer = []
        for squares, (shifts, faces) in _look(self._det2, photographs, boxes):
            kept, _, shifts = _suppressed(_above(search.thresholds[1], squares, faces[:, 1], shifts), 0.7)
            closer.append(squared(apply_regression(kept, shifts)))
        found = []
        for squares, (points, shifts, faces) in _look(self._det3, photographs, closer):
            kept, scores, shifts, points = _above(search.thresholds[2], squares, faces[:, 1], shifts, points)
            points, kept = _inside(kept, _pairs(points)), apply_regression(kept, shifts)
            found.append([Face(kept[number], float(scores[number]), points[number])
                          for number in nms(kept, scores, 0.7, by_smaller=True)])
        return found

    def place_points(self, photographs: Sequence[np.ndarray], faces: Sequence[Face]) -> list[np.ndarray]:
        """Better landmarks, (5, 2), of one face in each photograph.

        The third network is applied again, now that the face is centred, and to the mirror image; the fourth is applied
        to a patch around each landmark, and to its mirror image, and decides. So a mirrored photograph has mirrored
        landmarks.
        """
        if not faces:
            return []
        squares = squared(np.stack([face.box for face in faces]))
        pictures = np.concatenate([cut_patches(photograph, square[None], 48)
                                   for photograph, square in zip(photographs, squares)])
        points = _inside(squares, without_mirrors(_pairs(self._det3(with_mirrors(pictures))[0])))
        half = PATCH / 2 * np.stack([face.box[2:] - face.box[:2] for face in faces]).max(axis=1)[:, None, None]
        around = np.concatenate([points - half, points + half], axis=2)
        patches = np.stack([cut_patches(photograph, square, 24) for photograph, square in zip(photographs, around)])
        patches = np.concatenate([patches, patches[:, MIRRORED, :, ::-1]])  # (2N, 5, 24, 24, 3)
        places = np.stack(self._det4(patches.transpose(0, 2, 3, 1, 4).reshape(-1, 24, 24, 15)), axis=1)
        places[(np.abs(places - 0.5) > FAR).any(axis=2)] = 0.5
        return list(around[..., :2] + 2 * half * without_mirrors(places))

    def _propose(self, photographs: Sequence[np.ndarray], search: Search) -> list[np.ndarray]:
        """The first network's boxes, (N, 4) of each photograph."""
        sizes = [(len(photograph), photograph.shape[1]) for photograph in photographs]
        pieces = pyramid.pack(sizes, search.min_face, search.factor, CANVAS)
        if not pieces:
            return [np.zeros((0, 4))] * len(photographs)
        shifts, faces = self._det1(pyramid.render(photographs, pieces, CANVAS))
        copies: dict = {}
        for piece in pieces:
            seen = pyramid.read(piece, sizes[piece.photograph], faces[piece.canvas, 1], shifts[piece.canvas],
                                search.thresholds[0])
            copies.setdefault((piece.photograph, piece.copy), []).append(seen)
        by_photograph: list[list] = [[] for _ in photographs]
        for (number, _), parts in copies.items():
            by_photograph[number].append(_suppressed(_joined(parts), 0.5))
        boxes = []
        for parts in by_photograph:
            kept, _, shifts = _suppressed(_joined(parts), 0.7) if parts else (np.zeros((0, 4)),) * 3
            boxes.append(squared(apply_regression(kept, shifts)))
        return boxes


def _look(network: Network, photographs: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
          ) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Each photograph's boxes with the network's outputs for them; the boxes of all photographs share batches."""
    pictures = [cut_patches(photograph, some, network.shape[0]) for photograph, some in zip(photographs, boxes)]
    if not pictures:
        return
    outputs, start = network(np.concatenate(pictures)), 0
    for some in boxes:
        yield some, [output[start:start + len(some)].astype(np.float64) for output in outputs]
        start += len(some)


def _pairs(points: np.ndarray) -> np.ndarray:
    """(N, 5, 2) of the third network's (N, 10), five x, then five y."""
    return points.reshape(-1, 2, 5).transpose(0, 2, 1)


def _inside(boxes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Pixels, (N, 5, 2), of points relative to boxes (N, 4)."""
    return boxes[:, None, :2] + places * (boxes[:, 2:] - boxes[:, :2])[:, None]


def _joined(parts: list[Sequence[np.ndarray]]) -> list[np.ndarray]:
    return [np.concatenate(values) for values in zip(*parts)]


def _above(threshold: float, boxes: np.ndarray, scores: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    chosen = scores > threshold
    return [values[chosen] for values in (boxes, scores, *others)]


def _suppressed(seen: Sequence[np.ndarray], most: float) -> list[np.ndarray]:
    """NMS of boxes, scores and the arrays that belong to them."""
    best = np.argsort(-seen[1], kind="stable")[:MOST]
    chosen = best[nms(seen[0][best], seen[1][best], most)]
    return [values[chosen] for values in seen]

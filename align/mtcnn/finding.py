"""Face detection in photographs, with a second, relaxed search; one face of several, or all."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, List, Sequence

import cv2
import numpy as np

from align.mtcnn.detector import Detector, Face, Search

RELAXED_THRESHOLDS = (0.5, 0.6, 0.6)
RELAXED_FACTOR = 0.8
# margin on each side for the second search, relative to the longer side: faces at the border are missed without it
MARGIN = 0.25
GRAY = (127, 127, 127)
SMALL = 200  # longer side, in pixels, to which smaller photographs are enlarged for the second search ...
MOST_ENLARGED = 8  # ... by at most this factor


Keep = Callable[[Sequence[Face], "tuple[int, int]"], List[Face]]


@dataclass(frozen=True)
class FoundFace:
    """A face, its refined landmarks, and whether it was found by the second search."""

    face: Face
    relaxed: bool


def find(detector: Detector, photographs: Sequence[np.ndarray], search: Search, rule: str, relax: bool = True
         ) -> list[FoundFace | None]:
    """The chosen face of each (H, W, 3) uint8 RGB photograph, or None where there is none.

    rule: see `choose`. relax: where nothing is found, search again with lower thresholds and a finer pyramid, with a
    margin around the photograph, a small one enlarged.
    """
    def chosen(faces: Sequence[Face], size: tuple[int, int]) -> list[Face]:
        face = choose(faces, size, rule)
        return [] if face is None else [face]

    return [faces[0] if faces else None for faces in _search_twice(detector, photographs, search, relax, chosen)]


def find_all(detector: Detector, photographs: Sequence[np.ndarray], search: Search, relax: bool = True
             ) -> list[list[FoundFace]]:
    """Every face of each photograph, the largest first; `relax` as for `find`."""
    def largest_first(faces: Sequence[Face], size: tuple[int, int]) -> list[Face]:
        return sorted(faces, key=lambda face: (-float((face.box[2:] - face.box[:2]).prod()), -face.score))

    return _search_twice(detector, photographs, search, relax, largest_first)


def _search_twice(detector: Detector, photographs: Sequence[np.ndarray], search: Search, relax: bool, keep: Keep
          ) -> list[list[FoundFace]]:
    """The faces that `keep` selects in each photograph of a size, (height, width)."""
    faces = [keep(some, _size(photograph))
             for some, photograph in zip(detector.detect(photographs, search), photographs)]
    empty = [number for number, some in enumerate(faces) if not some] if relax else []
    if empty:
        one, two, three = map(min, search.thresholds, RELAXED_THRESHOLDS)
        second = replace(search, thresholds=(one, two, three),
                         factor=max(search.factor, RELAXED_FACTOR))
        views = [_View(photographs[number]) for number in empty]
        for number, view, some in zip(empty, views, detector.detect([view.picture for view in views], second)):
            faces[number] = keep([view.back(face) for face in some], _size(photographs[number]))
    there = [(number, face) for number, some in enumerate(faces) for face in some]
    points = detector.place_points([photographs[number] for number, _ in there], [face for _, face in there])
    found: list[list[FoundFace]] = [[] for _ in faces]
    for (number, face), places in zip(there, points):
        found[number].append(FoundFace(replace(face, points=places), number in empty))
    return found


def _size(photograph: np.ndarray) -> tuple[int, int]:
    return len(photograph), photograph.shape[1]


def choose(faces: Sequence[Face], size: tuple[int, int], rule: str) -> Face | None:
    """One of the faces in a photograph of `size`, (height, width), or None of none; of equals the one of better score.

    rule: "largest" by area; "central": nearest to the middle; "score"; "balanced": area minus twice the squared
    distance from the middle, in pixels, as InsightFace's scripts choose in LFW.
    """
    if not faces:
        return None
    boxes = np.stack([face.box for face in faces])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    away = ((boxes[:, :2] + boxes[:, 2:] - np.array(size[::-1])) ** 2).sum(axis=1) / 4
    scores = np.array([face.score for face in faces])
    merit = {"largest": areas, "central": -away, "score": scores, "balanced": areas - 2 * away}[rule]
    return faces[int(np.lexsort((-scores, -merit))[0])]


class _View:
    """A photograph enlarged and with a margin, and the inverse mapping."""

    def __init__(self, photograph: np.ndarray) -> None:
        longer = max(photograph.shape[:2])
        self.scale = min(max(SMALL / longer, 1), MOST_ENLARGED)
        if self.scale > 1:
            size = [max(round(length * self.scale), 1) for length in photograph.shape[1::-1]]
            photograph = cv2.resize(photograph, size, interpolation=cv2.INTER_LINEAR)
        self.margin = round(MARGIN * max(photograph.shape[:2]))
        self.picture = cv2.copyMakeBorder(photograph, self.margin, self.margin, self.margin, self.margin,
                                          cv2.BORDER_CONSTANT, value=GRAY)

    def back(self, face: Face) -> Face:
        """The face in pixels of the photograph."""
        return Face((face.box - self.margin) / self.scale, face.score, (face.points - self.margin) / self.scale)

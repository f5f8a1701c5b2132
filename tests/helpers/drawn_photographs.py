"""Photographs with drawn people at known places, and a detector that knows the places: what MTCNN does, without it."""
from __future__ import annotations

import cv2
import numpy as np
from small_sets import draw

import align.cutting
from align.mtcnn.detector import Face
from images.alignment import template

SIDE, GAP = 48, 20  # pixels of a face's crop, and between two


def photograph(path, people, index=0):
    """Write a photograph of some people side by side (lossless); the crops that should come out of it."""
    crops = [draw(person, index, SIDE) for person in people]
    picture = np.full((SIDE + 2 * GAP, (SIDE + GAP) * max(len(people), 1) + GAP, 3), 90, np.uint8)
    for place, crop in enumerate(crops):
        left = GAP + place * (SIDE + GAP)
        picture[GAP:GAP + SIDE, left:left + SIDE] = crop
    picture[0, :len(people)] = 255  # tells the detector how many there are
    cv2.imwrite(str(path), picture[..., ::-1])
    return crops


class KnowingDetector:
    """Stands in for `align.mtcnn.detector.Detector`."""

    def __init__(self, folder, devices):
        self.folder = folder

    def detect(self, photographs, search):
        return [[self._face(place) for place in range(int((picture[0] == 255).all(axis=1).sum()))]
                for picture in photographs]

    def place_points(self, photographs, faces):
        return [face.points for face in faces]

    @staticmethod
    def _face(place):
        corner = np.array([GAP + place * (SIDE + GAP), GAP], float)
        box = np.concatenate([corner, corner + SIDE - place])  # the first is the largest
        return Face(box, 0.9 - place / 100, template(SIDE, SIDE) + corner)


def install(monkeypatch):
    """Let `--detector` know where the faces of these photographs are."""
    monkeypatch.setattr(align.cutting, "Detector", KnowingDetector)
    monkeypatch.setattr(align.cutting, "folder_digest", lambda folder: "d" * 64)

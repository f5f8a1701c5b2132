"""Aligned face crops of photographs, in memory: one for each photograph, or all."""
from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Sequence

import mxnet as mx
import numpy as np

from align.mtcnn.detector import Detector, Search
from align.mtcnn.finding import FoundFace, find, find_all
from align.photographs import Picture, photograph_of, picture_of
from common.files import PathLike, read_regular
from images.alignment import align

LONGEST = 1024  # longer side, in pixels, of the copy that is searched
ALL = "all"
NETWORKS = ("det1", "det2", "det3", "det4")


@dataclass(frozen=True)
class CutFace:
    """crop: (H, W, 3) uint8 RGB, warped to the template. box: left, top, right, bottom in the photograph's pixels, None
    where the image is a crop already; score: the detector's probability, or None likewise. relaxed: found by the second
    search only."""

    crop: np.ndarray
    box: tuple[float, float, float, float] | None = None
    score: float | None = None
    relaxed: bool = False


class FaceCutter:
    """MTCNN from a folder, configured to crop faces.

    select: "all", or the rule that chooses one face of a photograph (`mtcnn.finding.choose`). size: (H, W) of crops.
    min_face: in pixels of a photograph scaled to LONGEST pixels at most. UserError where the folder does not hold an
    MTCNN.
    """

    def __init__(self, folder: PathLike, devices: Sequence[mx.Context], select: str = "balanced",
                 size: tuple[int, int] = (112, 112), min_face: float = 40) -> None:
        self._detector = Detector(folder, devices)
        self._search, self._select, self._size = Search(min_face=min_face), select, size
        self._digest = folder_digest(folder)

    def describe(self) -> dict[str, object]:
        """The settings that determine the crops, for the provenance of what is made of them."""
        search = asdict(self._search)
        return {"detector": "MTCNN", "sha256": self._digest, "select": self._select, "longest": LONGEST,
                **{name: list(value) if isinstance(value, tuple) else value for name, value in search.items()}}

    def picture(self, data: bytes) -> Picture:
        """The image to search, from a file's content; `images.prepare.Unusable` with the reason where there is none.
        By any thread."""
        return picture_of(data, LONGEST)

    def find(self, pictures: Sequence[Picture]) -> list[list[FoundFace]]:
        """The faces of each image, in its pixels; a few images at a time share the networks' batches."""
        pixels = [picture.pixels for picture in pictures]
        if self._select == ALL:
            return find_all(self._detector, pixels, self._search)
        return [[] if face is None else [face] for face in find(self._detector, pixels, self._search, self._select)]

    def crops(self, data: bytes, picture: Picture, found: Sequence[FoundFace]) -> list[CutFace]:
        """The faces, cropped from the full-size photograph; without those whose centre is outside of it. By any
        thread."""
        if not found:
            return []
        scale = np.array(picture.scale)
        image = picture.pixels if picture.scale == (1.0, 1.0) else photograph_of(data)
        cut = []
        for one in found:
            points, middle = one.face.points / scale, (one.face.points / scale).mean(axis=0)
            if not ((middle >= 0) & (middle < image.shape[1::-1])).all():
                continue
            try:
                crop = align(image, points, *self._size)
            except ValueError:  # points that coincide
                continue
            left, top, right, bottom = (one.face.box.reshape(2, 2) / scale).ravel().tolist()
            cut.append(CutFace(crop, (left, top, right, bottom), float(one.face.score), one.relaxed))
        return cut


def folder_digest(folder: PathLike) -> str:
    """sha256 of a detector's files, in the order of its networks."""
    digest = hashlib.sha256()
    for name in NETWORKS:
        for ending in ("-symbol.json", "-0001.params"):
            digest.update(read_regular(Path(folder) / (name + ending)))
    return digest.hexdigest()

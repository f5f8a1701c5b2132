"""Detects landmarks in other units than the photographs' pixels: before any work, and only where it is unmistakable."""
from __future__ import annotations

import logging
from typing import Generic, Sequence, TypeVar

import numpy as np

from common.errors import UserError
from common.files import PathLike
from common.name_lookup import NameLookup
from images.alignment import FARTHEST, TEMPLATE, misfit, similarity
from images.formats import describe, orientation_of
from images.landmark_faults import doubt
from images.prepare import Unusable, read_file

log = logging.getLogger(__name__)
ENOUGH = 2  # faces in a corner from which on another unit is suspected
MANY = 10  # so many faces are not all in one quarter of their photographs by chance
SAMPLE = 100  # photographs whose sizes are read
TURNED = 3  # photographs turned by EXIF whose points are of the pixels as stored
LYING = 45.0  # degrees; a face rolled by more lies on its side, or upside down
CORNER = "the upper left quarter of their photographs"
UPRIGHT = "the points must be in pixels of the upright photograph itself"
Item = TypeVar("Item")


class EvenSample(Generic[Item]):
    """Up to SAMPLE of many items, evenly spaced, without keeping all."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._count, self._step = 0, 1

    def add(self, item: Item) -> None:
        """Offer the next item."""
        if self._count % self._step == 0:
            self._items.append(item)
        if len(self._items) > 2 * SAMPLE:
            self._items, self._step = self._items[::2], 2 * self._step
        self._count += 1

    @property
    def items(self) -> list[Item]:
        """The chosen ones, in their order."""
        places = np.linspace(0, len(self._items) - 1, min(SAMPLE, len(self._items)))
        return [self._items[place] for place in np.unique(places.astype(int))]


def check_places(path: PathLike, faces: Sequence[tuple[str | bytes, np.ndarray]], trust: bool) -> None:
    """UserError where most faces are outside their photographs; a `doubt` where so many are in one quarter of them that
    the points are hardly but percentages, or of copies of half the size (or the photographs of one fixed camera); where
    there are few, that is logged; the same for points of the pixels as stored where EXIF turns the photographs. Faces
    that lie without EXIF are logged: the photographs may.

    path: the table or list, which the error names; faces: of a sample, the photograph and the (5, 2) points.
    """
    lookup = NameLookup()
    seen = ((points, _size(file, lookup)) for file, points in faces if not misfit(points))
    found = [(points, size[:2], size[2]) for points, size in seen if size is not None]
    if not found:
        return
    _check_turned(path, found, trust)
    points, sizes = (np.array(part, np.float64) for part in list(zip(*found))[:2])  # (N, 5, 2), (N, 2)
    middles = points.mean(axis=1)
    outside = np.flatnonzero(~((middles >= 0) & (middles < sizes)).all(axis=1))
    known = len(outside) >= ENOUGH or len(found) == len(faces)  # not one face, of the only image that is there
    if known and 2 * len(outside) > len(found):
        (x, y), (width, height) = middles[outside[0]], sizes[outside[0]]
        raise UserError(f"{path}: {len(outside)} of {len(found)} faces sampled lie outside their photographs, e.g. at "
                        f"{x:.0f},{y:.0f} in {width:.0f}x{height:.0f} pixels (width x height); {UPRIGHT}")
    lying = sum(abs(roll(one)) > LYING for one in points)
    if lying >= ENOUGH and 2 * lying > len(found):
        log.warning("%s: %d of %d faces sampled lie on their sides or upside down, and are turned upright; where the "
                    "photographs show them upright, the points are of turned copies", path, lying, len(found))
    if len(found) < ENOUGH or not (points < sizes[:, None] / 2).all():
        return
    percent = points.max() <= 100 and (points >= 0).all() and sizes.min() > 100
    meant = "in percent of the image, or " if percent else ""
    text = (f"{path}: all {len(found)} faces sampled lie in {CORNER}; are the points {meant}of copies of half the "
            "size? They must be in pixels of the upright photograph itself")
    if len(found) >= MANY:
        doubt(text, trust)
    else:
        log.warning("%s", text)


def roll(points: np.ndarray) -> float:
    """Degrees from -180 to 180 by which the similarity turns a face's (5, 2) points to the template."""
    matrix = similarity(points, TEMPLATE)
    return float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))


def upright_points(points: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """(N, 2) points of the pixels as stored with an EXIF orientation, in those of the upright photograph.

    size: (width, height), upright.
    """
    points = points[:, ::-1].copy() if orientation >= 5 else points.copy()
    for axis, mirrored in enumerate(((2, 3, 6, 7), (3, 4, 7, 8))):
        if orientation in mirrored:
            points[:, axis] = size[axis] - 1 - points[:, axis]
    return points


def _check_turned(path: PathLike, found: Sequence[tuple[np.ndarray, tuple[int, int], int]], trust: bool) -> None:
    """A `doubt` where most faces in photographs turned by EXIF lie, and would stand if their points were turned too:
    somebody may lie, but not most, and not just so. found: points, upright size and EXIF orientation."""
    turned = [one for one in found if one[2] != 1]
    stored = 0
    for points, size, orientation in turned:
        as_seen = upright_points(points, orientation, size)
        stored += abs(roll(points)) > LYING and not misfit(as_seen) and abs(roll(as_seen)) < LYING
    if not stored:
        return
    text = (f"{path}: {stored} of {len(turned)} photographs sampled that are turned by EXIF have faces that lie, and "
            "would stand if their points were turned as well")
    if stored >= TURNED and 2 * stored > len(turned):
        doubt(f"{text}: they are of the pixels as stored; {UPRIGHT}, so turn the points as EXIF says, or find them in "
              "the photographs turned", trust)
    else:
        log.warning("%s; are they of the pixels as stored, or is somebody lying there?", text)


def check_boxes(path: PathLike, boxes: np.ndarray, points: np.ndarray, trust: bool) -> None:
    """A `doubt` where most points, (N, 5, 2), lie outside their boxes, (N, 4) left, top, right, bottom, and
    would lie inside if they began at the boxes' corners."""
    usable = (np.abs(boxes) < FARTHEST).all(axis=1) & (np.abs(points) < FARTHEST).all(axis=(1, 2))
    boxes, points = boxes[usable], points[usable]
    middles = points.mean(axis=1)
    relative = ~_inside(middles, boxes) & _inside(middles + boxes[:, :2], boxes)
    count = int(relative.sum())
    if count >= MANY and 2 * count > len(boxes):
        doubt(f"{path}: {count} of {len(boxes)} faces sampled have landmarks outside their boxes, and inside if they "
              f"begin at the boxes' corners; add each box's left and top: {UPRIGHT}", trust)


def _inside(middles: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    return ((middles >= boxes[:, :2]) & (middles < boxes[:, 2:])).all(axis=1)


def _size(path: str | bytes, lookup: NameLookup) -> tuple[int, int, int] | None:
    """(width, height, EXIF orientation) of an image file by its header, the sides upright."""
    try:
        data = read_file(path, lookup)
    except Unusable:
        return None
    told = describe(data)
    if told is None or not told.height * told.width:
        return None
    orientation = orientation_of(data)
    return (told.height, told.width, orientation) if orientation >= 5 else (told.width, told.height, orientation)

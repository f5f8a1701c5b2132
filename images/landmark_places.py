"""Detects landmarks in other units than the photographs' pixels: before any work, and only where it is unmistakable."""
from __future__ import annotations

import logging
from typing import Generic, Sequence, TypeVar

import numpy as np

from common.errors import UserError
from common.files import PathLike
from common.name_lookup import NameLookup
from images.alignment import misfit
from images.formats import describe, orientation_of
from images.prepare import Unusable, read_file

log = logging.getLogger(__name__)
ENOUGH = 2  # faces in a corner from which on another unit is suspected
MANY = 10  # so many faces are not all in one quarter of their photographs by chance
SAMPLE = 100  # photographs whose sizes are read
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


def check_places(path: PathLike, faces: Sequence[tuple[str | bytes, np.ndarray]]) -> None:
    """UserError where most faces are outside their photographs, or so many in one quarter of them that the points can
    only be percentages, or of copies of half the size; where there are few, that is logged.

    path: the table or list, which the error names; faces: of a sample, the photograph and the (5, 2) points.
    """
    lookup = NameLookup()
    sized = ((points, _size(file, lookup)) for file, points in faces if not misfit(points))
    found = [(points, size) for points, size in sized if size is not None]
    if not found:
        return
    points, sizes = (np.array(part, np.float64) for part in zip(*found))  # (N, 5, 2), (N, 2)
    middles = points.mean(axis=1)
    outside = np.flatnonzero(~((middles >= 0) & (middles < sizes)).all(axis=1))
    if 2 * len(outside) > len(found):
        (x, y), (width, height) = middles[outside[0]], sizes[outside[0]]
        raise UserError(f"{path}: {len(outside)} of {len(found)} faces sampled lie outside their photographs, e.g. at "
                        f"{x:.0f},{y:.0f} in {width:.0f}x{height:.0f} pixels (width x height); {UPRIGHT}")
    if len(found) < ENOUGH or not (points < sizes[:, None] / 2).all():
        return
    percent = points.max() <= 100 and (points >= 0).all() and sizes.min() > 100
    meant = "in percent of the image, or " if percent else ""
    _refuse_many(len(found), f"{path}: all {len(found)} faces sampled lie in {CORNER}; are the points {meant}of copies "
                             "of half the size? They must be in pixels of the upright photograph itself")


def check_boxes(path: PathLike, boxes: np.ndarray, points: np.ndarray) -> None:
    """UserError where most points, (N, 5, 2), lie outside their boxes, (N, 4) left, top, right, bottom, and would lie
    inside if they began at the boxes' corners."""
    middles = points.mean(axis=1)
    relative = ~_inside(middles, boxes) & _inside(middles + boxes[:, :2], boxes)
    count = int(relative.sum())
    if count >= MANY and 2 * count > len(boxes):
        raise UserError(f"{path}: {count} of {len(boxes)} faces sampled have landmarks outside their boxes, and inside "
                        f"if they begin at the boxes' corners; add each box's left and top: {UPRIGHT}")


def _inside(middles: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    return ((middles >= boxes[:, :2]) & (middles < boxes[:, 2:])).all(axis=1)


def _refuse_many(count: int, text: str) -> None:
    if count >= MANY:
        raise UserError(text)
    log.warning("%s", text)


def _size(path: str | bytes, lookup: NameLookup) -> tuple[int, int] | None:
    """(width, height) of an image file, upright, by its header."""
    try:
        data = read_file(path, lookup)
    except Unusable:
        return None
    told = describe(data)
    if told is None or not told.height * told.width:
        return None
    turned = orientation_of(data) >= 5
    return (told.height, told.width) if turned else (told.width, told.height)

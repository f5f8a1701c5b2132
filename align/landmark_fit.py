"""Detects tables of landmarks in other units or orders: before any work, and only where it is unmistakable."""
from __future__ import annotations

import logging
import os
from typing import Mapping, Sequence

import numpy as np

from align.landmark_table import Row
from common.errors import UserError
from common.files import PathLike
from images.formats import describe, orientation_of
from images.landmark_faults import LandmarkFaults
from images.prepare import Unusable, read_file

log = logging.getLogger(__name__)
ENOUGH = 2  # invalid rows from which on another meaning of the table is suspected
MANY = 10  # so many faces are not all in one quarter of their photographs by chance
SAMPLE = 100  # photographs whose sizes are read
CORNER = "the upper left quarter of their photographs"


def check_faces(rows: Mapping[str, Row], path: PathLike) -> None:
    """UserError where most rows' points cannot be a face's, or are in another order."""
    faults = LandmarkFaults()
    for row in rows.values():
        faults.add(row.array())
    faults.refuse(path, "rows", ENOUGH)


def check_places(rows: Mapping[str, Row], path: PathLike, source: PathLike, names: Sequence[str]) -> None:
    """UserError where most faces are outside their photographs, or so many in one quarter of them that the points can
    only be percentages, or of copies of half the size; where there are few, that is logged.

    names: the photographs below `source`.
    """
    names = [name for name in names if name in rows]
    chosen = [names[place] for place in np.unique(np.linspace(0, len(names) - 1, min(SAMPLE, len(names))).astype(int))]
    found = [(rows[name].array(), size) for name, size in ((name, _size(os.path.join(source, name))) for name in chosen)
             if size is not None]
    if not found:
        return
    points, sizes = (np.array(part, np.float64) for part in zip(*found))  # (N, 5, 2), (N, 2)
    middles = points.mean(axis=1)
    outside = np.flatnonzero(~((middles >= 0) & (middles < sizes)).all(axis=1))
    if 2 * len(outside) > len(found):
        (x, y), (width, height) = middles[outside[0]], sizes[outside[0]]
        raise UserError(f"{path}: {len(outside)} of {len(found)} faces sampled lie outside their "
                        f"photographs, e.g. at {x:.0f},{y:.0f} in {width:.0f}x{height:.0f} pixels (width x height); "
                        "the points must be in pixels of the upright photograph itself")
    if len(found) < ENOUGH or not (points < sizes[:, None] / 2).all():
        return
    percent = points.max() <= 100 and (points >= 0).all() and sizes.min() > 100
    meant = "in percent of the image, or " if percent else ""
    text = (f"{path}: all {len(found)} faces sampled lie in {CORNER}; are the points {meant}of copies of "
            "half the size? They must be in pixels of the upright photograph itself")
    if len(found) >= MANY:
        raise UserError(text)
    log.warning("%s", text)


def _size(path: str) -> tuple[int, int] | None:
    """(width, height) of an image file, upright, by its header."""
    try:
        data = read_file(path)
    except Unusable:
        return None
    told = describe(data)
    if told is None or not told.height * told.width:
        return None
    turned = orientation_of(data) >= 5
    return (told.height, told.width) if turned else (told.width, told.height)

"""Detects tables of landmarks in other units or orders: before any work, and only where it is unmistakable."""
from __future__ import annotations

import os
from typing import Mapping, Sequence

from align.landmark_table import Row
from common.files import PathLike
from images import landmark_places
from images.landmark_faults import LandmarkFaults

ENOUGH = 2  # invalid rows from which on another meaning of the table is suspected


def check_faces(rows: Mapping[str, Row], path: PathLike, trust: bool | None = None) -> None:
    """UserError where most rows' points cannot be a face's; a `doubt` where they are in another order."""
    faults = LandmarkFaults()
    for row in rows.values():
        faults.add(row.array())
    faults.refuse(path, "rows", ENOUGH, trust)


def check_places(rows: Mapping[str, Row], path: PathLike, source: PathLike, names: Sequence[str], trust: bool) -> None:
    """UserError or a `doubt` where most faces cannot be where the points say; names: of photographs below `source`."""
    sample = landmark_places.EvenSample[str]()
    for name in names:
        if name in rows:
            sample.add(name)
    faces = [(os.path.join(source, name), rows[name].array()) for name in sample.items]
    landmark_places.check_places(path, faces, trust)

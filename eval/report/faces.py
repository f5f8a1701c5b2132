"""Selects the faces for the maps of local features: by pose where it is known, else the two sides of pairs."""
from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from eval.report.embedding import ImagePool
from eval.report.labelled_set import LabelledSet
from eval.report.map_section import FaceGroup

IN_MEAN = 64  # faces of a group that the mean is of
GROUPS = 4


def faces_by_group(faces: LabelledSet, pool: ImagePool, places: np.ndarray, shown: int) -> list[FaceGroup]:
    """The first image of each identity in every group, up to IN_MEAN; the same identities first in all groups. Where no
    group is known, of all images."""
    names = [name for name in sorted(set(faces.groups.tolist())) if name][:GROUPS] or [""]
    in_all = [person for person in np.unique(faces.labels).tolist()
              if all(np.any((faces.labels == person) & (faces.groups == name)) for name in names)]
    order = [*in_all, *(person for person in np.unique(faces.labels).tolist() if person not in set(in_all))]
    made = []
    for name in names:
        chosen = [np.flatnonzero((faces.labels == person) & (faces.groups == name)) for person in order]
        numbers = [int(some[0]) for some in chosen if len(some)][:IN_MEAN]
        made.append(FaceGroup(name or "face", [pool.image(int(places[number])) for number in numbers], shown))
    return made


def faces_of_pairs(order: np.ndarray, same: np.ndarray, image: Callable[[int], np.ndarray],
                   shown: int) -> list[FaceGroup]:
    """Left and right of the first genuine pairs: frontal and profile in a set of such pairs."""
    pairs = np.flatnonzero(same)[:IN_MEAN]
    sides: Sequence[str] = ("left of a pair", "right of a pair")
    return [FaceGroup(name, [image(int(order[2 * pair + side])) for pair in pairs.tolist()], shown)
            for side, name in enumerate(sides)]

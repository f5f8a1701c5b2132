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
    firsts: list[dict[int, int]] = []  # of each group, the first image by identity
    for name in names:
        numbers = np.flatnonzero(faces.groups == name)
        people, at = np.unique(faces.labels[numbers], return_index=True)
        firsts.append(dict(zip(people.tolist(), numbers[at].tolist())))
    in_all = set(firsts[0]).intersection(*firsts[1:])
    made = []
    for name, first in zip(names, firsts):
        chosen = sorted(first, key=lambda person: (person not in in_all, person))[:IN_MEAN]
        made.append(FaceGroup(name or "face", [pool.image(int(places[first[person]])) for person in chosen], shown))
    return made


def faces_of_pairs(order: np.ndarray, same: np.ndarray, image: Callable[[int], np.ndarray],
                   shown: int) -> list[FaceGroup]:
    """Left and right of the first genuine pairs: frontal and profile in a set of such pairs."""
    pairs = np.flatnonzero(same)[:IN_MEAN]
    sides: Sequence[str] = ("left of a pair", "right of a pair")
    return [FaceGroup(name, [image(int(order[2 * pair + side])) for pair in pairs.tolist()], shown)
            for side, name in enumerate(sides)]

"""The same file under several identities, found when all are packed."""
from __future__ import annotations

import array
from typing import Callable

import numpy as np


class Prints:
    """The print (`batches.Batch`) and the place of every packed image, in 12 bytes each."""

    def __init__(self) -> None:
        self._prints, self._positions = array.array("q"), array.array("I")
        self._identities, self._counts = array.array("I"), array.array("I")

    def add(self, identity: int, prints: list[int], positions: list[int]) -> None:
        """Append images of an identity: their prints, and their positions in its list of files."""
        self._prints.extend(prints)
        self._positions.extend(positions)
        self._identities.append(identity)
        self._counts.append(len(positions))

    def shared(self, same: Callable[[tuple[int, int], tuple[int, int]], bool]) -> list[list[tuple[int, int]]]:
        """(identity, position) of the images of each content that several identities hold, in order of packing.

        same: whether the files at two places are equal, which equal prints do not prove.
        """
        if not self._prints:
            return []
        prints = np.array(self._prints)
        identities = np.repeat(np.array(self._identities), np.array(self._counts))
        order = np.argsort(prints, kind="stable")
        starts = np.flatnonzero(np.append(True, prints[order[1:]] != prints[order[:-1]]))
        held = identities[order]
        several = np.minimum.reduceat(held, starts) != np.maximum.reduceat(held, starts)
        ends = np.append(starts[1:], len(order))
        found = []
        for images in sorted(order[starts[group]:ends[group]].tolist() for group in np.flatnonzero(several)):
            places = [(int(identities[image]), self._positions[image]) for image in images]
            places = places[:1] + [place for place in places[1:] if same(places[0], place)]
            if len({identity for identity, _ in places}) > 1:
                found.append(places)
        return found

"""Finds equal files under several identities while a set is packed."""
from __future__ import annotations

import array
from typing import Callable, Iterator, Tuple

import numpy as np

NAMED = 20
Place = Tuple[int, int]  # identity, position in its list of files


class ContentHashes:
    """The hash (`PreparedFiles`) and the place of every packed image, in 12 bytes each."""

    def __init__(self) -> None:
        self._hashes, self._positions = array.array("q"), array.array("I")
        self._identities, self._counts = array.array("I"), array.array("I")

    def add(self, identity: int, hashes: list[int], positions: list[int]) -> None:
        """Append images of an identity: their hashes, and their positions in its list of files."""
        self._hashes.extend(hashes)
        self._positions.extend(positions)
        self._identities.append(identity)
        self._counts.append(len(positions))

    def shared(self, same: Callable[[Place, Place], bool]) -> Iterator[tuple[int, list[Place]]]:
        """How many images have a content that several identities hold, and the places of the first NAMED of them.

        In order of packing. same: whether the files at two places are equal, which equal hashes do not prove.
        """
        if not self._hashes:
            return
        hashes = np.array(self._hashes)
        identities = np.repeat(np.array(self._identities), np.array(self._counts))
        order = np.argsort(hashes, kind="stable")
        starts = np.flatnonzero(np.append(True, hashes[order[1:]] != hashes[order[:-1]]))
        held = identities[order]
        several = np.flatnonzero(np.minimum.reduceat(held, starts) != np.maximum.reduceat(held, starts))
        ends = np.append(starts[1:], len(order))
        for group in several[np.argsort(order[starts[several]])].tolist():
            images = order[starts[group]:ends[group]]
            first = int(identities[images[0]]), self._positions[images[0]]
            count, named, one = 1, [first], True
            for image in images[1:]:
                place = int(identities[image]), self._positions[image]
                if same(first, place):
                    count, one = count + 1, one and place[0] == first[0]
                    if count <= NAMED:
                        named.append(place)
            if not one:
                yield count, named

"""The same file twice: in one identity as it is packed, under several ones when all digests are there."""
from __future__ import annotations

import array
from typing import Iterable

import numpy as np

from recordio_tools.batches import DIGEST


class Digests:
    """The digest and the place of every packed image, in 20 bytes each."""

    def __init__(self) -> None:
        self._digests, self._positions = bytearray(), array.array("I")
        self._identities, self._counts = array.array("I"), array.array("I")

    def add(self, identity: int, digests: Iterable[bytes], positions: list[int]) -> None:
        """Append images of an identity: DIGEST bytes each, and their positions in its list of files."""
        self._digests += b"".join(digests)
        self._positions.extend(positions)
        self._identities.append(identity)
        self._counts.append(len(positions))

    def shared(self) -> list[list[tuple[int, int]]]:
        """(identity, position) of the images of each content that several identities hold, in order of packing."""
        if not self._positions:
            return []
        digests = np.frombuffer(self._digests, "<u8").reshape(-1, DIGEST // 8)
        identities = np.repeat(np.array(self._identities), np.array(self._counts))
        order = np.lexsort(digests.T)  # of equal ones, the earlier first
        differs = (digests[order[1:]] != digests[order[:-1]]).any(1)
        starts = np.flatnonzero(np.append(True, differs))
        held = identities[order]
        several = np.minimum.reduceat(held, starts) != np.maximum.reduceat(held, starts)
        ends = np.append(starts[1:], len(order))
        groups = [order[starts[group]:ends[group]].tolist() for group in np.flatnonzero(several)]
        return [[(int(identities[image]), self._positions[image]) for image in group] for group in sorted(groups)]

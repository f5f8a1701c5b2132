"""Degenerate pairs of a verification set: uninformative or contradictory ones."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Hashable, Sequence

import numpy as np

ITSELF, TWICE, BOTH = "an image with itself", "the same pair again", "same and different at once"


@dataclass(frozen=True)
class OddPairs:
    """itself, twice, both: numbers of pairs, from 0. A repeated pair is in `twice` from its second occurrence on; one
    that is marked same here and different there is in `both` each time."""

    itself: list[int]
    twice: list[int]
    both: list[int]

    @property
    def kinds(self) -> list[tuple[str, list[int]]]:
        """(what, numbers) of those there are."""
        return [(what, numbers) for what, numbers in ((ITSELF, self.itself), (TWICE, self.twice), (BOTH, self.both))
                if numbers]

    def __str__(self) -> str:
        """`2 pairs of an image with itself (the first is pair 0), ...`; "" for none."""
        return "; ".join(f"{len(numbers)} pair{'s' if len(numbers) > 1 else ''} of {what} (the first is pair "
                         f"{numbers[0]}, from 0)" if what == ITSELF else
                         f"{len(numbers)} pair{'s' if len(numbers) > 1 else ''} {'is' if len(numbers) == 1 else 'are'} "
                         f"{what} (the first is pair {numbers[0]}, from 0)" for what, numbers in self.kinds)


def find_odd_pairs(sides: Sequence[Hashable], same: Sequence[bool] | np.ndarray) -> OddPairs:
    """sides: (2 * pairs,) the image of left, right, left, ..., or anything that is equal for equal images."""
    numbers: dict[Hashable, int] = {}
    order = np.sort(np.array([numbers.setdefault(side, len(numbers)) for side in sides], np.int64).reshape(-1, 2))
    marked = np.asarray(same, bool)
    itself = np.flatnonzero(order[:, 0] == order[:, 1])
    _, first, group, counts = np.unique(order, axis=0, return_index=True, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    trues = np.bincount(group, marked, len(counts))
    both = (trues[group] > 0) & (trues[group] < counts[group])
    again = np.ones(len(order), bool)
    again[first] = False
    return OddPairs(itself.tolist(), np.flatnonzero(again & ~both).tolist(), np.flatnonzero(both).tolist())

"""Which identities and images of a source are packed, and in which order; by names and a seed alone."""
from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Sequence

from images.sources import Source


@dataclass(frozen=True)
class Selection:
    """min_images: smaller identities are left out; max_images: at most so many images of each, sampled by seed (0:
    all); shuffle: identities, and the images of each, in random order, by seed, instead of sorted; skip_wrong_size:
    leave images of another size out instead of refusing the set; drop_duplicates: leave out files that an identity
    holds already."""

    min_images: int = 1
    max_images: int = 0
    shuffle: bool = False
    seed: int = 0
    skip_wrong_size: bool = False
    drop_duplicates: bool = False

    def identities(self, source: Source) -> Sequence[int]:
        """The numbers of the identities in the source, in the order of their labels."""
        order = list(range(len(source.names)))
        if self.shuffle:
            random.Random(self.seed).shuffle(order)
        return order

    def total(self, source: Source) -> int:
        """How many images are chosen."""
        return sum(min(source.count(identity), self.max_images or source.images)
                   for identity in range(len(source.names)))

    def images(self, source: Source, identity: int) -> Sequence[int]:
        """The positions of the images to pack in an identity's list."""
        count, name = source.count(identity), source.names[identity]
        chosen: Sequence[int] = range(count)
        if self.max_images and count > self.max_images:
            chosen = sorted(_random(f"{self.seed} {name}").sample(chosen, self.max_images))
        if self.shuffle:
            chosen = _random(f"{self.seed} {name} order").sample(chosen, len(chosen))
        return chosen


def _random(text: str) -> random.Random:
    """As random.Random(text), and for names that are not UTF-8 too."""
    return random.Random(text.encode("utf-8", "surrogateescape"))

"""The order of the images and their mirroring over all epochs: pure functions of seed and position.

So a resumed run continues with exactly the next image.
"""
from __future__ import annotations

import functools

import numpy as np


class EndlessOrder:
    """Positions 0, 1, 2, ... to images: epoch e is the permutation of (seed, e)."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._epoch, self._permutation = -1, np.empty(0, np.int64)

    def take(self, start: int, count: int) -> np.ndarray:
        """The images at positions start .. start + count - 1."""
        parts = []
        while count > 0:
            epoch, offset = divmod(start, self.count)
            parts.append(self._of_epoch(epoch)[offset:offset + count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _of_epoch(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._permutation = np.random.RandomState([self.seed, epoch]).permutation(self.count)
            self._epoch = epoch
        return self._permutation


def flip_flags(seed: int, start: int, count: int) -> np.ndarray:
    """Whether to flip the image (bool) at each of the positions start .. start + count - 1: half of them, at random, by
    seed and position alone.

    One bit of a mixed counter (the finalizer of SplitMix64, Steele et al. 2014), since a RandomState for each image
    takes as long as a tenth of its decoding.
    """
    mixed = (np.arange(start, start + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + _start(seed))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(63)).astype(bool)


@functools.lru_cache(maxsize=8)
def _start(seed: int) -> np.uint64:
    """Where the counter of a seed begins; kept, since a RandomState takes as long as decoding an image."""
    return np.uint64(np.random.RandomState([seed, 2]).randint(1 << 63, dtype=np.uint64))

"""The largest of very many scores, and the images that they are of, sorted on all cores."""
from __future__ import annotations

import numpy as np

from common.environment import usable_cores
from common.workers import ordered_map

STRIDE = 199  # sample of the values for the splits between cores


class LargestScores:
    """The `keep` largest cosines of a stream, with all those equal to the last of them, and the images that they are
    of. bound: a known lower bound."""

    def __init__(self, keep: int, bound: float = -np.inf) -> None:
        self._keep, self._bound = max(keep, 1), bound
        self._values: list[np.ndarray] = []
        self._images: list[np.ndarray] = []
        self._count = 0

    def bound(self, scaled: np.ndarray, scale: float) -> float:
        """From where on the cosines of a block, `scaled`, may be among them; other threads may ask while one adds."""
        if self._bound < -1 and scaled.size > 2 * self._keep:
            return float(np.partition(scaled, scaled.size - self._keep, axis=None)[scaled.size - self._keep]) / scale
        return self._bound

    def add(self, values: np.ndarray, images: np.ndarray) -> None:
        """Add a block's candidates."""
        self._values.append(values)
        self._images.append(images)
        self._count += len(values)
        if self._count > 2 * self._keep:
            self._cut()

    def _cut(self) -> None:
        values, images = np.concatenate(self._values), np.concatenate(self._images)
        self._bound = _smallest_kept(values, self._keep)
        kept = np.flatnonzero(values >= self._bound)
        self._values, self._images, self._count = [values[kept]], [_rows(images, kept)], len(kept)

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) the values, descending, and (K, 2) their images; equal ones in the order in which they were added."""
        values = np.concatenate([np.zeros(0, np.float32), *self._values])
        images = np.concatenate([np.zeros((0, 2), np.int32), *self._images])
        self._values, self._images = [], []
        least, cores = _smallest_kept(values, self._keep), usable_cores()
        edges = [np.inf, *np.sort(values[values >= least][::STRIDE])[::-1], -np.inf]

        def part(place: int) -> tuple[np.ndarray, np.ndarray]:
            """Those below one edge and from the next on."""
            high, low = (edges[len(edges) * number // cores if number < cores else -1] for number in (place, place + 1))
            chosen = np.flatnonzero((values < high) & (values >= max(low, least)))
            chosen = chosen[_falling_order(values[chosen])]
            return values[chosen], _rows(images, chosen)

        parts = list(ordered_map(part, range(cores), cores, 1))
        return np.concatenate([some for some, _ in parts]), np.concatenate([some for _, some in parts])


def _smallest_kept(values: np.ndarray, keep: int) -> float:
    """The `keep`-th largest, or -inf where there are not more."""
    return float(np.partition(values, len(values) - keep)[len(values) - keep]) if len(values) > keep else -np.inf


def _rows(pairs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Rows of (n, 2) int32, gathered as one int64 each, which is several times as fast."""
    return pairs.view(np.int64)[:, 0][chosen].view(np.int32).reshape(-1, 2)


def _falling_order(values: np.ndarray) -> np.ndarray:
    """The stable argsort of -values, float32: by their bits, 16 at a time, which numpy radix-sorts."""
    bits = values.view(np.uint32)
    keys = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))  # only 0 and -0 are equal with different bits
    by_low = np.argsort(keys.astype(np.uint16), kind="stable")
    return by_low[np.argsort((keys >> 16).astype(np.uint16)[by_low], kind="stable")]

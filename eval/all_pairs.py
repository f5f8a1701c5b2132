"""Every genuine and every impostor pair of labelled embeddings, in blocks: no (N, N) matrix is ever held.

A block of cosines is one matrix product. The genuine ones are taken out of it and all kept; of the impostors a
histogram of 16-bit steps counts all, and the largest are kept as they are, so that thresholds at low FPR are exact.
"""
from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Callable

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from common.environment import usable_cores
from common.workers import ordered_map

BLOCK = 2048  # images a side of a block
CODE_TYPE = cv2.CV_16U  # type: ignore[attr-defined]  # which OpenCV's stubs lack
CODES = 1 << 16  # of the histogram: code = 32767 cosine + 32768; 0 is for pairs that do not count
LEAST = -1.001  # below every cosine, whatever float32 makes of it
NO_PAIR = -2.0  # the cosine of a pair that is genuine, an image with itself, or counted elsewhere
MOST_KEPT = 1 << 24
SPARE = 1.5  # times the scores to keep that a bound guessed beforehand may let through
SAMPLE = 1000  # images a side of that guess


@dataclass(frozen=True)
class Side:
    """unit: (N, D) float32, rows of length 1. person: (N,) integers, the same on both sides for the same person."""

    unit: np.ndarray
    person: np.ndarray


@dataclass(frozen=True)
class AllPairs:
    """genuine: (G,) float32 cosines, rising, and genuine_person: (G,) of whom. tail: (K,) the largest cosines of
    impostor pairs, falling, and tail_pair: (K, 2) the images, numbered as on each side. impostors: how many in all.
    histogram: (CODES,) of all impostors' cosines."""

    genuine: np.ndarray
    genuine_person: np.ndarray
    tail: np.ndarray
    tail_pair: np.ndarray
    impostors: int
    histogram: np.ndarray


def make_sides(unit: np.ndarray, labels: np.ndarray,
               chosen: tuple[np.ndarray, np.ndarray | None]) -> tuple[Side, Side | None]:
    """The sides of the images `chosen`, by their numbers; None for all of the first against each other."""
    left, right = chosen
    return Side(unit[left], labels[left]), None if right is None else Side(unit[right], labels[right])


def count_pairs(left: Side, right: Side | None = None) -> tuple[int, int]:
    """Genuine and impostor pairs of all left against all right, or of all left against each other."""
    people = np.unique(np.concatenate([left.person, right.person if right else left.person]))
    ours = np.searchsorted(people, left.person)
    counts = np.bincount(ours, minlength=len(people))
    if right is None:
        genuine, total = int((counts * (counts - 1) // 2).sum()), len(left.person) * (len(left.person) - 1) // 2
    else:
        theirs = np.bincount(np.searchsorted(people, right.person), minlength=len(people))
        genuine, total = int((counts * theirs).sum()), len(left.person) * len(right.person)
    return genuine, total - genuine


def score_all_pairs(left: Side, right: Side | None = None, keep: int = MOST_KEPT,
                    step: Callable[[int], object] = lambda pairs: None, same_images: bool = False) -> AllPairs:
    """Score left against right, or left against itself, each pair once and no image with itself.

    same_images: right is of the images of left, in their order, in another version (moved, say).

    keep: impostor scores to keep, the largest (with all those equal to the last of them); the order of equal ones does
    not depend on the number of threads. step: told of the pairs that each block adds.
    """
    order = np.argsort(left.person, kind="stable")
    ours = Side(np.ascontiguousarray(left.unit[order], np.float32), left.person[order])
    if right is None:
        others, theirs = order, ours
    else:
        others = np.argsort(right.person, kind="stable")
        theirs = Side(np.ascontiguousarray(right.unit[others], np.float32), right.person[others])
    _, expected = count_pairs(left, right)
    bound = _likely_bound(ours.unit, theirs.unit, SPARE * keep / max(expected, 1))
    found = _score(ours, theirs, (order, others), right is None, same_images, _Tail(keep, bound), step)
    if len(found.tail) < min(keep, found.impostors) and bound > LEAST:  # the sample was not like the whole
        found = _score(ours, theirs, (order, others), right is None, same_images, _Tail(keep), lambda pairs: None)
    return found


def _score(ours: Side, theirs: Side, orders: tuple[np.ndarray, np.ndarray], alone: bool, same_images: bool,
           tail: _Tail, step: Callable[[int], object]) -> AllPairs:
    """Of sides that are sorted by person; orders: their images' numbers before that. alone: both are the same side."""
    histogram, found, rooms = np.zeros(CODES, np.int64), [], threading.local()

    def block(corner: tuple[int, int]) -> tuple[list, np.ndarray, tuple[np.ndarray, np.ndarray], int]:
        rows, columns = (slice(begin, begin + BLOCK) for begin in corner)
        if not hasattr(rooms, "own"):
            rooms.own = _Room()
        cosines = rooms.own.product(ours.unit[rows], theirs.unit[columns])
        if alone and corner[0] == corner[1]:
            cosines[np.tri(len(cosines), cosines.shape[1], dtype=bool)] = NO_PAIR
        if same_images and corner[0] == corner[1]:
            np.fill_diagonal(cosines, NO_PAIR)
        taken = _take_genuine(cosines, ours.person[rows], theirs.person[columns])
        places, bound = [images[some] for images, some in zip(orders, (rows, columns))], tail.bound(cosines)
        return taken, rooms.own.count(cosines), rooms.own.at_least(cosines, bound, *places), cosines.size

    corners = ((top, begin) for top in range(0, len(orders[0]), BLOCK)
               for begin in range(top if alone else 0, len(orders[1]), BLOCK))
    with threadpool_limits(1, "blas"):  # a block to each core: the steps behind a product know one thread alone
        for taken, counted, largest, pairs in ordered_map(block, corners, usable_cores(), 1):
            found += taken
            histogram += counted
            tail.add(*largest)
            step(pairs)
    histogram[0] = 0
    scores = np.concatenate([np.zeros(0, np.float32), *(values for values, _ in found)])
    who = np.concatenate([np.zeros(0, np.int64), *(np.full(len(values), person) for values, person in found)])
    real = scores > LEAST
    scores, who = scores[real], who[real]
    rising = np.argsort(scores, kind="stable")
    return AllPairs(scores[rising], who[rising], *tail.sorted(), int(histogram.sum()), histogram)


def _likely_bound(left: np.ndarray, right: np.ndarray, share: float) -> float:
    """A cosine that about `share` of all pairs reach, by a sample of them; LEAST where that is most of them."""
    if not len(left) or not len(right) or share > 0.5:
        return LEAST
    random = np.random.RandomState(0)
    rows, columns = (side[random.randint(0, len(side), SAMPLE)] for side in (left, right))
    cosines = (rows @ columns.T).ravel()
    place = int(len(cosines) * (1 - share))
    return float(np.partition(cosines, place)[place])


def _take_genuine(cosines: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """The genuine cosines of a block, whose sides are sorted by person, with the person; they no longer count in it."""
    people, first = np.unique(rows, return_index=True)
    last = np.append(first[1:], len(rows))
    begin = np.asarray(np.searchsorted(columns, people, "left"))
    end = np.asarray(np.searchsorted(columns, people, "right"))
    taken = []
    for place in np.flatnonzero(end > begin):
        part = cosines[first[place]:last[place], begin[place]:end[place]]
        taken.append((part.ravel().copy(), people[place]))
        part[:] = NO_PAIR
    return taken


class _Room:
    """A thread's arrays for a block, used again: asking the system for new ones takes as long as a step of the work."""

    def __init__(self) -> None:
        self._cosines, self._codes = np.empty(BLOCK * BLOCK, np.float32), np.empty(BLOCK * BLOCK, np.uint16)
        self._mask = np.empty(BLOCK * BLOCK, bool)

    def product(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(r, c) cosines of (r, D) and (c, D)."""
        return np.dot(rows, columns.T, out=self._cosines[:len(rows) * len(columns)].reshape(len(rows), -1))

    def count(self, cosines: np.ndarray) -> np.ndarray:
        """(CODES,) how many cosines have each code."""
        codes = self._codes[:cosines.size].reshape(cosines.shape)
        cv2.addWeighted(cosines, 32767.0, cosines, 0.0, 32768.0, dst=codes, dtype=CODE_TYPE)
        return cv2.calcHist([codes], [0], None, [CODES], [0, CODES]).ravel().astype(np.int64)

    def at_least(self, cosines: np.ndarray, bound: float, rows: np.ndarray,
                 columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) the cosines from `bound` on, and (n, 2) int32 the images that they are of; rows, columns: the images'
        numbers."""
        flat = cosines.reshape(-1)
        found = np.flatnonzero(np.greater_equal(flat, np.float32(bound), out=self._mask[:cosines.size]))
        images = np.empty((len(found), 2), np.int32)
        row, column = np.divmod(found, cosines.shape[1])
        images[:, 0], images[:, 1] = rows[row], columns[column]
        return flat[found], images


class _Tail:
    """The largest values that come by, and the images that they are of."""

    def __init__(self, keep: int, bound: float = NO_PAIR) -> None:
        self._keep, self._bound = max(keep, 1), bound
        self._values: list[np.ndarray] = []
        self._images: list[np.ndarray] = []
        self._count = 0

    def bound(self, cosines: np.ndarray) -> float:
        """From where on the cosines of a block may be among the largest; other threads may ask while one adds."""
        bound = self._bound
        if bound < -1 and cosines.size > 2 * self._keep:
            bound = np.partition(cosines, cosines.size - self._keep, axis=None)[cosines.size - self._keep]
        return max(bound, LEAST)

    def add(self, values: np.ndarray, images: np.ndarray) -> None:
        """What a block has of them."""
        self._values.append(values)
        self._images.append(images)
        self._count += len(values)
        if self._count > 2 * self._keep:
            self._cut()

    def _cut(self) -> None:
        values, images = np.concatenate(self._values), np.concatenate(self._images)
        if len(values) > self._keep:
            self._bound = np.partition(values, len(values) - self._keep)[len(values) - self._keep]
            kept = np.flatnonzero(values >= self._bound)
            values, images = values[kept], _rows(images, kept)
        self._values, self._images, self._count = [values], [images], len(values)

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) the values, falling, and (K, 2) their images; equal ones in the order in which they were added."""
        if not self._values:
            return np.zeros(0, np.float32), np.zeros((0, 2), np.int32)
        self._cut()
        falling = _falling_order(self._values[0])
        return self._values[0][falling], _rows(self._images[0], falling)


def _rows(pairs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Rows of (n, 2) int32, taken as one number each, which is several times as fast."""
    return pairs.view(np.int64)[:, 0][chosen].view(np.int32).reshape(-1, 2)


def _falling_order(values: np.ndarray) -> np.ndarray:
    """The stable argsort of -values, float32: by their bits, 16 at a time, which numpy sorts by counting."""
    bits = values.view(np.uint32)
    keys = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))  # 0 and -0 alone are equal by unequal bits
    by_low = np.argsort(keys.astype(np.uint16), kind="stable")
    return by_low[np.argsort((keys >> 16).astype(np.uint16)[by_low], kind="stable")]

"""Every genuine and every impostor pair of labelled embeddings, in blocks: no (N, N) matrix is ever stored.

A block of cosines is one matrix product. The genuine ones are extracted and all kept; of the impostors a histogram of
16-bit steps counts all, and the largest are kept exactly, so that thresholds at low FPR are exact. Inside a block
cosines are scaled by a power of 2, which is exact: one addition then makes them codes.
"""
from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Callable, Iterator

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from common.environment import usable_cores
from common.workers import ordered_map
from eval.largest_scores import LargestScores

BLOCK = 2048  # images per side of a block
CODE_TYPE = cv2.CV_16U  # type: ignore[attr-defined]  # which OpenCV's stubs lack
SCALE, OFFSET = 32768.0, 32769.0
CODES = 1 << 16  # of the histogram: code = SCALE cosine + OFFSET, at most the last; 0 is for excluded pairs
LEAST = -1.001  # below every cosine, whatever float32 rounds it to
NO_PAIR = -2.0  # stands for an excluded cosine: of a genuine pair, an image with itself, or a pair counted elsewhere
MOST_KEPT = 1 << 24
SPARE = 1.5  # multiple of the scores to keep that an estimated bound may pass
SAMPLE = 1000  # images per side of that estimate
SMALLEST = 4  # blocks on the diagonal, half of which counts, are split to this fraction of a block's side


@dataclass(frozen=True)
class Side:
    """unit: (N, D) float32, rows of length 1. person: (N,) integers, the same on both sides for the same identity."""

    unit: np.ndarray
    person: np.ndarray


@dataclass(frozen=True)
class AllPairs:
    """genuine: (G,) float32 cosines, ascending, and genuine_person: (G,) their identities. tail: (K,) the largest
    cosines of impostor pairs, descending, and tail_pair: (K, 2) the images' indices on each side. impostors: total
    number. histogram: (CODES,) of all impostors' cosines."""

    genuine: np.ndarray
    genuine_person: np.ndarray
    tail: np.ndarray
    tail_pair: np.ndarray
    impostors: int
    histogram: np.ndarray


def make_sides(unit: np.ndarray, labels: np.ndarray,
               chosen: tuple[np.ndarray, np.ndarray | None]) -> tuple[Side, Side | None]:
    """The sides of the images `chosen`, by index; None for all of the first against each other."""
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

    same_images: right is of the images of left, in their order, in another version (misaligned, for example).

    keep: impostor scores to keep, the largest (with all those equal to the last of them); the order of equal ones does
    not depend on the number of threads. step: called with the number of pairs of each block.
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
    found = _score(ours, theirs, (order, others), right is None, same_images, LargestScores(keep, bound), step)
    if len(found.tail) < min(keep, found.impostors) and bound > LEAST:  # the sample was not representative
        found = _score(ours, theirs, (order, others), right is None, same_images, LargestScores(keep), lambda _: None)
    return found


def _score(ours: Side, theirs: Side, orders: tuple[np.ndarray, np.ndarray], alone: bool, same_images: bool,
           tail: LargestScores, step: Callable[[int], object]) -> AllPairs:
    """Of sides sorted by identity; orders: their images' original indices. alone: both are the same side."""
    histogram, found, rooms = np.zeros(CODES, np.int64), [], threading.local()

    def block(place: tuple[slice, slice]) -> tuple[list, np.ndarray, tuple[np.ndarray, np.ndarray], int]:
        rows, columns = place
        if not hasattr(rooms, "own"):
            rooms.own = _Room()
        scaled = rooms.own.product(ours.unit[rows], theirs.unit[columns])
        if alone and rows.start == columns.start:
            scaled[np.tri(len(scaled), scaled.shape[1], dtype=bool)] = SCALE * NO_PAIR
        if same_images and rows.start == columns.start:
            np.fill_diagonal(scaled, SCALE * NO_PAIR)
        taken = _take_genuine(scaled, ours.person[rows], theirs.person[columns])
        counted = rooms.own.count(scaled)
        images = [numbers[some] for numbers, some in zip(orders, place)]
        return taken, counted, rooms.own.at_least(scaled, tail.bound(scaled, SCALE), *images), scaled.size

    corners = _blocks(len(orders[0]), None if alone else len(orders[1]))
    with threadpool_limits(1, "blas"):  # a block per core: the steps after a product are single-threaded
        for taken, counted, largest, pairs in ordered_map(block, corners, usable_cores(), 1):
            found += taken
            histogram += counted
            tail.add(*largest)
            step(pairs)
    histogram[0] = 0
    scores = np.concatenate([np.zeros(0, np.float32), *(values for values, _ in found)])
    who = np.repeat(np.array([person for _, person in found], np.int64), [len(values) for values, _ in found])
    real = scores > LEAST
    scores, who = scores[real], who[real]
    rising = np.argsort(scores, kind="stable")
    return AllPairs(scores[rising], who[rising], *tail.sorted(), int(histogram.sum()), histogram)


def _blocks(rows: int, columns: int | None) -> Iterator[tuple[slice, slice]]:
    """The places of blocks that have every pair of `rows` and `columns`, or of `rows` with each other."""
    for top in range(0, rows, BLOCK):
        below = slice(top, min(top + BLOCK, rows))
        if columns is None:
            yield from _diagonal_blocks(below)
        for begin in range(below.stop if columns is None else 0, rows if columns is None else columns, BLOCK):
            yield below, slice(begin, begin + BLOCK)


def _diagonal_blocks(rows: slice) -> Iterator[tuple[slice, slice]]:
    """Those above the diagonal of a block, and small ones on it."""
    half = (rows.start + rows.stop) // 2
    if rows.stop - rows.start <= max(BLOCK // SMALLEST, 1):
        yield rows, rows
        return
    yield slice(rows.start, half), slice(half, rows.stop)
    for part in (slice(rows.start, half), slice(half, rows.stop)):
        yield from _diagonal_blocks(part)


def _likely_bound(left: np.ndarray, right: np.ndarray, share: float) -> float:
    """A cosine that about the fraction `share` of all pairs reach, by a sample; LEAST where that is most of them."""
    if not len(left) or not len(right) or share > 0.5:
        return LEAST
    random = np.random.RandomState(0)
    rows, columns = (side[random.randint(0, len(side), SAMPLE)] for side in (left, right))
    cosines = (rows @ columns.T).ravel()
    place = int(len(cosines) * (1 - share))
    return float(np.partition(cosines, place)[place])


def _take_genuine(scaled: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Extract the genuine cosines of a block, whose sides are sorted by identity, with the identity."""
    people, first = np.unique(rows, return_index=True)
    last = np.append(first[1:], len(rows))
    begin = np.asarray(np.searchsorted(columns, people, "left"))
    end = np.asarray(np.searchsorted(columns, people, "right"))
    taken = []
    for place in np.flatnonzero(end > begin):
        part = scaled[first[place]:last[place], begin[place]:end[place]]
        taken.append((part.ravel() / np.float32(SCALE), people[place]))
        part[:] = SCALE * NO_PAIR
    return taken


def codes_of(cosines: np.ndarray | np.floating) -> np.ndarray:
    """The histogram's codes of cosines, int64."""
    return np.clip(np.rint(cosines * np.float32(SCALE) + np.float32(OFFSET)), 0, CODES - 1).astype(np.int64)


def cosine_below(code: int) -> float:
    """The cosine midway between a code of the histogram and the one before it."""
    return (code - 0.5 - OFFSET) / SCALE


class _Room:
    """A thread's reusable buffers for a block: allocating new ones takes as long as a step of the work."""

    def __init__(self) -> None:
        self._scaled, self._codes = np.empty(BLOCK * BLOCK, np.float32), np.empty(BLOCK * BLOCK, np.uint16)
        self._mask = np.empty(BLOCK * BLOCK, bool)

    def product(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(r, c) SCALE times the cosines of (r, D) and (c, D)."""
        return np.dot(rows * np.float32(SCALE), columns.T,
                      out=self._scaled[:len(rows) * len(columns)].reshape(len(rows), -1))

    def count(self, scaled: np.ndarray) -> np.ndarray:
        """(CODES,) histogram of the codes; the codes are kept for `at_least`."""
        codes = self._codes[:scaled.size].reshape(scaled.shape)
        cv2.add(scaled, OFFSET, dst=codes, dtype=CODE_TYPE)
        return cv2.calcHist([codes], [0], None, [CODES], [0, CODES]).ravel().astype(np.int64)

    def at_least(self, scaled: np.ndarray, bound: float, rows: np.ndarray,
                 columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) the cosines from the code of `bound` on, and (n, 2) int32 the images that they are of; rows, columns:
        the images' numbers."""
        least = np.uint16(max(int(codes_of(np.float32(bound))), 1))
        found = np.flatnonzero(np.greater_equal(self._codes[:scaled.size], least, out=self._mask[:scaled.size]))
        images = np.empty((len(found), 2), np.int32)
        row, column = np.divmod(found, scaled.shape[1])
        images[:, 0], images[:, 1] = rows[row], columns[column]
        return scaled.reshape(-1)[found] / np.float32(SCALE), images

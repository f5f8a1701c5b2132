"""Samples verification pairs from identities and their images: balanced folds with disjoint identities, by a seed.

An identity is in one fold only. A fold has as many same pairs as different ones, without repetition; pairs are sampled
first whose identities and images were used least, so that reuse is even.
"""
from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass
from typing import Iterator, Sequence

from common.errors import UserError

TRIES = 50  # attempts to sample a new different pair, before all that are left are listed


@dataclass(frozen=True)
class Drawn:
    """Two images, as (identity, number in it), whether of one identity, and their fold from 0."""

    left: tuple[int, int]
    right: tuple[int, int]
    same: bool
    fold: int


def draw_pairs(counts: Sequence[int], pairs: int, folds: int, seed: int, what: str,
               selected: bool = False) -> list[Drawn]:
    """`pairs` pairs in `folds` folds, same and different in turn; counts: images of each identity; selected: those
    with fewer than `min_images` images are left out.

    Depends on the arguments alone. UserError, naming `what`, where pairs are no multiple of 2 * folds, or the
    identities cannot give so many.
    """
    if pairs % (2 * folds):
        near = max(pairs // (2 * folds), 1) * 2 * folds
        raise UserError(f"`pairs` {pairs}: {folds} folds of as many same as different pairs need a multiple of "
                        f"{2 * folds}, e.g. {near}")
    half = pairs // folds // 2
    rng = random.Random(seed)
    drawn = []
    for fold, members in enumerate(_deal(counts, folds, half, rng)):
        same_room = sum(counts[one] * (counts[one] - 1) // 2 for one in members)
        total = sum(counts[one] for one in members)
        other_room = (total * total - sum(counts[one] ** 2 for one in members)) // 2
        if min(same_room, other_room) < half:
            raise UserError(f"{what}: fold {fold + 1} of {folds} has {len(members)} identities with {total} images, "
                            f"which give {same_room} same and {other_room} different pairs, not {half} of each; "
                            f"{_way_out(counts, folds, min(same_room, other_room), selected)}")
        uses: dict[tuple[int, int], int] = {}
        same = list(itertools.islice(_same_pairs(counts, members, uses, rng), half))
        for pair in zip(same, _different_pairs(counts, members, half, uses, rng)):
            drawn += [Drawn(*sides, same=kind, fold=fold) for sides, kind in zip(pair, (True, False))]
    return drawn


def _way_out(counts: Sequence[int], folds: int, room: int, selected: bool) -> str:
    """What may help where a fold has room for `room` pairs of a kind."""
    several = sum(count > 1 for count in counts)
    fewer = ["`pairs`"] * (room > 0) + ["`folds`"] * (folds > 2 and len(counts) >= 4 and several >= 2)
    ways = [f"ask for fewer {' or '.join(fewer)}"] * bool(fewer) + ["lower `min_images`"] * selected
    return ", or ".join(ways) or "give a set with more identities of several images"


def _deal(counts: Sequence[int], folds: int, half: int, rng: random.Random) -> list[list[int]]:
    """Distribute the identities: those with the most same pairs first, each to the fold with the fewest so far."""
    order = list(range(len(counts)))
    rng.shuffle(order)
    room = [min(count * (count - 1) // 2, half) for count in counts]  # one identity need not fill a fold
    order.sort(key=lambda one: -room[one])
    dealt: list[list[int]] = [[] for _ in range(folds)]
    heap = [(0, 0, fold) for fold in range(folds)]
    for one in order:
        pairs, members, fold = heapq.heappop(heap)
        dealt[fold].append(one)
        heapq.heappush(heap, (pairs + room[one], members + 1, fold))
    return dealt


def _same_pairs(counts: Sequence[int], members: list[int], uses: dict, rng: random.Random
                ) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """All same pairs of the identities, alternating, those first whose images were used least."""
    heap = []
    for one in members:
        if counts[one] > 1:
            heap.append((0, 0, rng.random(), one, _rounds(counts[one], rng)))
    heapq.heapify(heap)
    while heap:
        _, done, tie, one, rounds = heapq.heappop(heap)
        pair = next(rounds, None)
        if pair is None:
            continue
        sides = (one, pair[0]), (one, pair[1])
        for side in sides:
            uses[side] = uses.get(side, 0) + 1
        yield sides
        heapq.heappush(heap, ((done + 1) // (counts[one] // 2), done + 1, tie, one, rounds))


def _rounds(count: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    """All pairs of `count` images, round by round as of a tournament: every image once before any comes again."""
    seats: list = list(range(count))
    rng.shuffle(seats)
    if count % 2:
        seats.append(None)  # its opponent sits out the round
    for _ in range(len(seats) - 1):
        for left, right in zip(seats[:len(seats) // 2], reversed(seats[len(seats) // 2:])):
            if left is not None and right is not None:
                yield (left, right)
        seats.insert(1, seats.pop())


def _different_pairs(counts: Sequence[int], members: list[int], half: int, uses: dict, rng: random.Random
                     ) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """`half` different pairs: of the two identities used least, and in each of the image used least."""
    images = {one: [(uses.get((one, number), 0), rng.random(), number) for number in range(counts[one])]
              for one in members}
    for heap in images.values():
        heapq.heapify(heap)
    people = [(0, 0, rng.random(), one) for one in members]
    heapq.heapify(people)
    seen: set[frozenset] = set()
    for _ in range(half):
        sides = _fresh(people, images, seen, rng)
        if sides is None:
            sides = rng.choice([pair for pair in _all_different(counts, members) if frozenset(pair) not in seen])
        seen.add(frozenset(sides))
        yield sides


def _fresh(people: list, images: dict, seen: set, rng: random.Random
           ) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The next pair by use; None where TRIES of them were sampled already."""
    for _ in range(TRIES):
        chosen = [heapq.heappop(people) for _ in range(2)]
        sides = []
        for _, done, _, one in chosen:
            used, _, number = images[one][0]
            heapq.heapreplace(images[one], (used + 1, rng.random(), number))
            heapq.heappush(people, ((done + 1) // len(images[one]), done + 1, rng.random(), one))
            sides.append((one, number))
        if frozenset(sides) not in seen:
            return sides[0], sides[1]
    return None


def _all_different(counts: Sequence[int], members: list[int]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for one, other in itertools.combinations(members, 2):
        for pair in itertools.product(range(counts[one]), range(counts[other])):
            yield (one, pair[0]), (other, pair[1])

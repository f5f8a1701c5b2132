"""Finds identities of several sets that hold the same images, byte for byte."""
from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
from typing import Iterator, Sequence

import numpy as np

from common.progress import meter
from common.workers import ordered_map
from recordio_tools.merge.plan import Plan

CHUNK = 256  # records that a thread reads at a time
MOST_HOLDERS = 100  # an image under more identities, such as a blank one, is no evidence that they are the same
SHARE = 0.5  # fraction of the smaller identity's images that the other must hold


def pairs_sharing(plan: Plan, numbers: Sequence[int], workers: int) -> tuple[np.ndarray, np.ndarray]:
    """(pairs (P, 2) of places in `numbers`, i < j, sorted; the fraction of the smaller's distinct images that the other
    holds, float64, from SHARE on)."""
    digests, owners = _digests(plan, numbers, workers)
    order = np.lexsort((owners, digests))
    digests, owners = digests[order], owners[order]
    new = np.append(True, (digests[1:] != digests[:-1]) | (owners[1:] != owners[:-1])) if len(order) else order
    digests, owners = digests[new], owners[new]  # each image of an identity once
    images = np.bincount(owners, minlength=len(numbers))
    starts = np.flatnonzero(np.append(True, digests[1:] != digests[:-1])) if len(digests) else digests
    common: collections.Counter = collections.Counter()
    for holders in np.split(owners, starts[1:]):
        if 1 < len(holders) <= MOST_HOLDERS:
            common.update(itertools.combinations(holders.tolist(), 2))
    found = sorted((pair, count / min(images[list(pair)])) for pair, count in common.items())
    found = [(pair, share) for pair, share in found if share >= SHARE]
    return (np.array([pair for pair, _ in found], np.int64).reshape(-1, 2), np.array([share for _, share in found]))


def distinct_images(plan: Plan, groups: Sequence[Sequence[int]], workers: int) -> np.ndarray:
    """(groups,) how many different images the identities of each group have together."""
    numbers = [number for group in groups for number in group]
    digests, places = _digests(plan, numbers, workers)
    of_group = np.repeat(np.arange(len(groups)), [len(group) for group in groups])[places]
    return np.bincount(np.unique(np.stack([of_group.astype(np.uint64), digests]), axis=1)[0].astype(np.int64),
                       minlength=len(groups))


def _digests(plan: Plan, numbers: Sequence[int], workers: int) -> tuple[np.ndarray, np.ndarray]:
    """(uint64 of every image, the place in `numbers` of the identity that it belongs to)."""
    def work(span: tuple[int, np.ndarray]) -> list[bytes]:
        source, keys = span
        return [hashlib.blake2b(record, digest_size=8).digest() for record in plan.sets[source].copy(keys).pieces()]

    def spans() -> Iterator[tuple[int, np.ndarray]]:
        for source, members in itertools.groupby(numbers, key=lambda number: plan.identities[number].source):
            keys = np.concatenate([plan.identities[number].images for number in members])
            yield from ((source, keys[first:first + CHUNK]) for first in range(0, len(keys), CHUNK))

    counts = [len(plan.identities[number].images) for number in numbers]
    parts = [b""]
    results = ordered_map(work, spans(), workers, chunk=1)
    with contextlib.closing(results), meter(sum(counts), "compare", " images") as bar:
        for some in results:
            parts += some
            bar.update(len(some))
    return np.frombuffer(b"".join(parts), np.uint64), np.repeat(np.arange(len(numbers)), counts)

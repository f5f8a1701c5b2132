"""Sources of errors: the identities in false accepts, and probable label noise."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Sequence

import numpy as np

from eval.scores import normalise

ALIKE = 0.5  # cosine of two identities' mean embeddings from which they may be the same person
UNLIKE = 0.2  # cosine of an image to the mean of its identity's others below which it may be mislabelled


@dataclass(frozen=True)
class FalseAccepts:
    """count: of pairs; people: number of different identities in them; top: (identity, share of the false accepts that
    include it) of the five with most; top_share: the share that includes at least one of them."""

    count: int
    people: int
    top: list[tuple[int, float]]
    top_share: float


def false_accepts(left: np.ndarray, right: np.ndarray, most: int = 5) -> FalseAccepts:
    """left, right: (n,) the identity on each side of every false accept."""
    if not len(left):
        return FalseAccepts(0, 0, [], 0.0)
    people, counts = np.unique(np.concatenate([left, right]), return_counts=True)
    order = np.lexsort((people, -counts))[:most]
    chosen = people[order]
    share = float(np.mean(np.isin(left, chosen) | np.isin(right, chosen)))
    return FalseAccepts(len(left), len(people),
                        [(int(person), float(count) / len(left)) for person, count in zip(chosen, counts[order])],
                        share)


def review(unit: np.ndarray, labels: np.ndarray, people: Sequence[str], names: Sequence[str],
           alike: float = ALIKE, unlike: float = UNLIKE) -> Iterator[tuple[str, str, str, float]]:
    """Rows to review: ("people alike", identity, identity, cosine of their means), most similar first; then ("image
    unlike its person", image, person, cosine to the mean of the person's other images), least alike first.

    unit: (N, D), rows of length 1; labels: (N,) from 0 to len(people) - 1.
    """
    counts = np.bincount(labels, minlength=len(people))
    sums = np.zeros((len(people), unit.shape[1]))
    np.add.at(sums, labels, unit)
    means = normalise(sums).astype(np.float32)
    found = []
    for top in range(0, len(people), 1024):
        cosines = means[top:top + 1024] @ means.T
        rows, columns = np.nonzero(cosines >= alike)
        found += [(float(cosines[row, column]), row + top, column) for row, column in zip(rows, columns)
                  if row + top < column]
    for cosine, one, other in sorted(found, key=lambda row: (-row[0], row[1:])):
        yield "people alike", people[one], people[other], cosine
    others = normalise(sums[labels] - unit)
    own = np.where(counts[labels] > 1, (others * unit).sum(axis=1), np.inf)
    for number in np.argsort(own, kind="stable"):
        if own[number] >= unlike:
            return
        yield "image unlike its person", names[number], people[labels[number]], float(own[number])

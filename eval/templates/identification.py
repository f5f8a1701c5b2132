"""1:N identification: ranks of mated probes (CMC), and FNIR at an FPIR of non-mated probes (open set)."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence, Union

import numpy as np

from eval.bootstrap import draw_resamples, weighted_tpr
from eval.operating_points import OperatingPoint, operating_point
from eval.templates.verification import NOTHING

BLOCK = 2048  # probes per block
Subjects = Union[Sequence[str], np.ndarray]  # identities' names


@dataclass(frozen=True)
class Search:
    """Search results of P probes in a gallery. mated: whether the identity is in it. rank: of the identity, from 1; 0
    for non-mated probes. score: of the mated entry; of a non-mated probe, the highest. best: the identity with the
    highest score, an index into the gallery's identities by name. subject: the probe's identity, from 0.
    """

    mated: np.ndarray
    rank: np.ndarray
    score: np.ndarray
    best: np.ndarray
    best_score: np.ndarray
    subject: np.ndarray

    def hit_rate(self, rank: int) -> float:
        """The fraction of mated probes whose identity is among the first `rank`."""
        return float(np.mean(self.rank[self.mated] <= rank))

    def misses(self, fpir: float) -> OperatingPoint:
        """At the largest observed fraction of non-mated probes with any score above the threshold that does not exceed
        `fpir`; FNIR is 1 - tpr, at whatever rank the identity is."""
        tail = -np.sort(-self.score[~self.mated])
        return operating_point(np.sort(self.score[self.mated]), tail, len(tail), fpir)


def search(gallery: np.ndarray, gallery_subject: Subjects, probes: np.ndarray, probe_subject: Subjects,
           step: Callable[[int], object] = lambda probes: None) -> Search:
    """Each of (P, D) probes against (G, D) normalised templates, in blocks.

    An identity with several templates in the gallery has the best of their scores. Ties with the probe's identity rank
    before it, so that a model with constant scores identifies nobody. A template of zeros, which had no usable image,
    scores below every cosine.
    """
    people, entry = np.unique(np.asarray(gallery_subject), return_inverse=True)
    order = np.argsort(entry, kind="stable")
    starts = np.searchsorted(entry[order], np.arange(len(people)))
    wanted = np.asarray(probe_subject)
    place = np.minimum(np.searchsorted(people, wanted), len(people) - 1)
    mated = people[place] == wanted
    no_entry, no_probe = ~gallery.any(axis=1), ~probes.any(axis=1)
    rank, score = np.zeros(len(probes), np.int64), np.empty(len(probes), np.float32)
    best, best_score = np.empty(len(probes), np.int64), np.empty(len(probes), np.float32)
    for first in range(0, len(probes), BLOCK):
        rows = np.arange(first, min(first + BLOCK, len(probes)))
        single = probes[rows] @ gallery.T
        single[no_probe[rows]] = single[:, no_entry] = NOTHING
        cosines = np.maximum.reduceat(single[:, order], starts, axis=1)
        best[rows] = cosines.argmax(axis=1)
        best_score[rows] = cosines.max(axis=1)
        own = cosines[np.arange(len(rows)), place[rows]]
        score[rows] = np.where(mated[rows], own, best_score[rows])
        rank[rows] = np.where(mated[rows], (cosines >= own[:, None]).sum(axis=1), 0)
        step(len(rows))
    return Search(mated, rank, score, best, best_score, np.unique(wanted, return_inverse=True)[1])


def resampled(found: Search, ranks: Sequence[int], fpirs: Sequence[float], resamples: int,
              seed: int) -> dict[str, np.ndarray]:
    """(resamples,) values of each rate by name (`rank 1`, `fnir 0.01`), over the identities of the probes."""
    people = int(found.subject.max()) + 1
    drawn = draw_resamples(people, resamples, seed)
    mated = found.subject[found.mated]
    counts = np.bincount(mated, minlength=people)
    draws = {}
    with np.errstate(invalid="ignore"):
        for rank in ranks:
            hits = np.bincount(mated, found.rank[found.mated] <= rank, people)
            draws[f"rank {rank}"] = (drawn @ hits) / (drawn @ counts)
    rising = np.argsort(found.score[found.mated], kind="stable")
    falling = np.argsort(-found.score[~found.mated], kind="stable")
    genuine, tail = found.score[found.mated][rising], found.score[~found.mated][falling]
    others = found.subject[~found.mated][falling]
    for fpir in fpirs if len(tail) else ():
        draws[f"fnir {fpir:g}"] = 1 - np.array([weighted_tpr(genuine, one[mated[rising]], tail, one[others],
                                                             float(one[others].sum()), fpir) for one in drawn])
    return draws

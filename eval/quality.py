"""Error-versus-discard curve: does the norm of an embedding predict its reliability?

The quality of a pair is the smaller of its two embeddings' norms, before they were normalised. Pairs are discarded from
the smallest norm on, at the threshold of all of them: an error-versus-discard curve (Grother and Tabassi, "Performance
of biometric quality measures", 2007).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from eval.all_pairs import AllPairs, Side, count_pairs
from eval.fixed_threshold import limits_of

DISCARDS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Kept:
    """The rates when the worst fraction `discarded` of the genuine pairs, and the impostor pairs below the same norm,
    are left out. fnmr: the fraction of genuine pairs rejected, with its 95% interval over identities; fpr: None where
    the scores kept do not reach down to the threshold."""

    discarded: float
    norm: float
    genuine: int
    impostors: int
    fnmr: float
    limits: tuple[float, float] | None
    fpr: float | None
    false_accepts: int | None

    def as_row(self) -> dict[str, object]:
        """For JSON."""
        return {"discarded": self.discarded, "norm": self.norm, "genuine": self.genuine, "impostors": self.impostors,
                "fnmr": self.fnmr, "interval": list(self.limits) if self.limits else None, "fpr": self.fpr,
                "false_accepts": self.false_accepts}


def discard_curve(scored: AllPairs, sides: tuple[Side, Side | None], norms: tuple[np.ndarray, np.ndarray | None],
                  cosine: float, multiplicity: np.ndarray | None = None,
                  discards: Sequence[float] = DISCARDS) -> list[Kept]:
    """The curve at a threshold.

    scored: of the sides' pairs. norms: (N,) of each side's images. multiplicity: (R, people) how often each identity is
    sampled, for intervals. Fractions that leave fewer than 2 genuine pairs are left out.
    """
    values, quality, person = genuine_pairs(*sides, *norms)
    accepted = values > cosine
    low = norms[0]
    high = norms[0] if norms[1] is None else norms[1]
    whole = len(scored.tail) == scored.impostors or (len(scored.tail) and scored.tail[-1] <= cosine)
    behind = scored.tail_pair[scored.tail > cosine]
    worst = np.minimum(low[behind[:, 0]], high[behind[:, 1]])
    curve = []
    for share in discards:
        bound = float(np.quantile(quality, share)) if share else 0.0
        kept = quality >= bound
        if kept.sum() < 2:
            continue
        left, right = sides
        _, impostors = count_pairs(_at_least(left, low, bound),
                                   None if right is None else _at_least(right, high, bound))
        refused = int((kept & ~accepted).sum())
        total = int(kept.sum())
        limits = None
        if multiplicity is not None:
            people = multiplicity.shape[1]
            counts = [np.bincount(person[which], minlength=people).astype(np.float64) for which in
                      (kept & ~accepted, kept)]
            with np.errstate(invalid="ignore"):
                limits = limits_of((multiplicity @ counts[0]) / (multiplicity @ counts[1]), refused, total)
        accepts = int((worst >= bound).sum()) if whole else None
        curve.append(Kept(share, bound, total, impostors, refused / total, limits,
                          accepts / impostors if accepts is not None and impostors else None, accepts))
    return curve


def genuine_pairs(left: Side, right: Side | None, left_norms: np.ndarray,
                  right_norms: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(G,) cosine, smaller norm and person of every genuine pair, each once."""
    values, quality, people = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
    other, other_norms = (left, left_norms) if right is None or right_norms is None else (right, right_norms)
    order, others = np.argsort(left.person, kind="stable"), np.argsort(other.person, kind="stable")
    ours, theirs = left.person[order], other.person[others]
    for person in np.unique(ours):
        one = order[np.searchsorted(ours, person, "left"):np.searchsorted(ours, person, "right")]
        two = others[np.searchsorted(theirs, person, "left"):np.searchsorted(theirs, person, "right")]
        cosines = left.unit[one] @ other.unit[two].T
        smaller = np.minimum(left_norms[one][:, None], other_norms[two][None])
        which = np.triu(np.ones(cosines.shape, bool), 1) if right is None else np.ones(cosines.shape, bool)
        values.append(cosines[which])
        quality.append(smaller[which])
        people.append(np.full(int(which.sum()), person))
    return np.concatenate(values), np.concatenate(quality), np.concatenate(people)


def _at_least(side: Side, norms: np.ndarray, bound: float) -> Side:
    kept = norms >= bound
    return Side(side.unit[kept], side.person[kept])

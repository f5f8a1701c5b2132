"""What verification protocols of another random draw, of the same size as CFP-FP's, show on a run.

CFP-FP's folds hold 50 identities; each identity has 7 genuine pairs of a frontal and a profile image, and its frontal
images 7 impostor pairs with profile images of others of the fold. The seed alone decides which pairs these are, so two
runs on the same images are compared on the same pairs.
"""
from __future__ import annotations

from typing import Iterator, Sequence

import numpy as np

from eval.metrics import accuracy_10fold, tpr_at_fpr
from eval.operating_points import allowed

PAIRS = 7  # per identity and kind
FOLD = 50  # identities
DIGITS = 5


def random_protocols(labels: np.ndarray, sides: tuple[np.ndarray, np.ndarray], draws: int,
                     seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`draws` protocols, each as places on the two sides, (pairs, 2), and which pairs are genuine, (pairs,); fold by
    fold.

    labels: (N,) identities of images; sides: the indices of frontal and of profile images. ValueError for fewer than
    two identities, or one that lacks an image of either kind.
    """
    people = np.unique(labels[np.concatenate(sides)])
    if len(people) < 2:
        raise ValueError("a protocol of impostor pairs needs two identities or more")
    frontal, profile = ([np.flatnonzero(labels[side] == person) for person in people] for side in sides)
    if not all(map(len, frontal + profile)):
        raise ValueError("an identity has no frontal or no profile image")
    pools = []
    for fold in np.array_split(np.arange(len(people)), fold_count(len(people))):
        pools += [(frontal[one], profile[one], True) for one in fold]
        pools += [(frontal[one], np.concatenate([profile[other] for other in fold if other != one]), False)
                  for one in fold]
    random = np.random.RandomState(seed)
    for _ in range(draws):
        pairs = [_some(random, left, right) for left, right, _ in pools]
        yield np.concatenate(pairs), np.repeat([genuine for *_, genuine in pools], [len(some) for some in pairs])


def fold_count(people: int) -> int:
    """How many folds: of 50 identities or nearly so, two at least."""
    return max(2, round(people / FOLD))


def _some(random: np.random.RandomState, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Up to PAIRS distinct pairs of `left` and `right`, at random."""
    chosen = random.choice(len(left) * len(right), min(PAIRS, len(left) * len(right)), replace=False)
    return np.stack([left[chosen // len(right)], right[chosen % len(right)]], 1)


def protocol_rates(unit: np.ndarray, labels: np.ndarray, sides: tuple[np.ndarray, np.ndarray], fprs: Sequence[float],
                   draws: int, seed: int) -> dict[str, object]:
    """On `draws` random protocols the accuracy over their folds and the TPR at each FPR that allows a false accept.

    unit: (N, D) embeddings of length 1. Returns `accuracy`, a list of `draws`, and `tpr`, one by FPR.
    """
    cosines = unit[sides[0]] @ unit[sides[1]].T
    folds = fold_count(len(np.unique(labels[np.concatenate(sides)])))
    accuracy: list[float] = []
    tprs: dict[str, list[float]] = {}
    for pairs, same in random_protocols(labels, sides, draws, seed):
        distance = 2 - 2 * cosines[pairs[:, 0], pairs[:, 1]]
        accuracy.append(round(accuracy_10fold(distance, same, folds)[0], DIGITS))
        for fpr in fprs:
            if allowed(fpr, int((~same).sum())):
                tprs.setdefault(f"{fpr:g}", []).append(round(tpr_at_fpr(distance, same, fpr), DIGITS))
    return {"accuracy": accuracy, "tpr": tprs}

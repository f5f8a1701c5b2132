"""Identities whose images form several clusters, as where two people share a label: DBSCAN per identity."""
from __future__ import annotations

from typing import Callable, Iterator

import numpy as np

from eval.scores import normalise

RADIUS = 0.5  # cosine distance within which images are neighbours
LEAST = 5  # neighbours, including itself, that make an image a core point of a cluster


def second_groups(unit: np.ndarray, labels: np.ndarray,
                  step: Callable[[int], object] = lambda people: None) -> Iterator[tuple[int, float]]:
    """Yield (index of the image, its cosine to the mean of the largest cluster) of every image in another cluster of
    its identity than the largest, identity by identity.

    unit: (N, D), rows of length 1; labels: (N,) from 0. Identities of fewer than 2 LEAST images cannot have two
    clusters.
    """
    from sklearn.cluster import DBSCAN  # takes a second to import, and only --audit needs it

    order = np.argsort(labels, kind="stable")
    for images in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(images) >= 2 * LEAST:
            group = DBSCAN(eps=RADIUS, min_samples=LEAST, metric="cosine").fit_predict(unit[images])
            sizes = np.bincount(group[group >= 0])
            if len(sizes) > 1:
                largest = int(sizes.argmax())
                mean = normalise(unit[images[group == largest]].sum(axis=0, keepdims=True))[0]
                for image in images[(group >= 0) & (group != largest)].tolist():
                    yield image, float(unit[image] @ mean)
        step(1)

"""From embeddings to scores of pairs: normalise, project, take squared distances."""
from __future__ import annotations

import numpy as np

from common.errors import UserError
from eval.metrics import fold_bounds


def normalise(embeddings: np.ndarray) -> np.ndarray:
    """Rows of (N, D) scaled to length 1; a row of zeros stays one."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(norms == 0, 1, norms)


def pair_scores(embeddings: np.ndarray) -> np.ndarray:
    """(pairs,) squared L2 distances of (2 * pairs, D) normalised embeddings in the order left, right, left, ..."""
    return distances(embeddings[0::2], embeddings[1::2])


def distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(...) squared L2 distances of normalised embeddings, (..., D) that broadcast. Of an embedding of zeros, which has
    no direction, 2: its cosine is 0."""
    found = np.square(left - right).sum(axis=-1)
    found[~(left.any(axis=-1) & right.any(axis=-1))] = 2
    return found


def cosines_of(squared: np.ndarray) -> np.ndarray:
    """float64 cosines of squared distances; in float32 those of small, different distances would be equal."""
    return 1 - squared.astype(np.float64) / 2


def check_components(components: int, dimension: int, pairs: int, folds: int) -> None:
    """UserError where embeddings of so many pairs outside a fold have not so many principal components."""
    most = min(dimension, 2 * (pairs - int(np.diff(fold_bounds(pairs, folds)).max())))
    if not 1 <= components <= most:
        raise UserError(f"`pca` {components}: 1 to {most} components are possible with {dimension}-d embeddings of "
                        f"{pairs} pairs in {folds} folds")


def projected(unit: np.ndarray, mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(n, N) of (n, D) embeddings: centred, projected on (N, D) directions, not whitened, and normalised again, as in
    InsightFace's script; an embedding of zeros stays one."""
    return normalise((unit - mean) @ directions.T) * unit.any(axis=1)[:, None]


def projected_scores(embeddings: np.ndarray, components: int, folds: int) -> np.ndarray:
    """(folds, pairs) scores after PCA: row f with the projection fitted on all pairs outside fold f.

    embeddings: (2 * pairs, D), normalised; those of zeros are not fitted on. UserError where there are not so many
    components.
    """
    pairs, bounds = len(embeddings) // 2, fold_bounds(len(embeddings) // 2, folds)
    check_components(components, embeddings.shape[1], pairs, folds)
    scores, known = np.empty((folds, pairs)), embeddings.any(axis=1)
    for fold in range(folds):
        others = known.copy()
        others[2 * bounds[fold]:2 * bounds[fold + 1]] = False
        mean = embeddings[others].mean(axis=0, dtype=np.float64)
        centred = embeddings[others] - mean
        _, directions = np.linalg.eigh(centred.T @ centred)  # ascending
        scores[fold] = pair_scores(projected(embeddings, mean, directions[:, -components:].T))
    return scores


def held_out(scores: np.ndarray) -> np.ndarray:
    """(pairs,) of (folds, pairs): each pair's score with the projection that was fitted without it."""
    folds, pairs = scores.shape
    return scores[np.repeat(np.arange(folds), np.diff(fold_bounds(pairs, folds))), np.arange(pairs)]

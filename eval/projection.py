"""Principal components: a projection that is fitted on one set's embeddings and applied to any."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from eval.scores import projected


@dataclass(frozen=True)
class Projection:
    """mean: (D,), directions: (N, D) orthonormal, of the largest variance first; fitted_on: the set, as the user named
    it."""

    mean: np.ndarray
    directions: np.ndarray
    fitted_on: str

    def apply(self, unit: np.ndarray) -> np.ndarray:
        """(n, N) float32 of (n, D), as `eval.scores.projected` makes them."""
        return projected(unit, self.mean, self.directions).astype(np.float32)


def fit_projection(unit: np.ndarray, components: int, fitted_on: str) -> Projection:
    """On (n, D) embeddings, without their labels and without rows of zeros, which stand for unavailable images;
    UserError where there are not so many components."""
    unit = unit[unit.any(axis=1)]
    check_possible(components, *unit.shape)
    from sklearn.decomposition import PCA  # takes a second to import, and only this needs it

    fitted = PCA(components, svd_solver="full").fit(unit)
    return Projection(fitted.mean_, fitted.components_, fitted_on)


def check_possible(components: int, images: int, dimension: int) -> None:
    """UserError where so many embeddings of D numbers have not so many principal components."""
    most = min(images, dimension)
    if not 1 <= components <= most:
        raise UserError(f"`pca` {components}: 1 to {most} components are possible with {images} embeddings of "
                        f"{dimension} numbers")


def fit_line(projection: Projection, scored: str) -> str:
    """One line about the fit, for the output; scored: the set whose rates are given."""
    where = f"the scored set itself, {scored}, without its labels" if projection.fitted_on == scored else (
        projection.fitted_on)
    return f"embeddings projected on {len(projection.directions)} principal components, fitted on {where}"

"""From images to templates: images of one medium are averaged, media added, the sum normalised.

As in IJB's tools, with the options in which they differ: whether an image's embedding keeps its norm as a weight,
whether the detector's score multiplies it, and whether the mirror image is added. All of it is linear, so a template
is accumulated image by image, and no image's embedding is stored.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.scores import normalise


@dataclass(frozen=True)
class Switches:
    """keep_norms: an image is weighted by its embedding's norm, else all equally. detector_score: it is also weighted
    by the detector's score. (Mirror images are the embedding's own switch.)"""

    keep_norms: bool = True
    detector_score: bool = True


class TemplateSums:
    """Templates (T,) accumulated from the embeddings of images in any order.

    member_image, member_template, member_medium: (M,) as `ijb_files.Images` has them; scores: (N,) the detector's.
    """

    def __init__(self, templates: int, member_image: np.ndarray, member_template: np.ndarray,
                 member_medium: np.ndarray, scores: np.ndarray, switches: Switches) -> None:
        self._switches, self._scores, self._count = switches, scores, templates
        media = np.stack([member_template, member_medium], 1)
        _, medium, images = np.unique(media, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(member_image, kind="stable")
        self._image, self._template = member_image[order], member_template[order]
        self._weight = (1 / images[medium.ravel()])[order]  # of an image in the mean of its medium
        self._sums: np.ndarray | None = None

    def add(self, first: int, unit: np.ndarray, norms: np.ndarray) -> None:
        """The images first, first + 1, ...: (n, D) normalised embeddings and (n,) their lengths; 0 for one that could
        not be had, which then counts for nothing but in its medium's number of images."""
        if self._sums is None:
            self._sums = np.zeros((self._count, unit.shape[1]))
        features = unit.astype(np.float64) * (norms != 0)[:, None]
        if self._switches.keep_norms:
            features *= norms[:, None]
        if self._switches.detector_score:
            features *= self._scores[first:first + len(unit), None]
        begin, end = np.searchsorted(self._image, [first, first + len(unit)])
        if begin == end:
            return
        order = begin + np.argsort(self._template[begin:end], kind="stable")
        template, starts = np.unique(self._template[order], return_index=True)
        weighted = features[self._image[order] - first] * self._weight[order, None]
        self._sums[template] += np.add.reduceat(weighted, starts, axis=0)

    def templates(self) -> np.ndarray:
        """(T, D) float32, normalised; zeros for a template without a usable image."""
        assert self._sums is not None, "no image was added"
        return normalise(self._sums).astype(np.float32)

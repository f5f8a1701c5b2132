"""Verifies a model on a set of pairs: embeddings with mirror images, scores, the paper's metrics."""
from __future__ import annotations

import hashlib
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np

from common.environment import usable_cores
from common.errors import DataError, UserError
from common.files import PathLike
from common.progress import progress
from common.workers import ordered_map
from eval import metrics
from eval.batches import stacked
from eval.models import embed_views
from eval.scores import check_components, held_out, pair_scores, projected_scores
from images.codec import ImageError, decode
from images.formats import is_cut_off, kind_of, read_header
from inference.engine import AnyEmbedder
from recordio_tools.bins.binfile import read_bin
from recordio_tools.bins.odd_pairs import find_odd_pairs

log = logging.getLogger(__name__)


class VerificationSet:
    """The pairs of a `.bin` file; the images stay encoded in memory.

    name: the file's name without `.bin`. image_size: (H, W) of every image. images: the different ones, encoded, in
    the order in which the pairs name them first; order: (2 * pairs,), the image of left, right, left, ...; an image is
    embedded once however many pairs it is in. same: (pairs,) bool. UserError, before any image is embedded, where the
    file is not such a set, an image is truncated or of another size than the first, or no score can be computed
    (fewer pairs than `folds`, pairs of one kind only).
    """

    def __init__(self, path: PathLike, folds: int = 10) -> None:
        self.path = Path(path)
        self.name = self.path.name[:-len(".bin")] if self.path.name.endswith(".bin") else self.path.name
        every, self.same = read_bin(self.path)
        self._digest = ""
        places: dict[bytes, int] = {}
        self.order = np.array([places.setdefault(image, len(places)) for image in every])
        self.images = list(places)
        self.folds = folds
        try:
            metrics.check_pairs(self.same, folds)
        except UserError as error:
            raise type(error)(f"{self.path}: {error}") from None
        odd = str(find_odd_pairs(self.order.tolist(), self.same.tolist()))
        if odd:
            log.warning("%s: %s; such pairs do not measure a model", self.path, odd)
        self.image_size = self._size(0)
        for number in range(1, len(self.images)):
            size = self._size(number)
            if size != self.image_size:
                raise DataError(f"{self._where(number)} is {size[0]}x{size[1]}, the first is "
                                f"{self.image_size[0]}x{self.image_size[1]}; a set has one size")

    @property
    def digest(self) -> str:
        """sha256 over the place and the sha256 of the bytes of every image, as `deploy embed` has it of a `.bin`."""
        if not self._digest:
            contents, digest = [hashlib.sha256(image).digest() for image in self.images], hashlib.sha256()
            for place, image in enumerate(self.order.tolist()):
                digest.update(f"{place}\0\0".encode() + contents[image])
            self._digest = digest.hexdigest()
        return self._digest

    @property
    def digest_of_pairs(self) -> str:
        """sha256 over `digest` and which pairs are the same person's."""
        return hashlib.sha256(self.digest.encode() + self.same.tobytes()).hexdigest()

    def batches(self, size: int, show_progress: bool = False) -> Iterator[np.ndarray]:
        """Yield `images` in order, (n, H, W, 3) uint8 RGB with n up to `size`, decoded ahead by threads."""
        decoded: Iterator[np.ndarray] = ordered_map(self._decode, range(len(self.images)), usable_cores())
        if show_progress:
            decoded = progress(decoded, len(self.images), self.name)
        return stacked(decoded, size)

    def _decode(self, number: int) -> np.ndarray:
        try:
            return decode(self.images[number])
        except ImageError as error:
            raise DataError(f"{self._where(number)} {error}") from None

    def _where(self, number: int) -> str:
        return f"{self.path}: image {int(np.argmax(self.order == number))} (from 0)"

    def _size(self, number: int) -> tuple[int, int]:
        # A JPEG has its size in its header; decoding all of them here would cost a second or two.
        data = self.images[number]
        if is_cut_off(data):
            raise DataError(f"{self._where(number)} is truncated")
        if kind_of(data) == "JPEG":
            header = read_header(data)
            if header.scan > 0 and header.orientation == 1 and header.height and header.width:
                return header.height, header.width
        height, width = self._decode(number).shape[:2]
        return height, width


def each_once(paths: Sequence[PathLike], flag: str) -> list[PathLike]:
    """Paths without those of a file that one before names, by whatever spelling, which are logged."""
    found: list[PathLike] = []
    for path in paths:
        if os.path.exists(path) and any(os.path.exists(one) and os.path.samefile(path, one) for one in found):
            log.info("%s names %s twice; it is verified once", flag, path)
        else:
            found.append(path)
    return found


@dataclass(frozen=True)
class VerificationResult:
    """A model's results on a set; rates and accuracies from 0 to 1.

    tpr: at FPR fpr_target; tprs: at every FPR asked for. threshold: the mean of the folds' (squared L2 distance).
    xnorm: the mean length of the embeddings before normalisation, mirror images included; NaN where it is not known.
    roc: FPR and TPR, every operating point. scores, same: (pairs,). embeddings: (2 * pairs, D), normalised.
    fold_thresholds: (folds,) the threshold of each fold.
    """

    name: str
    pairs: int
    accuracy: float
    accuracy_std: float
    tpr: float
    fpr_target: float
    tprs: dict[float, float]
    eer: float
    auc: float
    threshold: float
    xnorm: float
    seconds: float
    roc: tuple[np.ndarray, np.ndarray] = field(repr=False)
    scores: np.ndarray = field(repr=False)
    same: np.ndarray = field(repr=False)
    embeddings: np.ndarray = field(repr=False)
    fold_thresholds: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)


def numbers(result: VerificationResult) -> dict[str, object]:
    """The numbers of a result that JSON takes, as both metrics.jsonl and `verify --json` name them."""
    return {"target": result.name, "pairs": result.pairs, "accuracy": result.accuracy,
            "accuracy_std": result.accuracy_std, "tpr": result.tpr, "fpr_target": result.fpr_target,
            "eer": result.eer, "auc": result.auc, "threshold": result.threshold,
            "xnorm": result.xnorm if np.isfinite(result.xnorm) else None,
            "seconds": result.seconds}


def fold_numbers(pairs: int, folds: int) -> np.ndarray:
    """(pairs,) the fold of each pair, from 0."""
    return np.repeat(np.arange(folds), np.diff(metrics.fold_bounds(pairs, folds)))


def verify_set(embedder: AnyEmbedder, target: VerificationSet, fpr: Sequence[float] = (1e-3,), flip: bool = True,
               pca: int = 0, show_progress: bool = False) -> VerificationResult:
    """Embed a set's images and score its pairs.

    fpr: the FPRs of the TPRs, the first as the result's `tpr`. flip: add the mirror image's embedding. pca: project on
    so many principal components, fitted on the other folds. UserError where the images' size is not the model's
    or there are not so many components, RunError where embeddings are not finite.
    """
    began = time.perf_counter()
    if tuple(target.image_size) != tuple(embedder.image_size):
        raise UserError(f"{target.path}: its images are {target.image_size[0]}x{target.image_size[1]}, the model takes "
                        f"{embedder.image_size[0]}x{embedder.image_size[1]}")
    if pca:
        check_components(pca, embedder.dimension, len(target.same), target.folds)
    batches = target.batches(embedder.batch_size, show_progress)
    unit, _, view_norms = embed_views(embedder, batches, flip)
    xnorm = float(view_norms[target.order].mean(dtype=np.float64))
    return score_set(target.name, unit[target.order], target.same, xnorm, fpr, target.folds, pca, began)


def score_set(name: str, embeddings: np.ndarray, same: np.ndarray, xnorm: float, fpr: Sequence[float] = (1e-3,),
              folds: int = 10, pca: int = 0, began: float | None = None) -> VerificationResult:
    """The result of (2 * pairs, D) normalised embeddings; `began`, of time.perf_counter, is what `seconds` count from.

    With pca, accuracy scores each fold with the projection fitted on the others, and so do the curves over all pairs.
    """
    began = time.perf_counter() if began is None else began
    if pca:
        by_fold = projected_scores(embeddings, pca, folds)
        scores = held_out(by_fold)
    else:
        by_fold = scores = pair_scores(embeddings)
    accuracies, thresholds = metrics.fold_accuracies(by_fold, same, folds)
    tprs = {target: metrics.tpr_at_fpr(scores, same, target) for target in fpr}
    false_rates, true_rates, _ = metrics.roc_curve(scores, same)
    return VerificationResult(
        name, len(same), float(accuracies.mean()), float(accuracies.std()), tprs[fpr[0]], fpr[0], tprs,
        metrics.eer(scores, same), metrics.auc(scores, same), float(thresholds.mean()), xnorm,
        time.perf_counter() - began, (false_rates, true_rates), scores, same, embeddings, thresholds)

"""Checks that an exported model gives the original's embeddings: on random images, and on verification sets."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Mapping, Sequence

import mxnet as mx
import numpy as np

from common.errors import RunError
from eval.operating_points import marked
from eval.pair_statistics import statistics
from eval.verification import VerificationResult, VerificationSet, numbers, verify_set
from eval.verify_table import aligned
from inference.engine import AnyEmbedder
from inference.streams import UNFUSED

BATCHES = (1, 3, 8)  # a model that is right only for single images is a known fault of exporters
LARGEST = 1e-4  # largest difference due to rounding
ROUNDED = 1e-3  # largest difference of a length from 1 due to rounding, to float16 too
DEPENDS = 1e-3  # difference above which an embedding depends on its batch
Run = Callable[[np.ndarray], np.ndarray]  # (n, 3, H, W) float32, 0 to 255, to (n, D)


@dataclass(frozen=True)
class Difference:
    """Between the embeddings of two models.

    relative: the largest |a - b| / |a| of an image's vectors. absolute: the largest of a component; unit: of a
    component of the normalised vectors. cosine: the smallest between the two of an image. images: how many were
    compared. alone: whether an image's embedding is the same in any batch. unit_length: whether the first model's
    embeddings are of length 1.
    """

    relative: float
    absolute: float
    unit: float
    cosine: float
    images: int
    alone: bool = True
    unit_length: bool = False

    def as_row(self) -> dict[str, object]:
        """For JSON."""
        return {"images": self.images, "batches": list(BATCHES), "largest_relative_difference": self.relative,
                "largest_difference": self.absolute, "largest_difference_at_length_1": self.unit,
                "smallest_cosine": self.cosine,
                "independent_of_batch": self.alone}

    def __str__(self) -> str:
        return (f"largest difference {self.absolute:.1e} ({self.relative:.1e} of an embedding's norm), smallest "
                f"cosine {self.cosine:.7f}")


def plain_mxnet(symbol: mx.sym.Symbol, arguments: dict[str, mx.nd.NDArray],
                auxiliary: dict[str, mx.nd.NDArray], fused: bool = False) -> Run:
    """A plain MXNet forward pass on a CPU, without this project's code and, if not `fused`, without MXNet's fused
    operators, which do not compute every network right (`inference.embedder`)."""
    device = mx.cpu() if fused else UNFUSED
    given, states = ({name: value.as_in_context(device) for name, value in one.items()}
                     for one in (arguments, auxiliary))

    def run(images: np.ndarray) -> np.ndarray:
        bound = symbol.bind(device, {**given, "data": mx.nd.array(images, ctx=device)}, aux_states=states,
                            grad_req="null")
        return bound.forward(is_train=False)[0].asnumpy().reshape(len(images), -1)
    return run


def plain_onnx(content: bytes) -> Run:
    """onnxruntime on a CPU, fed raw pixels."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def difference(expected: np.ndarray, found: np.ndarray) -> Difference:
    """Between (n, D) embeddings. RunError where those that are expected are not finite."""
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    if not np.isfinite(expected).all():
        raise RunError("the model's own embeddings hold NaN or infinity: it has diverged; use an earlier epoch")
    if found.shape != expected.shape or not np.isfinite(found).all():
        return Difference(np.inf, np.inf, np.inf, -1.0, len(expected))
    lengths = np.maximum(np.linalg.norm(expected, axis=1), 1e-30)
    apart = np.linalg.norm(found - expected, axis=1)
    unit, other = expected / lengths[:, None], found / np.maximum(np.linalg.norm(found, axis=1), 1e-30)[:, None]
    return Difference(float((apart / lengths).max()), float(np.abs(found - expected).max()),
                      float(np.abs(unit - other).max()), float(min((unit * other).sum(axis=1).min(), 1.0)),
                      len(expected), unit_length=bool((abs(lengths - 1) < ROUNDED).all()))


def compare(expected: Run, found: Run, image_size: tuple[int, int]) -> Difference:
    """On synthetic images in batches of each of BATCHES."""
    parts, alone = [], True
    for count in BATCHES:
        images = draw_images(count, image_size, seed=count)
        theirs = expected(images)
        parts.append((theirs, found(images)))
        if count > 1:
            alone = alone and difference(expected(images[1:2]), theirs[1:2]).relative < DEPENDS
    made = difference(np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts]))
    return replace(made, alone=alone)


def draw_images(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(n, 3, H, W) float32 of whole numbers from 0 to 255: noise and coarse patterns, and a black and a white one."""
    random = np.random.RandomState(seed)
    images = random.randint(0, 256, (count, 3, *size)).astype(np.float32)
    coarse = random.randint(0, 256, (count, 3, -(-size[0] // 8), -(-size[1] // 8))).astype(np.float32)
    coarse = coarse.repeat(8, axis=2).repeat(8, axis=3)[:, :, :size[0], :size[1]]
    images[1::2] = coarse[1::2]
    images[6:7], images[7:8] = 0, 255
    return images


@dataclass(frozen=True)
class SetScores:
    """A verification set scored by several forms of a model, by name, in the order given.

    differences: of each form's unit embeddings to the first's, except the first.
    """

    name: str
    results: dict[str, VerificationResult]
    differences: dict[str, Difference]

    def table(self, fpr: Sequence[float]) -> str:
        """A row for each; a TPR based on few false accepts has a ~ and their number."""
        rows = [[self.name, "pairs", "accuracy %", *(f"TPR@FPR={100 * rate:g}%" for rate in fpr), "EER %", "AUC %",
                 "seconds"]]
        for name, result in self.results.items():
            rows.append([name, str(result.pairs), f"{100 * result.accuracy:.2f}",
                         *(marked(point.tpr, point.false_accepts) for point in statistics(result, fpr, 0, 0).points),
                         f"{100 * result.eer:.2f}", f"{100 * result.auc:.3f}", f"{result.seconds:.1f}"])
        return aligned(rows)

    def as_row(self, fpr: Sequence[float]) -> dict[str, object]:
        """For JSON."""
        return {"differences": {name: {"images": apart.images, "largest_difference": apart.absolute,
                                       "smallest_cosine": apart.cosine} for name, apart in self.differences.items()},
                **{name: {**numbers(result), **statistics(result, fpr, 0, 0).as_row()}
                   for name, result in self.results.items()}}


def score_set(target: VerificationSet, embedders: Mapping[str, AnyEmbedder], fpr: Sequence[float]) -> SetScores:
    """Every embedder's row for a set."""
    results = {name: verify_set(embedder, target, fpr, show_progress=True)
               for name, embedder in embedders.items()}
    first, *others = results
    return SetScores(target.name, results, {
        name: difference(results[first].embeddings, results[name].embeddings) for name in others})

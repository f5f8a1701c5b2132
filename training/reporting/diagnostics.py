"""Warnings about common failures in training an embedding, each given once per run."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

COLLAPSED = 0.95  # mean cosine between the embeddings of different images of a batch
CLOSE, MISSED = 0.8, 0.05  # cosine to the target class, and accuracy: similar to the target and never the most similar
# multiple of sqrt(size), the norm of `size` normalised dimensions: here the last BatchNorm's beta dominates
SHIFTED = 1.5
DRAWN = 0.5  # cosine to the target class that is high where the embedding norm is as large as that
ABOVE_STRANGERS = 0.3  # cosine that no other class reaches where identities are separated
TOO_FAST = 1.5  # multiple of the linear rule's learning rate from which on that is named as a cause
INPUT_BOUND = 0.3  # fraction of the time spent waiting for images
STUCK = 0.02  # plain cosine to the target class
STUCK_EPOCHS = 3.0
ROWS = 3  # a warning needs this many consecutive rows


@dataclass(frozen=True)
class Symptoms:
    """Statistics of the steps since the last row, and their learning rate.

    similarity: mean cosine between embeddings of different identities; accuracy: of the classifier, with the margin,
    and moved: the cosine with the margin; norm: mean norm of the embeddings, and size: their dimensions; lr: the
    schedule's, and linear_lr: that of the linear rule for the batch.
    """

    epoch: float
    cosine: float
    similarity: float
    data_wait: float
    margin_loss: bool
    accuracy: float = 1.0
    moved: float = 1.0
    norm: float = 1.0
    lr: float = 0.0
    linear_lr: float = 0.1
    size: int = 128

    @property
    def shifted(self) -> bool:
        """Whether the last BatchNorm's beta dominates the embeddings."""
        return self.norm > SHIFTED * math.sqrt(self.size)

    @property
    def beta(self) -> float:
        """The norm of the last BatchNorm's beta, common to all embeddings: it makes their norm exceed sqrt(size), that
        of normalised dimensions with a fixed gamma."""
        return math.sqrt(max(0.0, self.norm ** 2 - self.size))


class Diagnostics:
    """Counts symptoms over rows; `look` returns the warnings that are due, except those in `given`.

    given, rows: the warnings given, and for how many rows each symptom has lasted; both are updated.
    """

    def __init__(self, given: list[str], rows: dict[str, int]) -> None:
        self.given, self.rows = given, rows

    def look(self, symptoms: Symptoms) -> list[str]:
        """New warnings, one sentence each, after ROWS rows in a row with the same symptom."""
        due = []
        for name, (present, text) in _signs(symptoms).items():
            self.rows[name] = self.rows.get(name, 0) + 1 if present else 0
            if self.rows[name] >= ROWS and name not in self.given:
                self.given.append(name)
                due.append(text)
        return due


def _signs(seen: Symptoms) -> dict[str, tuple[bool, str]]:
    return {
        "collapsed": (_is_collapsed(seen), _collapse(seen)),
        "input-bound": (seen.data_wait > INPUT_BOUND,
                        f"training waits for images {seen.data_wait:.0%} of the time; more `workers`, a faster disk, "
                        "or images packed at the network's size would speed it up"),
        "stuck": (seen.margin_loss and seen.epoch > STUCK_EPOCHS and seen.cosine < STUCK,
                  f"after {seen.epoch:.1f} epochs the cosine to the target class is still {seen.cosine:.3f}; try a "
                  "smaller `margin_m` or `lr`, a `warmup`, or softmax first (`loss_type` 0, then `pretrained`)"),
    }


def _is_collapsed(seen: Symptoms) -> bool:
    """Whether the embeddings have collapsed: all similar to each other, or all classes to all embeddings.

    Where the cosine to the target class is high and the classifier is still never right, the other classes are as
    similar: weights and embeddings have a common direction. A large beta is the earlier sign of it, at a lower cosine.
    At the start of a training the cosine is low as well, and a large margin moves it (`moved`) below those of other
    classes, so that a low accuracy is no evidence.
    """
    close = DRAWN if seen.shifted else CLOSE
    return seen.similarity > COLLAPSED or (seen.cosine > close and seen.moved > ABOVE_STRANGERS
                                           and seen.accuracy < MISSED)


def _collapse(seen: Symptoms) -> str:
    """The signs together, the likely cause, and the flags that help."""
    times = seen.lr / seen.linear_lr if seen.linear_lr else 0.0
    lower = f"`lr` {seen.linear_lr:.3g}" if times > TOO_FAST else "a lower `lr`"
    cause = (f"; the learning rate {seen.lr:g} is {times:.2g} times what the linear rule gives for this batch, "
             f"{seen.linear_lr:.3g}" if times > TOO_FAST else "")
    softmax = ("softmax first (`loss_type` 0 and `fc7_lr_mult` 1, then `pretrained` with a smaller `margin_s` and "
               "`margin_m`), or with " if seen.margin_loss else "")
    beta = f", of which the last BatchNorm's beta, the same for all faces, is {seen.beta:.3g}" if seen.shifted else ""
    return (f"the training has collapsed: all embeddings point in one direction (cosine to the target class "
            f"{seen.cosine:.2f} at an accuracy of {seen.accuracy:.4f}; between different identities "
            f"{seen.similarity:.2f}; embedding norm "
            f"{seen.norm:.3g}{beta}){cause}. It seldom recovers: start over {softmax or 'with '}{lower}, a `warmup`, "
            "`clip_gradient`")


def mean_similarity(embedding: np.ndarray, labels: np.ndarray) -> float:
    """The mean cosine between embeddings (n, d) of different identities; 0 where there are no two."""
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    different = labels[:, None] != labels[None, :]
    return float((unit @ unit.T)[different].mean()) if different.any() else 0.0

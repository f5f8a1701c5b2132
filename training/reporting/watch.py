"""Warnings for what commonly goes wrong in training an embedding, each given once a run."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLLAPSED = 0.95  # mean cosine between the embeddings of different images of a batch
INPUT_BOUND = 0.3  # share of the time spent waiting for images
STUCK = 0.02  # plain cosine to the own class
STUCK_EPOCHS = 3.0
ROWS = 3  # a warning needs this many rows in a row


@dataclass(frozen=True)
class Symptoms:
    """What a window of steps showed: similarity is the mean cosine between embeddings of different identities."""

    epoch: float
    cosine: float
    similarity: float
    data_wait: float
    margin_loss: bool


class Watch:
    """Counts symptoms over rows; `look` returns the warnings that are due, and none of those in `given`.

    given, rows: what was warned of, and for how many rows each symptom has lasted; both are kept up to date.
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
        "collapsed": (seen.similarity > COLLAPSED,
                      f"embeddings have collapsed: those of different people have a mean cosine of "
                      f"{seen.similarity:.3f}; a lower --lr, a --warmup, or softmax first (--loss-type 0, then "
                      "--pretrained) usually mends it"),
        "input-bound": (seen.data_wait > INPUT_BOUND,
                        f"training waits for images {seen.data_wait:.0%} of the time; more --workers, a faster disk, "
                        "or images packed at the network's size would speed it up"),
        "stuck": (seen.margin_loss and seen.epoch > STUCK_EPOCHS and seen.cosine < STUCK,
                  f"after {seen.epoch:.1f} epochs the cosine to the own class is still {seen.cosine:.3f}; try a "
                  "smaller --margin-m or --lr, a --warmup, or --pretrained"),
    }


def mean_similarity(embedding: np.ndarray, labels: np.ndarray) -> float:
    """The mean cosine between embeddings (n, d) of different identities; 0 where there are no two."""
    unit = embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    different = labels[:, None] != labels[None, :]
    return float((unit @ unit.T)[different].mean()) if different.any() else 0.0

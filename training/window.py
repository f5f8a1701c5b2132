"""Sums over the steps between two rows of the log."""
from __future__ import annotations

import time

import numpy as np

from training.step import StepResult
from training.watch import mean_similarity


class Window:
    """The steps since the last row: sums, and the time they took."""

    def start(self) -> None:
        """Forget what was added, and begin to count time."""
        self.steps, self.images, self.loss, self.cosine, self.hits, self.waited = 0, 0, 0.0, 0.0, 0.0, 0.0
        self.began, self.last = time.perf_counter(), None

    def add(self, loss: np.ndarray, cosine: np.ndarray, hit: np.ndarray, waited: float, result: StepResult) -> None:
        """Count a step: per-image losses, cosines and hits, and the seconds spent waiting for its images."""
        self.steps += 1
        self.images += len(loss)
        self.loss += float(loss.sum())
        self.cosine += float(cosine.sum())
        self.hits += float(hit.sum())
        self.waited += waited
        self.last = result

    def summary(self) -> dict[str, float]:
        """Means over the window; norm and similarity are of the last step's embeddings."""
        seconds = max(time.perf_counter() - self.began, 1e-9)
        embedding = self.last.embedding()
        return {"loss": self.loss / self.images, "cosine": self.cosine / self.images,
                "accuracy": self.hits / self.images, "samples_per_s": self.images / seconds,
                "data_wait": min(1.0, self.waited / seconds), "seconds_per_step": seconds / self.steps,
                "norm": float(np.linalg.norm(embedding, axis=1).mean()),
                "similarity": mean_similarity(embedding, self.last.labels[:len(embedding)])}

"""Accumulates statistics over the steps between two rows of the log."""
from __future__ import annotations

import math
import time
from typing import Mapping

import numpy as np

from training.cluster.communicator import Communicator
from training.reporting.diagnostics import mean_similarity
from training.step import StepResult

OVER_WORKERS = ("images", "loss", "cosine", "hits")
# `hits`, how often the classifier was correct, keeps its name in existing states.
SUMS = ("steps", "images", "loss", "cosine", "hits", "waited", "seconds")
SHAPE = ("norm", "similarity")


class Meter:
    """The steps since the last row: sums, and the time they took.

    A resumed run continues with the sums of the state, so that its rows are those of an uninterrupted run.
    """

    def start(self, sums: Mapping[str, float] | None = None) -> None:
        """Reset, with `sums` where there are any, and start the clock."""
        self.sums = {name: (sums or {}).get(name, 0) for name in SUMS}
        self._shape = {name: (sums or {}).get(name, math.nan) for name in SHAPE}
        self._began = time.perf_counter()
        self._last: StepResult | None = None

    def add(self, loss: np.ndarray, cosine: np.ndarray, correct: np.ndarray, waited: float, result: StepResult) -> None:
        """Count a step: losses, cosines and correctness of each image, and the seconds spent waiting for its images."""
        for name, value in (("steps", 1), ("images", len(loss)), ("loss", float(loss.sum())),
                            ("cosine", float(cosine.sum())), ("hits", float(correct.sum())), ("waited", waited)):
            self.sums[name] += value
        self._last = result

    def add_skipped(self, waited: float) -> None:
        """Count a step that was not applied: only its time."""
        self.sums["steps"] += 1
        self.sums["waited"] += waited

    def reduce(self, communicator: Communicator) -> None:
        """Reduce the sums of all workers to worker 0, which makes the rows and the state."""
        totals = communicator.sum("window", np.array([float(self.sums[name]) for name in OVER_WORKERS]))
        if communicator.size > 1:
            mine = float(communicator.rank == 0)
            self.sums.update({name: float(total) * mine for name, total in zip(OVER_WORKERS, totals)})

    def state(self) -> dict[str, float]:
        """The argument of `start` to continue in another process."""
        return {**self.sums, "seconds": self._seconds(), **self._embedding_shape()}

    def summary(self) -> dict[str, float]:
        """Means over the window; norm and similarity are of the last step's embeddings. NaN where no step counted."""
        sums, seconds = self.sums, max(self._seconds(), 1e-9)
        means = {name: sums[key] / sums["images"] if sums["images"] else math.nan
                 for name, key in (("loss", "loss"), ("cosine", "cosine"), ("accuracy", "hits"))}
        return {**means, "samples_per_s": sums["images"] / seconds, "data_wait": min(1.0, sums["waited"] / seconds),
                "seconds_per_step": seconds / sums["steps"], **self._embedding_shape()}

    def _embedding_shape(self) -> dict[str, float]:
        if self._last is None:
            return self._shape
        embedding = self._last.embedding()
        return {"norm": float(np.linalg.norm(embedding, axis=1).mean()),
                "similarity": mean_similarity(embedding, self._last.labels[:len(embedding)])}

    def _seconds(self) -> float:
        return self.sums["seconds"] + time.perf_counter() - self._began


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"

"""Handles losses and gradients that are not finite: the run stops with a report, or the step is skipped."""
from __future__ import annotations

import logging
import math
from typing import Mapping

import mxnet as mx
import numpy as np

from common.foreign import listed
from training.errors import NotFinite
from training.saving.state import Progress
from training.step import StepResult

log = logging.getLogger(__name__)
MOST_IN_ROW = 10  # skipped steps in a row after which skipping does not help
MOST_NAMED = 64  # records in a message


class NonFiniteGuard:
    """Judges steps; progress counts those skipped. skip: go on where a step was not finite, and so moved nothing."""

    def __init__(self, progress: Progress, skip: bool) -> None:
        self.progress, self.skip = progress, skip

    def good(self, step: int, result: StepResult, loss: np.ndarray, cosine: np.ndarray, lr: float) -> bool:
        """Whether step number `step` counts; waits for its backward pass.

        NotFinite, naming step, learning rate and records, where the run must stop.
        """
        if math.isfinite(float(loss.sum())) and result.finite.asscalar():
            self.progress.skipped_in_row = 0
            return True
        fault = describe_fault(step, result, loss, cosine, lr)
        if not self.skip:
            raise NotFinite(f"{fault}; `on_nan` skip leaves such steps out")
        self.progress.skipped += 1
        self.progress.skipped_in_row += 1
        if self.progress.skipped_in_row >= MOST_IN_ROW:
            raise NotFinite(f"{fault}; that makes {MOST_IN_ROW} steps in a row, so skipping does not help")
        log.warning("%s; the step is skipped, %d so far", fault, self.progress.skipped)
        return False


def describe_fault(step: int, result: StepResult, loss: np.ndarray, cosine: np.ndarray, lr: float) -> str:
    """The step, the learning rate, the largest cosine, and the records of the batch, those with a faulty loss first."""
    faulty = ~np.isfinite(loss)
    what = f"loss is {loss[faulty][0]}" if faulty.any() else "gradient is not finite"
    largest = np.nanmax(np.abs(cosine)) if np.isfinite(cosine).any() else math.nan
    keys = result.keys[np.argsort(~faulty, kind="stable")]
    return (f"the {what} at step {step}, learning rate {lr:g}, largest cosine {largest:.4f}, records "
            f"{listed(keys.tolist(), MOST_NAMED)}")


def check_finite(arrays: Mapping[str, mx.nd.NDArray], step: int) -> None:
    """NotFinite, naming the first faulty parameter, where something that is not finite would be saved."""
    for name, value in arrays.items():
        array = value.asnumpy()
        if not np.isfinite(array.sum()) and not np.isfinite(array).all():
            raise NotFinite(f"{name} is not finite after step {step}, so nothing is saved")

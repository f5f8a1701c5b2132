"""Queued steps whose results are not read yet.

Python queues the devices' work and continues; where it reads a value it synchronises, and the device then waits for
Python to queue the next step. So a step is read when the one after it has been queued: devices always have work, and
Python is never further ahead.
"""
from __future__ import annotations

import collections
from dataclasses import dataclass

from training.non_finite_guard import NonFiniteGuard
from training.reporting.meter import Meter
from training.step import StepResult

AHEAD = 1  # steps that are queued when one is read


@dataclass(frozen=True)
class _Step:
    number: int
    result: StepResult
    lr: float
    waited: float


class PendingSteps:
    """Checks the steps with `guard`, and counts them in `meter`, in order."""

    def __init__(self, guard: NonFiniteGuard, meter: Meter) -> None:
        self.guard, self.meter = guard, meter
        self._steps: collections.deque[_Step] = collections.deque()

    def add(self, number: int, result: StepResult, lr: float, waited: float) -> None:
        """A step that was queued, counted from 1; waited: for its images, in seconds. Reads those before it.

        RunError where one of them was not finite and the run must stop.
        """
        self._steps.append(_Step(number, result, lr, waited))
        while len(self._steps) > AHEAD:
            self._read()

    def settle(self) -> None:
        """Read all, which synchronises with the devices: before logging, verification and saving. RunError as by
        `add`."""
        while self._steps:
            self._read()

    def _read(self) -> None:
        step = self._steps.popleft()
        loss, cosine, correct = step.result.read()
        if self.guard.good(step.number, step.result, loss, cosine, step.lr):
            self.meter.add(loss, cosine, correct, step.waited, step.result)
        else:
            self.meter.add_skipped(step.waited)

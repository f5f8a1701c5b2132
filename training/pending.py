"""Steps that were begun, and whose numbers are not read yet.

Python queues what devices are to do and goes on; where it reads a number it waits, and the device then waits for Python
to queue the next step. So a step is read when the one after it has been queued: devices always have one to work on, and
Python is never more than that ahead.
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
    """Judges the steps by `guard`, and counts them in `meter`, in their order."""

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
        """Read all, which waits for the devices: before anything is told, verified or saved. RunError as by `add`."""
        while self._steps:
            self._read()

    def _read(self) -> None:
        step = self._steps.popleft()
        loss, cosine, correct = step.result.read()
        if self.guard.good(step.number, step.result, loss, cosine, step.lr):
            self.meter.add(loss, cosine, correct, step.waited, step.result)
        else:
            self.meter.add_skipped(step.waited)

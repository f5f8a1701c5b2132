"""The error of a training that goes wrong by itself, which the loop completes with what is left of the run."""
from __future__ import annotations

from common.errors import RunError


class NotFinite(RunError):
    """A loss, gradient or parameter that is not finite. remedy: what a run is to be continued, or started, with."""

    def __init__(self, message: str, remedy: str = "a lower `lr`, or with `clip_gradient`,") -> None:
        super().__init__(message)
        self.remedy = remedy

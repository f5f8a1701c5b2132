"""The definition of a flag of train_softmax.py: help, group, range, and whether it may change on resume or by worker.

    lr: float = option(0.1, "learning rate", group="optimizer", above=0)
    max_steps: int = option(0, "end after this many steps", group="length", least=0, on_resume=HARMLESS, workers=SAME)
"""
from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

# What another value means for a run that continues with --resume:
TRUNK = "trunk"  # refused: neither the state nor a checkpoint has arrays of this shape
REFUSED = "refused"  # refused: the state has no arrays of this shape, or a position in other data
CHANGES = "changes"  # logged: from there on the run differs
HARMLESS = "harmless"  # logged: no bit of the weights depends on it
ELSEWHERE = "elsewhere"  # not compared: paths, or how the run is started
# What another value means for one worker of several:
SAME, ANY = "same", "any"  # refused; allowed, which is the default where no bit of the weights depends on it

# Beyond these, squares and products overflow float32, and MXNet's operators reject the parameter.
LEAST, MOST = 1e-15, 1e15


@dataclass(frozen=True)
class Limits:
    """The range of a number; None: no limit."""

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None

    def fault(self, value: float) -> str | None:
        """The error message for `value`, after the name of its flag; None where it is in range."""
        low = f"above {self.above}" if self.above is not None else f"{self.least} or more"
        if isinstance(value, float) and math.isnan(value) or (self.above is not None and value <= self.above) or (
                self.least is not None and value < self.least):
            return f"must be {low}" if self.most is None else f"must be {self._range()}"
        if self.below is not None and value >= self.below:
            return f"must be below {self.below}"
        if self.most is not None and value > self.most:
            return f"must be {self._range()}"
        if isinstance(value, int) and value > MOST:  # without float(), which takes none of 400 digits
            return f"must be at most {MOST:g}"
        if abs(value) > MOST or 0 < abs(value) < LEAST:
            return f"must be {'0, or ' if self.least == 0 else ''}from {LEAST:g} to {MOST:g}, for MXNet to compute with"
        return None

    def _range(self) -> str:
        if self.above is not None:
            return f"above {self.above} and at most {self.most}"
        return f"from {self.least} to {self.most}"


@dataclass(frozen=True)
class Flag:
    """text: the help; group: of the help; parse: settings of argparse; limits, on_resume, workers: as above; also:
    another name of the flag, if any."""

    text: str
    group: str | None
    parse: dict[str, Any]
    limits: Limits | None
    on_resume: str
    workers: str
    also: str = ""


def option(default: Any, text: str, group: str | None = None, above: float | None = None, least: float | None = None,
           below: float | None = None, most: float | None = None, on_resume: str = CHANGES, workers: str = "",
           also: str = "", **parse: Any) -> Any:
    """A dataclass field with its Flag; also: another name of it; parse: settings of argparse, such as choices and
    metavar."""
    limited = any(limit is not None for limit in (above, least, below, most))
    workers = workers or (ANY if on_resume in (HARMLESS, ELSEWHERE) else SAME)
    flag = Flag(text, group, parse, Limits(above, least, below, most) if limited else None, on_resume, workers, also)
    return dataclasses.field(default=default, metadata={"flag": flag})


def flags(configuration: Any) -> dict[str, Flag]:
    """The flags of a configuration (a dataclass or one of its objects), by the name of the field."""
    return {item.name: item.metadata["flag"] for item in dataclasses.fields(configuration) if "flag" in item.metadata}


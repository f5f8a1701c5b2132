"""A run's progress (all of its state but arrays), and its validation when read from an untrusted file."""
from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from training.saving.names import MOST_STEPS, is_append_only

MOST = 2 ** 53  # whole numbers up to here are exact in JSON everywhere
MOST_TEXT = 8192
MOST_SUM = 1e15  # of a window, so that what is computed from it stays finite
COUNTED = ("steps", "images", "hits", "waited", "seconds")  # of a window: what a step only adds to


@dataclass
class Progress:
    """A run's state except for arrays.

    step: updates made or skipped; position: images consumed from the endless order; bad: keys of the records that do
    not decode; skipped: steps whose update was not finite, skipped_in_row: those since the last good one. saves:
    checkpoints written (NNNN of the newest); saved_step: that of the newest, -1 where older versions did not say;
    replaced: of older runs, no longer used; best: the best value so far of best_of, a metric of a target; best_on: the
    digest of that target's pairs, "" where older versions did not say; best_number: the checkpoint it is in;
    verified_step: the newest verification's. lengths: of the files with rows, by name; window:
    the sums since the last row; warned: warnings already given; symptoms: for how many rows each has lasted.
    """

    step: int = 0
    position: int = 0
    bad: list[int] = field(default_factory=list)
    skipped: int = 0
    skipped_in_row: int = 0
    saves: int = 0
    saved_step: int = -1
    replaced: int = 0
    best: float | None = None
    best_of: str = ""
    best_on: str = ""
    best_number: int = 0
    verified_step: int = -1
    lengths: dict[str, int] = field(default_factory=dict)
    window: dict[str, float] = field(default_factory=dict)
    warned: list[str] = field(default_factory=list)
    symptoms: dict[str, int] = field(default_factory=dict)


def read_progress(content: Any) -> Progress:
    """The progress that `asdict` made `content` of; ValueError, naming the entry, for anything else."""
    if not isinstance(content, dict):
        raise ValueError("progress is not an object")
    known = {item.name for item in fields(Progress)}
    for name, value in content.items():
        if name not in known:
            raise ValueError("progress has an unknown entry")
        if not _fits(name, value):
            raise ValueError(f"progress holds no usable {name}")
    found = Progress(**content)
    for lower, upper in (("skipped", "step"), ("skipped_in_row", "skipped"), ("verified_step", "step"),
                         ("saved_step", "step"), ("best_number", "saves"), ("saves", "step")):
        if getattr(found, lower) > getattr(found, upper):
            raise ValueError(f"progress has more {lower} than {upper}")
    if found.replaced not in (0, found.saves - 1):
        raise ValueError("progress names another checkpoint as replaced than the one before the newest")
    return found


def is_whole(value: Any, least: int = 0, most: int = MOST) -> bool:
    """Whether `value` is a whole number in this range, and not True or False."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _fits(name: str, value: Any) -> bool:
    if name in ("step", "verified_step", "saved_step"):
        return is_whole(value, 0 if name == "step" else -1, MOST_STEPS)
    if name == "best":
        return value is None or _is_number(value) and math.isfinite(value)
    if name in ("best_of", "best_on"):
        return _is_text(value)
    if name == "bad":
        return isinstance(value, list) and all(is_whole(key) for key in value)
    if name == "warned":
        return isinstance(value, list) and len(value) <= 1000 and all(map(_is_text, value))
    if name in ("lengths", "window", "symptoms"):
        return isinstance(value, dict) and all(
            _is_text(key) and (_is_sum(key, item) if name == "window" else is_whole(item))
            for key, item in value.items()) and (
            name != "lengths" or all(map(is_append_only, value)))
    return is_whole(value)


def _is_sum(name: str, value: Any) -> bool:
    """Whether `value` can be an entry of a window: a loss or a norm may have overflowed, a count or a time cannot."""
    return _is_number(value) and (name not in COUNTED or 0 <= value <= MOST_SUM)  # which NaN is not


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or is_whole(value, -MOST)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT

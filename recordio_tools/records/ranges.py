"""The ranges of record numbers that InsightFace's header records hold, as float32."""
from __future__ import annotations

import numpy as np

EXACT = 1 << 24  # up to here float32 is exact
MOST_LABELS = EXACT  # labels are float32 too


def is_range(keys: np.ndarray, first: float, last: float) -> bool:
    """Whether the keys, int64, sorted, are first, first + 1, ..., last - 1; without allocating what a file only
    claims."""
    return last - first == len(keys) and np.array_equal(keys, np.arange(len(keys)) + first)

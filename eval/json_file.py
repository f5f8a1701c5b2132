"""Writes the JSON of --json, which strict readers take: what is not a number is null."""
from __future__ import annotations

import json
import math
from typing import Any

from common.files import PathLike, write_atomic


def write_json(path: PathLike, rows: Any) -> None:
    """`rows` indented; a float that is not finite, and an interval of such, is written as null."""
    write_atomic(path, json.dumps(finite(rows), indent=1, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """`value` with null for each float that is not finite, and for a list of nothing else."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        made = [finite(one) for one in value]
        return None if made and all(map(_unknown, value)) else made
    return None if _unknown(value) else value


def _unknown(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)

"""Stores runs of the table as JSON, and detects whether a later one is slower than an earlier one.

A row is compared by its figure, mostly a ratio of two interleaved sides of one run, so that another load of the machine
affects both. Within a run the turns differ by a spread s, their standard deviation estimated by the median absolute
deviation, in the logarithm. Two runs differ significantly where they differ by more than 2 sqrt(s1^2 + s2^2), and by
more than `LEAST`, since the layout of libraries and memory differs by process.
"""
from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict
from typing import Any, Iterator, Mapping, Sequence

from benchmarks.table import Row
from common.errors import UserError
from common.files import read_regular
from common.foreign import is_finite, shown

MOST_BYTES = 16 << 20  # of the file of a run
LEAST = 0.05  # relative difference between runs of the same code
Run = Mapping[str, Any]


def as_json(machine: str, load: float, repeats: int, rows: Mapping[str, Sequence[Row]], whole: bool) -> dict[str, Any]:
    """The results of a run; rows: by their names on the command line. whole: it was completed."""
    return {"machine": machine, "load": load, "repeats": repeats, "whole": whole, "rows": [
        {**asdict(row), "turns": list(row.turns), "reached": row.reached, "row": name}
        for name, found in rows.items() for row in found]}


def read(path: str, wanted: Sequence[str]) -> Run:
    """An earlier run; UserError where the file is not one, or has none of the rows `wanted`."""
    try:
        run = json.loads(read_regular(path, MOST_BYTES).decode("utf-8"))
        _check(run)
    except OSError as error:
        raise UserError(f"--against {path}: {error.strerror}; `python -m benchmarks --json {path}` writes one"
                        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"--against {path}: is not a run that `python -m benchmarks --json FILE` wrote") from None
    names = sorted({row["row"] for row in run["rows"]})
    if not set(names) & set(wanted):
        raise UserError(f"--against {path}: has none of the rows to measure; it has {', '.join(names) or 'none'}")
    return {**run, "machine": shown(run["machine"])}


def _check(run: Any) -> None:
    """ValueError, KeyError or TypeError where it is not a run as `as_json` gives it."""
    texts, numbers = [run["machine"]], [run["load"]]
    for row in run["rows"]:
        texts += [row["row"], row["what"]]
        if not row["turns"] or not isinstance(row["least"], bool) or min(row["turns"]) <= 0:
            raise ValueError("a row without figures")
        numbers += row["turns"]
    if not all(isinstance(text, str) for text in texts) or not all(map(is_finite, numbers)):
        raise ValueError("no texts and numbers")


def compare(earlier: Run, rows: Sequence[Row]) -> Iterator[tuple[str, bool]]:
    """A Markdown line for each row that both have, and whether it is slower (or takes more, or a larger share)."""
    before = {row["what"]: row for row in earlier["rows"]}
    for row in rows:
        if row.what not in before:
            yield f"| {row.what} | | {row.reached:.3g} | | | not measured before |", False
            continue
        turns = before[row.what]["turns"]
        was, now = statistics.median(turns), row.reached
        change = math.log(now / was)  # above 0: better
        change = -change if row.least else change
        bound = tolerance(turns, row.turns)
        told = "the same"
        if abs(change) > bound and abs(now - was) > row.negligible:
            told = "slower" if change < 0 else "faster"
            if row.least:
                told = "worse" if change < 0 else "better"
        yield (f"| {row.what} | {was:.3g} | {now:.3g} | {math.expm1(change):+.1%} | {math.expm1(bound):.1%} | {told} |",
               told in ("slower", "worse"))


HEAD = ("| what | before | now | better by | within | result |", "|---|---|---|---|---|---|")


def tolerance(before: Sequence[float], now: Sequence[float]) -> float:
    """How far the logarithms of two runs' figures may differ by chance."""
    return max(math.log1p(LEAST), 2 * math.hypot(_spread(before), _spread(now)))


def _spread(turns: Sequence[float]) -> float:
    """The standard deviation of the turns' logarithms, estimated from their median absolute deviation; 0 for one
    turn."""
    logs = [math.log(turn) for turn in turns]
    middle = statistics.median(logs)
    return 1.4826 * statistics.median(abs(value - middle) for value in logs)

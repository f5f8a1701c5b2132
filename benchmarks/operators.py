"""Profile of a training step by MXNet's own profiler: milliseconds by operator, plain and fast."""
from __future__ import annotations

import json
import os
from typing import Iterator

from mxnet import profiler

from benchmarks.table import NETWORKS
from benchmarks.training import FAST, PLAIN, make_step

STEPS, SHOWN = 3, 9
BULK = "MXNET_EXEC_BULK_EXEC_TRAIN"
NOT_OPERATORS = ("MX", "Delete", "WaitForVar")


def profile(network: str, side: str) -> dict[str, tuple[float, float]]:
    """Milliseconds and calls a step by operator, the longest first."""
    step = make_step(network, side)
    for _ in range(2):
        step()
    profiler.set_config(profile_symbolic=True, profile_imperative=True, aggregate_stats=True,
                        filename=os.devnull)
    profiler.set_state("run")
    for _ in range(STEPS):
        step()
    profiler.set_state("stop")
    found: dict[str, tuple[float, float]] = {}
    for group in json.loads(profiler.dumps(reset=True, format="json"))["Time"].values():
        for name, row in group.items():
            if isinstance(row, dict) and "Total" in row and not name.startswith(NOT_OPERATORS):
                before = found.get(name, (0.0, 0.0))
                found[name] = (before[0] + float(row["Total"]) / STEPS, before[1] + float(row["Count"]) / STEPS)
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def lines() -> Iterator[str]:
    """A Markdown table for each network."""
    os.environ[BULK] = "0"  # bulked operators are counted as one
    try:
        for network in NETWORKS:
            found = {side: profile(network, side) for side in (PLAIN, FAST)}
            total = {side: sum(spent for spent, _ in rows.values()) for side, rows in found.items()}
            yield from ["", f"{network}, ms a step of 32 images (calls)", "", "| operator | plain | fast |",
                        "|---|---|---|",
                        *(f"| `{name}` | {_cell(found[PLAIN], name)} | {_cell(found[FAST], name)} |"
                      for name in sorted({*list(found[PLAIN])[:SHOWN], *list(found[FAST])[:SHOWN]},
                                         key=lambda name: -found[FAST].get(name, (0, 0))[0])),
                    f"| all | {total[PLAIN]:.0f} | {total[FAST]:.0f} |"]
    finally:  # other benchmarks may follow
        del os.environ[BULK]


def _cell(rows: dict[str, tuple[float, float]], name: str) -> str:
    spent, calls = rows.get(name, (0.0, 0.0))
    return f"{spent:.1f} ({calls:.0f})" if calls else ""

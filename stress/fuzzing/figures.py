"""What `benchmarks --against` and `study table` read, mutated: an earlier run's rows, and scores of a study's runs."""
from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from benchmarks import earlier
from benchmarks.table import Row
from stress.fuzzing.mutations import mutate_text
from stress.fuzzing.results import as_text, replace_some
from study import __main__ as study
from study.plan import PLANS

RUN, MEASURED = "before.json", Row("reading", (4.0, 4.1, 3.9), 4.0, None, "as measured")


def against(chance: random.Random) -> dict[str, bytes]:
    """The rows of an earlier run."""
    rows = {"reading": [MEASURED, Row("waiting", (0.01, 0.012), None, 0.03, "", least=True)]}
    return {RUN: _damaged(earlier.as_json("two cores", 0.5, 3, rows, True), chance)}


def scores(chance: random.Random) -> dict[str, bytes]:
    """The score files of two runs, one of them damaged."""
    plan = PLANS["real"]
    made = [_scores(plan.name, system, [f"{rate:g}" for rate in plan.fpr])
            for system in ("gdc-fasterfc", "gnap-fasterfc")]
    return {f"{plan.name}-{number}.json": _damaged(content, chance) if number else as_text(content)
            for number, content in enumerate(made)}


def _damaged(content: dict[str, Any], chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 3)):
        replace_some(content, chance)
    text = as_text(content)
    return mutate_text(text, chance) if chance.random() < 0.3 else text


def _scores(plan: str, system: str, rates: list[str]) -> dict[str, Any]:
    across = {"tpr": dict.fromkeys(rates, 0.2), "eer": 0.25, "draws": dict.fromkeys(rates, [0.1, 0.2, 0.3])}
    place = {"layer": "bn6f", "effective_positions": 43.1, "centre_correlation": -0.4,
             "norm_map": [[0.8, 1.2], [0.9, 1.1]]}
    protocol = {"pairs": 3500, "tpr": dict.fromkeys(rates, 0.1), "accuracy": 0.75}
    scored = {"frontal-profile": across, "frontal-frontal": dict(across), "protocol": protocol,
              "by_yaw": [{"group": "yaw 0-15", "images": 2, "tpr": 0.1, "fpr": 0.01}],
              "misaligned": [{"shift": shift, "rotate": 0.0, "tpr": 0.1, "at_aligned_threshold": {"fpr": 0.02}}
                             for shift in (0.0, 4.0)],
              "positions": {"frontal": place, "profile": dict(place)}}
    return {"run": f"{plan}-{system}-1", "system": system, "seed": 1, "plan": plan,
            "training": {"loss": 3.2, "accuracy": 0.4}, "scores": scored}


def read_against(folder: Path) -> None:
    """Compare with it, as the command does once it has measured."""
    list(earlier.compare(earlier.read(str(folder / RUN), ["reading", "wait"]), [MEASURED]))


def read_scores(folder: Path) -> int | None:
    """`study table`."""
    return study.main(["table", "real", "--results", str(folder), "--reference", "gdc-fasterfc"])

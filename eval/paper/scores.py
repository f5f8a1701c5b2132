"""Scores of trained models on pairs, read from run folders or from what `verify --json` wrote."""
from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Mapping

from common.files import read_regular
from common.foreign import is_finite
from common.run_files import CONFIG, METRICS
from eval.operating_points import FEW
from eval.paper.figures import system_named, system_of

LARGEST = 1 << 28  # bytes of a file of scores
MOST_PAIRS = 2 ** 53
# Not in the rows of metrics.jsonl, since training always verifies this way.
TRAINING = {"flip": True, "pca": 0, "folds": 10}


@dataclass(frozen=True)
class Rate:
    """value, low, high: from 0 to 1; low and high None without an interval. spread: over folds. false_accepts: behind
    it, at_most where only a bound is known. value None: on none, so it is not given."""

    value: float | None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    false_accepts: int | None = None
    at_most: bool = False

    @property
    def few(self) -> bool:
        """Whether it is unreliable."""
        return self.false_accepts is not None and self.false_accepts < FEW


@dataclass(frozen=True)
class SetScores:
    """A model's row on one set: rates by `accuracy`, `eer` and `tpr`, and how they were made."""

    pairs: int
    rates: dict[str, Rate]
    conventions: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelScores:
    """system: the paper's name for it, or ""; sets: by name; step: of the training, None where it is not known;
    chosen: the set by which this step was chosen among others, "" where it is the last."""

    name: str
    system: str
    sets: dict[str, SetScores]
    source: str
    step: int | None = None
    chosen: str = ""


def read_run(text: str, fpr: float, best_on: str = "") -> list[ModelScores]:
    """Reads `text`: a run folder or its metrics.jsonl, or a JSON file of `verify`; a prefix `SYSTEM=` states which of
    the paper's systems it is.

    best_on: of a run, the step that is best on this set, instead of the last. ValueError, one line that names the file,
    where there are no scores of pairs, or none at `fpr`.
    """
    name, equals, rest = text.partition("=")
    system = system_named(name) if equals else ""
    path = Path(rest if system else text)
    if path.is_dir() or path.name == METRICS:
        return [_read_folder(path if path.is_dir() else path.parent, fpr, best_on, system)]
    found = [_of_json(model, rows, path, fpr, system) for model, rows in _models(path)]
    if not found:
        raise ValueError(f"{path}: holds no scores; is it what python -m eval verify --json writes?")
    return found


def _read_folder(folder: Path, fpr: float, best_on: str, system: str) -> ModelScores:
    path = folder / METRICS
    if not path.is_file():
        raise ValueError(f"{folder}: has no {METRICS}; expected a run's folder, or what python -m eval verify --json "
                         "writes")
    rows: dict[int, dict[str, Mapping[str, Any]]] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        row = _json(line, f"{path}: line {number}") if line.strip() else {}
        if isinstance(row, dict) and row.get("kind") == "verification":
            step, target = row.get("step"), row.get("target")
            if not isinstance(step, int) or not isinstance(target, str):
                raise ValueError(f"{path}: line {number} is a verification without step or target")
            rows.setdefault(step, {})[target] = row
    if not rows:
        raise ValueError(f"{path}: has no verification; python -m eval verify --json makes scores of its checkpoint")
    step = max(rows)
    if best_on:
        having = {number: sets[best_on]["accuracy"] for number, sets in rows.items()
                  if best_on in sets and isinstance(sets[best_on].get("accuracy"), (int, float))}
        if not having:
            raise ValueError(f"{path}: no verification on {best_on}; there are "
                             f"{', '.join(sorted({name for sets in rows.values() for name in sets}))}")
        step = max(having, key=lambda number: (having[number], -number))
    sets = {target: _scores(row, fpr, f"{path}: {target} at step {step}", TRAINING)
            for target, row in rows[step].items()}
    config = folder / CONFIG
    known = _json(_text(config), str(config)) if config.is_file() else {}
    return ModelScores(str(folder), system or system_of(known if isinstance(known, dict) else {}), sets, str(path),
                       step, best_on)


def _of_json(model: str, rows: Mapping[str, Any], path: Path, fpr: float, system: str) -> ModelScores:
    sets = {}
    pairs = {name: row for name, row in rows.items() if isinstance(row, dict) and "accuracy" in row}
    if not pairs:
        raise ValueError(f"{path}: {', '.join(rows) or 'nothing'} of {model} has no accuracy over folds; the paper's "
                         "tables are of pairs: python -m eval verify --json")
    for name, row in pairs.items():  # a report has more than sets of pairs
        sets[name] = _scores(row, fpr, f"{path}: {name} of {model}", {})
    config = Path(model.rpartition(",")[0] or model).parent / CONFIG
    known: Any = {}
    if not system and os.path.isfile(config):  # of a name that no file can have as well
        known = _json(_text(config), str(config))
    return ModelScores(model, system or system_of(known if isinstance(known, dict) else {}), sets, str(path))


def _models(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    content = _json(_text(path), str(path))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: is not what python -m eval verify --json writes")
    for model, rows in content.items():
        if isinstance(rows, dict):
            yield model, rows


def _scores(row: Mapping[str, Any], fpr: float, where: str, assumed: Mapping[str, Any]) -> SetScores:
    pairs = row.get("pairs")
    if not isinstance(pairs, int) or not 1 <= pairs <= MOST_PAIRS:
        raise ValueError(f"{where}: has no number of pairs")
    conventions = {**assumed, **{name: row[name] or 0 if name == "pca" else row[name]
                                 for name in ("flip", "pca", "folds") if name in row}}
    conventions["pairs"] = pairs
    origin = row.get("set")
    digest = origin.get("sha256") if isinstance(origin, dict) else row.get("set_sha256")
    if digest:
        conventions["set"] = str(digest)
    limits = _part(row, "interval")
    rates = {"accuracy": _rate(row.get("accuracy"), limits.get("accuracy"), _number(row.get("accuracy_std"))),
             "eer": _rate(row.get("eer"), limits.get("eer"))}
    return SetScores(pairs, {**rates, "tpr": _tpr(row, fpr, pairs, limits, where)}, conventions)


def _tpr(row: Mapping[str, Any], fpr: float, pairs: int, limits: Mapping[str, Any], where: str) -> Rate:
    by_rate = _part(row, "tpr_at_fpr")
    key = next((key for key in by_rate if _same(key, fpr)), None)
    if key is not None:
        value = by_rate[key]
    elif _same(row.get("fpr_target"), fpr):
        key, value = f"{fpr:g}", row.get("tpr")
    else:
        there = ", ".join(map(str, by_rate)) or f"{row.get('fpr_target')}"
        raise ValueError(f"{where}: has no TPR at FPR {fpr:g}, it has one at {there}; give `fpr`, or score again")
    counts = row.get("false_accepts")
    count = next((counts[one] for one in counts if _same(one, fpr)), None) if isinstance(counts, dict) else counts
    points = _part(row, "thresholds")
    point = next((points[one] for one in points if _same(one, fpr)), None)
    if isinstance(point, dict) and "tpr" in point:
        value = point["tpr"]  # null without a false accept
    known = next((limits[one] for one in limits if _same(one, fpr)), limits.get("tpr"))
    if isinstance(count, int):
        return _rate(value if count else None, known, None, count)
    most = math.floor(fpr * pairs * (1 + 1e-9))  # at most all pairs are different ones
    return _rate(value if most else None, known, None, most, True)


def _rate(value: Any, limits: Any = None, spread: float | None = None, count: int | None = None,
          at_most: bool = False) -> Rate:
    low, high = map(_number, limits) if isinstance(limits, (list, tuple)) and len(limits) == 2 else (None, None)
    return Rate(_number(value), low, high, spread, count, at_most)


def _number(value: Any) -> float | None:
    return float(value) if is_finite(value) else None


def _part(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a row has by FPR or by rate under a name."""
    found = row.get(name)
    return found if isinstance(found, dict) else {}


def _same(key: Any, fpr: float) -> bool:
    try:
        return math.isclose(float(key), fpr, rel_tol=1e-6)
    except (TypeError, ValueError, OverflowError):
        return False


def _text(path: Path) -> str:
    try:
        return read_regular(path, LARGEST).decode("utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not a text file") from None


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{where}: is not JSON") from None

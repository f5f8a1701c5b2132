"""Scores of pairs on disk: `SET.csv`, a row for each pair, and `SET.json` beside it, which says what they are of.

Columns: pair (from 0), left and right (what the images are called; in a `.bin` their places from 0), same (1 or 0),
score (squared L2 distance), cosine, fold (from 0), left_norm and right_norm (lengths of the embeddings before they were
normalised). Scores of two files may be compared where `unlike` says nothing.
"""
from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import PathLike, read_regular, write_atomic

COLUMNS = ("pair", "left", "right", "same", "score", "cosine", "fold", "left_norm", "right_norm")
LARGEST = 1 << 31
CONVENTIONS = ("flip", "pca", "folds")


@dataclass(frozen=True)
class PairScores:
    """left, right: (pairs,) text; same: (pairs,) bool; score: (pairs,) squared L2 distances; fold: (pairs,) int;
    left_norm, right_norm: (pairs,); meta: `model` and `set` with their sha256, layer, flip, pca, folds."""

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    score: np.ndarray
    fold: np.ndarray
    left_norm: np.ndarray
    right_norm: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)

    def unlike(self, other: PairScores) -> str:
        """Why the scores must not stand beside each other, or ""."""
        for name in CONVENTIONS:
            if self.meta.get(name) != other.meta.get(name):
                return f"their {name} differs: {self.meta.get(name)} and {other.meta.get(name)}"
        same_pairs = (np.array_equal(self.same, other.same) and np.array_equal(self.left, other.left)
                      and np.array_equal(self.right, other.right))
        ours, theirs = (one.meta.get("set", {}).get("sha256") for one in (self, other))
        return "" if same_pairs and ours == theirs else "they are of other pairs"


def write_scores(path: PathLike, made: PairScores) -> None:
    """Write `path` and the description beside it, each whole or not at all."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(COLUMNS)
    for pair, (left, right, same, score, fold, one, other) in enumerate(zip(
            made.left, made.right, made.same.tolist(), made.score.tolist(), made.fold.tolist(),
            made.left_norm.tolist(), made.right_norm.tolist())):
        table.writerow([pair, left, right, int(same), f"{score:.9g}", f"{1 - score / 2:.9g}", fold, f"{one:.6g}",
                        f"{other:.6g}"])
    write_atomic(path, stream.getvalue().encode("utf-8", "surrogateescape"))
    write_atomic(Path(path).with_suffix(".json"), json.dumps(made.meta, indent=1, sort_keys=True) + "\n")


def read_scores(path: PathLike) -> PairScores:
    """What a file holds; UserError, one line, where it is no such table. Without the description beside it, or without
    some columns but pair, same and score or cosine, it is read all the same."""
    path = Path(path)
    try:
        text = read_regular(path, LARGEST).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    table = csv.DictReader(io.StringIO(text))
    names = table.fieldnames or []
    if "same" not in names or not {"score", "cosine"} & set(names):
        raise UserError(f"{path}: is not a table of scores; its first line must name same and score or cosine, as "
                        f"{','.join(COLUMNS[:7])}")
    rows = []
    try:
        for row in table:
            rows.append(_parsed(row))
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: line {table.line_num} is not a row of scores ({error})") from None
    if not rows:
        raise UserError(f"{path}: holds no pairs")
    left, right, same, score, fold, one, other = zip(*rows)
    return PairScores(np.array(left), np.array(right), np.array(same), np.array(score), np.array(fold), np.array(one),
                      np.array(other), _described(path.with_suffix(".json")))


def _parsed(row: dict[str, Any]) -> tuple[str, str, bool, float, int, float, float]:
    if None in row or None in row.values():
        raise ValueError("it has another number of columns than line 1")
    if row["same"] not in ("0", "1", "True", "False"):
        raise ValueError(f"same is {row['same'][:20]!r}, not 1 or 0")
    score = float(row["score"]) if "score" in row else 2 - 2 * float(row["cosine"])
    if not math.isfinite(score):
        raise ValueError("its score is not finite")
    return (row.get("left", ""), row.get("right", ""), row["same"] in ("1", "True"), score, int(row.get("fold") or 0),
            float(row.get("left_norm") or math.nan), float(row.get("right_norm") or math.nan))


def _described(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(read_regular(path, 1 << 20).decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}

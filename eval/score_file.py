"""Scores of pairs on disk: `SET.csv`, a row for each pair, and `SET.json` beside it, with their provenance.

Columns: pair (from 0), left and right (the images' names; in a `.bin` their positions from 0), same (1 or 0), score
(squared L2 distance), cosine, fold (from 0), left_norm and right_norm (lengths of the embeddings before they were
normalised). Scores of two files may be compared where `unlike` returns "".
"""
from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import PathLike, read_regular, write_atomic
from common.foreign import shown
from common.tables import Row, csv_bytes, header, number, read_table, whole_number
from recordio_tools.pairs.lists import TRUTH

COLUMNS = ("pair", "left", "right", "same", "score", "cosine", "fold", "left_norm", "right_norm")
COLUMN_NAMES: dict[str, tuple[str, ...]] = {name: () for name in COLUMNS}
FORM = "a table of scores, whose first line names same and score or cosine"
BEYOND = 1e-3  # rounding error of a distance computed from rounded cosines
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
        """Why the scores are not comparable, or ""."""
        for name in CONVENTIONS:
            if self.meta.get(name) != other.meta.get(name):
                return f"their {name} differs: {self.meta.get(name)} and {other.meta.get(name)}"
        same_pairs = (np.array_equal(self.same, other.same) and np.array_equal(self.left, other.left)
                      and np.array_equal(self.right, other.right))
        ours, theirs = (_digest_of_set(one.meta) for one in (self, other))
        return "" if same_pairs and ours == theirs else "they are of other pairs"


def _digest_of_set(meta: dict[str, Any]) -> Any:
    origin = meta.get("set")
    return origin.get("sha256") if isinstance(origin, dict) else None


def write_scores(path: PathLike, made: PairScores) -> None:
    """Write `path` and the description beside it, each atomically."""
    rows = ((pair, left, right, int(same), f"{score:.9g}", f"{1 - score / 2:.9g}", fold, norm_text(one),
             norm_text(other)) for pair, (left, right, same, score, fold, one, other) in enumerate(zip(
                made.left, made.right, made.same.tolist(), made.score.tolist(), made.fold.tolist(),
                made.left_norm.tolist(), made.right_norm.tolist())))
    write_atomic(path, csv_bytes(COLUMNS, rows))
    write_description(path, made.meta)


def norm_text(norm: float) -> str:
    """As the columns have it; empty where it is not known, NaN."""
    return "" if math.isnan(norm) else f"{norm:.6g}"


def description(path: PathLike) -> Path:
    """The JSON beside a file of scores: the model and the set that they are of."""
    return Path(path).with_suffix(".json")


def write_description(path: PathLike, meta: dict[str, Any]) -> None:
    """Write it, atomically."""
    write_atomic(description(path), json.dumps(meta, indent=1, sort_keys=True) + "\n")


def read_scores(path: PathLike) -> PairScores:
    """Read a file; UserError, one line, where it is not such a table. Without the description beside it, or without
    some columns but pair, same and score or cosine, it is read all the same."""
    path = Path(path)
    if not os.path.lexists(path):
        raise UserError(f"{path}: there is no such file")
    names = header(path, COLUMN_NAMES, FORM)
    if "same" not in names or not {"score", "cosine"} & names:
        raise UserError(f"{path}: is not a table of scores; its first line must name same and score or cosine, as "
                        f"{','.join(COLUMNS[:7])}")
    rows = []
    for row in read_table(path, COLUMN_NAMES, FORM, exact=True):
        try:
            rows.append(_parsed(row, "score" in names))
        except ValueError as error:
            raise UserError(f"{row.where} is not a row of scores ({error})") from None
    if not rows:
        raise UserError(f"{path}: holds no pairs")
    left, right, same, score, fold, one, other = zip(*rows)
    return PairScores(np.array(left), np.array(right), np.array(same), np.array(score), np.array(fold), np.array(one),
                      np.array(other), _described(description(path)))


def _parsed(row: Row, has_score: bool) -> tuple[str, str, bool, float, int, float, float]:
    same = TRUTH.get(row["same"].strip().lower())
    if same is None:
        raise ValueError(f"same is {shown(row['same'][:20])!r}, not 1 or 0")
    score = number(row.decimal("score")) if has_score else 2 - 2 * number(row.decimal("cosine"))
    if not -BEYOND <= score <= 4 + BEYOND:
        raise ValueError("its score is not finite, a squared distance from 0 to 4")
    try:
        fold = whole_number(row["fold"].strip() or "0")
    except ValueError:
        raise ValueError(f"fold is {shown(row['fold'][:20])!r}, not a whole number") from None
    norms = [number(row.decimal(name)) if row[name].strip() else math.nan for name in ("left_norm", "right_norm")]
    return row["left"], row["right"], same, score, fold, norms[0], norms[1]


def _described(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, 1 << 20).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}

"""Scores of all pairs of a labelled set as a file: one line each, up to a maximum number."""
from __future__ import annotations

from typing import Iterator, TextIO

import numpy as np

from common.errors import UserError
from common.files import PathLike, atomic_path
from common.progress import meter
from eval.embedding_file import Embeddings
from eval.score_file import COLUMNS, norm_text, write_description
from eval.set_scoring import LabelledPairs

MOST = 20_000_000  # pairs; a line has some 60 bytes
ROWS = 64  # images of the left side per block


def write_all_scores(path: PathLike, made: Embeddings, pairs: LabelledPairs, second: Embeddings | None = None,
                     pca: int | None = None) -> None:
    """The table of `score_file`, fold left empty, for every pair that `pairs` scores, each once, in the set's order.

    second: the second images', where those are not of `made`; the description is theirs. pca: components that the
    embeddings are projected on, None or 0 where they are not. UserError for more than MOST pairs.
    """
    left, right = pairs.sides
    second = made if second is None else second
    total = len(left) * (len(left) - 1) // 2 if right is None else len(left) * len(right)
    if total > MOST:
        raise UserError(f"`scores`: {total} pairs are more than the {MOST} that a file is written of; score a part of "
                        "the set, or groups of it (`between`)")
    names = [_quoted(name) for name in made.names.tolist()]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", errors="surrogateescape") as stream, \
            meter(total, str(path), "pairs") as bar:
        stream.write(",".join(COLUMNS) + "\n")
        number = 0
        for rows, columns, cosines in _blocks(made.embeddings, second.embeddings, left, right):
            number = _write(stream, rows, columns, cosines, pairs.labels, names, (made.norms, second.norms), number)
            bar.update(len(cosines))
    meta = {**{name: second.meta.get(name) for name in ("model", "set", "layer", "flip")}, "pca": pca or 0,
            "folds": None}
    write_description(path, meta)


def _blocks(unit: np.ndarray, second: np.ndarray, left: np.ndarray,
            right: np.ndarray | None) -> Iterator[tuple[np.ndarray, ...]]:
    """Images on the left, on the right, and cosines, pair by pair; no image with itself."""
    other = left if right is None else right
    for first in range(0, len(left), ROWS):
        rows = left[first:first + ROWS]
        cosines = unit[rows] @ second[other].T
        which = np.arange(len(other))[None] > first + np.arange(len(rows))[:, None] if right is None else (
            rows[:, None] != other[None])
        one, two = np.nonzero(which)
        yield rows[one], other[two], cosines[one, two]


def _write(stream: TextIO, rows: np.ndarray, columns: np.ndarray, cosines: np.ndarray, labels: np.ndarray,
           names: list[str], norms: tuple[np.ndarray, np.ndarray], number: int) -> int:
    same = labels[rows] == labels[columns]
    lines = []
    for one, two, alike, cosine in zip(rows.tolist(), columns.tolist(), same.tolist(), cosines.tolist()):
        lines.append(f"{number},{names[one]},{names[two]},{int(alike)},{2 - 2 * cosine:.7g},{cosine:.7g},,"
                     f"{norm_text(norms[0][one])},{norm_text(norms[1][two])}\n")
        number += 1
    stream.write("".join(lines))
    return number


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(sign in name for sign in ',"\n\r') else name

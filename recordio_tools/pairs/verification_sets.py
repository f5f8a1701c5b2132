"""Pairs to a `.bin`: every fold can be scored, every image is there, decodes and has the one size."""
from __future__ import annotations

import functools
import itertools
import os
from pathlib import Path

import numpy as np

from common.errors import UserError
from recordio_tools.bins.binfile import write_bin
from recordio_tools.images.prepare import Wanted, prepare
from recordio_tools.pairs.lists import Pair
from recordio_tools.parallel import ordered_map
from recordio_tools.progress import progress


def check_folds(pairs: list[Pair], what: str, folds: int) -> None:
    """UserError where the pairs cannot be scored in `folds` consecutive folds, or where a fold has one class only.

    Folds that the list names are looked at as they are named, else the consecutive ones that verification will make.
    """
    if len(pairs) < folds:
        raise UserError(f"{what}: {len(pairs)} pairs are fewer than the {folds} folds of verification; "
                        "add pairs, or see --folds")
    same = np.array([pair.same for pair in pairs])
    if same.all() or not same.any():
        raise UserError(f"{what}: all {len(pairs)} pairs are {'same' if same.all() else 'different'} pairs; "
                        "a threshold needs both")
    if any(pair.fold for pair in pairs):
        groups = [(f"fold {name or '(unnamed)'}", np.array([pair.same for pair in members]))
                  for name, members in itertools.groupby(pairs, key=lambda pair: pair.fold)]
    else:
        groups = [(f"fold {number} of {folds}", part) for number, part in enumerate(np.array_split(same, folds), 1)]
    for name, part in groups:
        if len(part) > 1 and part.all() == part.any():
            raise UserError(f"{what}: {name} holds {len(part)} {'same' if part.all() else 'different'} pairs and no "
                            "others; mix the two, or balance the folds")


def write_set(pairs: list[Pair], what: str, out: Path, wanted: Wanted, folds: int, workers: int) -> tuple[int, int]:
    """Write the `.bin`, left, right, left, ..., and return the numbers of pairs and of different image files.

    UserError names the line of the list and the image for one that is missing, broken or of another size.
    """
    check_folds(pairs, what, folds)
    lines: dict[Path, str] = {}
    for pair in pairs:
        lines.setdefault(pair.left, pair.where)
        lines.setdefault(pair.right, pair.where)
    work = functools.partial(_load, wanted=wanted)
    images = {path: data for (path, _), data in
              zip(lines.items(), progress(ordered_map(work, lines.items(), workers), len(lines), "pairs"))}
    ordered = [images[path] for pair in pairs for path in (pair.left, pair.right)]
    write_bin(out, ordered, [pair.same for pair in pairs])
    return len(pairs), len(images)


def _load(item: tuple[Path, str], wanted: Wanted) -> bytes:
    path, where = item
    if not os.path.isfile(path):
        raise UserError(f"{where}: there is no image {path}; see --images")
    try:
        result = prepare(path, wanted)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if result.image is None:
        raise UserError(f"{where}: {path}: {result.reason}")
    return result.image

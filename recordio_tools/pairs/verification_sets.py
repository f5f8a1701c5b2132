"""Pairs to a `.bin`, validated: every fold can be scored, every image exists, decodes and has the same size."""
from __future__ import annotations

import collections
import functools
import itertools
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import check_new_file
from common.progress import progress
from common.workers import ordered_map
from images.folder_depth import count_unlike_folders
from images.prepare import Prepared, Unusable, Wanted, prepare
from recordio_tools.bins.binfile import write_bin
from recordio_tools.bins.odd_pairs import OddPairs, find_odd_pairs
from recordio_tools.pairs.lists import Pair

log = logging.getLogger(__name__)
MOST_FOLDS = 1000  # that are tried as a way out


class UnfitFolds(UserError):
    """Pairs that do not fill all folds with both kinds; fewer folds may work. few: there are fewer pairs than folds."""

    few = False


def check_folds(pairs: list[Pair], what: str, folds: int) -> None:
    """UserError where the pairs cannot be scored in `folds` consecutive folds, or where a fold has one class only.

    Folds named in the list are checked as named, else the consecutive ones that verification will make.
    """
    if len(pairs) < folds:
        unfit = UnfitFolds(f"{what}: {len(pairs)} pairs are fewer than the {folds} folds of verification; add pairs")
        unfit.few = True
        raise unfit
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
            raise UnfitFolds(f"{what}: {name} holds {len(part)} {'same' if part.all() else 'different'} pairs and no "
                             "others; mix the two, or balance the folds")


def folds_that_fit(pairs: list[Pair], folds: int) -> int:
    """The number of folds nearest below `folds`, else above it, in which these pairs can be scored, two to a fold at
    least; 0 where there is none."""
    most = min(len(pairs) // 2, MOST_FOLDS)
    numbers = itertools.chain(range(min(folds - 1, most), 1, -1), range(folds + 1, most + 1))
    if any(pair.fold for pair in pairs):  # named folds are the same for every number
        return next(numbers, 0) if is_fit(pairs, 1) else 0
    before = np.concatenate([[0], np.cumsum([pair.same for pair in pairs])])

    def fits(number: int) -> bool:
        size, more = divmod(len(pairs), number)
        ends = np.arange(number + 1) * size + np.minimum(np.arange(number + 1), more)  # as np.array_split
        same, count = np.diff(before[ends]), np.diff(ends)
        return bool(((same > 0) & (same < count)).all())

    return next((number for number in numbers if fits(number)), 0)


def is_fit(pairs: list[Pair], folds: int) -> bool:
    """Whether the pairs can be scored in so many folds."""
    try:
        check_folds(pairs, "", folds)
    except UserError:
        return False
    return True


@dataclass(frozen=True)
class Written:
    """pairs; images: different files; changes: how many of those were 'copied', 'converted' to an upright JPEG, ...;
    odd: degenerate pairs, see `bins.odd_pairs`."""

    pairs: int
    images: int
    changes: dict[str, int]
    odd: OddPairs


def write_set(pairs: list[Pair], what: str, out: Path, wanted: Wanted, folds: int, workers: int,
              overwrite: bool = False) -> Written:
    """Write the `.bin`, left, right, left, ...

    UserError names the line of the list and the image for one that is missing, broken or of another size.
    """
    check_new_file(out, overwrite)
    check_folds(pairs, what, folds)
    warn_of_unequal_folds(pairs, what, folds)
    across, within = count_unlike_folders([(pair.left, pair.right) for pair in pairs], [pair.same for pair in pairs])
    if across or within:
        log.warning("%s: %d pairs marked same are of two identities' folders, %d marked different of one; correct the "
                    "list, or the folders", what, across, within)
    lines: dict[Path, str] = {}
    for pair in pairs:
        lines.setdefault(pair.left, pair.where)
        lines.setdefault(pair.right, pair.where)
    work = functools.partial(_load, wanted=wanted)
    loaded = {path: data for (path, _), data in
              zip(lines.items(), progress(ordered_map(work, lines.items(), workers), len(lines), "pairs"))}
    ordered = [loaded[path].image for pair in pairs for path in (pair.left, pair.right)]
    same = [pair.same for pair in pairs]
    write_bin(out, ordered, same, overwrite)
    changes = collections.Counter(one.change + (", rotated by EXIF" if "rotated by EXIF" in one.odd else "")
                                  for one in loaded.values())
    return Written(len(pairs), len(loaded), dict(sorted(changes.items())), find_odd_pairs(ordered, same))


def warn_of_unequal_folds(pairs: list[Pair], what: str, folds: int) -> None:
    """Log where the list's folds are not those of verification, which are equal consecutive parts of its order."""
    named = [len(list(members)) for _, members in itertools.groupby(pairs, key=lambda pair: pair.fold)]
    if any(pair.fold for pair in pairs) and named != _cut(pairs, folds):
        keeps = f"; eval verify --folds {len(named)} takes the list's" if named == _cut(pairs, len(named)) else ""
        log.warning("%s: its folds have %s pairs, verification uses %s in this order; the accuracy is then over other "
                    "folds than the list's%s", what, _some(named), _some(_cut(pairs, folds)), keeps)


def _cut(pairs: list[Pair], folds: int) -> list[int]:
    return [len(part) for part in np.array_split(np.arange(len(pairs)), folds)]


def _some(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (f", ... ({len(numbers)} folds)" if len(numbers) > 5 else "")


def _load(item: tuple[Path, str], wanted: Wanted) -> Prepared:
    path, where = item
    if not os.path.isfile(path):
        raise UserError(f"{where}: there is no image {path}; `images` names the folder that it is looked for in")
    try:
        return prepare(path, wanted)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except Unusable as error:
        raise UserError(f"{where}: {path}: {error}") from None

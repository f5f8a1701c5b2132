"""Recovers a sound verification set from a damaged one."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from common.errors import RunError
from recordio_tools.bins.binfile import write_bin
from recordio_tools.check.check_bin import FOLDS, CheckedBin, one_class_folds

ENOUGH = 0.9  # fraction of the recoverable pairs that must be left when all folds are made equal
NAMED = 1000


def repair_bin(checked: CheckedBin, path: Path, count: int = FOLDS) -> dict:
    """Write the pairs whose images are both good, byte for byte; returns what was lost, and how the folds, `count` of
    them, changed.

    RunError where they do not make a sound set.
    """
    source = checked.report.path
    if "bin-file" in checked.report.faults:
        raise RunError(f"{checked.report.faults['bin-file'].message}; nothing can be recovered, nothing was written")
    pairs = min(len(checked.same), len(checked.images) // 2)
    good = checked.usable[:2 * pairs].reshape(-1, 2).all(axis=1)
    kept, folds = _arrange(checked.same, np.flatnonzero(good), count)
    same = checked.same[kept]
    if len(kept) < count or one_class_folds(same, count):
        raise RunError(f"{source}: {int(good.sum())} pairs can be recovered, {int(checked.same[:pairs][good].sum())} "
                       f"of them same; they do not fill {count} folds with both kinds, and nothing was written")
    write_bin(path, [checked.images[2 * pair + side] for pair in kept.tolist() for side in (0, 1)], same)
    lost = np.flatnonzero(~good)
    return {"files": [source], "pairs": len(kept), "same": int(same.sum()),
            "pairs_lost": {key: count for key, count in (
                ("image", len(lost)), ("count", max(len(checked.same), -(-len(checked.images) // 2)) - pairs),
                ("to keep the folds alike", int(good.sum()) - len(kept))) if count},
            "pairs_lost_numbers": lost[:NAMED].tolist(), "folds": folds}


def _arrange(same: np.ndarray, good: np.ndarray, count: int) -> tuple[np.ndarray, str]:
    """(indices of the pairs to keep, in order, the description of the new folds)."""
    if len(good) == len(same):
        return good, "as they were"
    bounds = np.cumsum([0, *map(len, np.array_split(same, count))])
    folds = [good[(good >= start) & (good < end)] for start, end in zip(bounds[:-1], bounds[1:])]
    least = [min(int((same[fold] == kind).sum()) for fold in folds) for kind in (False, True)]
    if min(least) and count * sum(least) >= ENOUGH * len(good):
        kept = [np.sort(np.concatenate([fold[same[fold] == kind][:least[kind]] for kind in (False, True)]))
                for fold in folds]
        return np.concatenate(kept), f"each keeps its own pairs, {least[1]} same and {least[0]} different"
    if not one_class_folds(same[good], count):
        return good, "moved: the pairs are distributed over them again, in the old order"
    dealt = [np.concatenate([good[same[good]][fold::count], good[~same[good]][fold::count]]) for fold in range(count)]
    return np.concatenate(dealt), "moved: same and different pairs are distributed over them in turn"

"""Failures to acquire in a labelled set: its pairs without them, and the rates with them counted as errors."""
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np

from common.errors import UserError
from common.name_lookup import canonical_path
from eval.all_pairs import Side, count_pairs, make_sides
from eval.face_sets import FaceSet
from eval.failures import Failures, Readings, counted, lost_faces
from eval.operating_points import OperatingPoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WithoutFailures:
    """images: the names of those that failed; sides: the indices of the remaining images on each side; genuine,
    impostors: pairs that are lost."""

    images: list[str]
    sides: tuple[np.ndarray, np.ndarray | None]
    genuine: int
    impostors: int

    def readings(self, points: Sequence[OperatingPoint], genuine: int) -> Readings:
        """TPR without the lost pairs and with them; genuine: how many were compared."""
        without = {f"{point.fpr_target:g}": point.tpr for point in points}
        return Readings(self.genuine, self.impostors, without, {
            name: counted(rate, genuine, self.genuine) for name, rate in without.items()},
            {f"{point.fpr_target:g}": point.false_accepts for point in points})


def leave_out(failures: Failures, faces: FaceSet, groups: Mapping[str, str] | None,
              sides: tuple[np.ndarray, np.ndarray | None], between: Sequence[str]) -> WithoutFailures:
    """The pairs of the sides without the images that failed. groups: by the images' names, None where they are the
    folders of the names; between: the two groups of the sides, () for all against all. UserError where no pairs are
    left."""
    labels = faces.labels
    lost = lost_faces(failures, faces.names, labels, faces.people, groups, faces.path)
    unknown = int((lost.absent_groups == "").sum())
    if between and unknown:
        log.warning("%s: %d images that are not in the set have no group; pairs that they would have are not counted",
                    failures.path, unknown)
    wanted = [canonical_path(group) if groups is None else group for group in between or ("", "")]
    others = int((np.unique(lost.absent_labels) >= len(faces.people)).sum())
    if others:
        log.warning("%s: %d images are of %d identities that are not in the set", failures.path,
                    int((lost.absent_labels >= len(faces.people)).sum()), others)

    def with_absent(side: np.ndarray, group: str) -> Side:
        absent = lost.absent_labels[lost.absent_groups == group] if between else lost.absent_labels
        return Side(np.empty(0), np.concatenate([labels[side], absent]))
    first, second = sides
    was = count_pairs(with_absent(first, wanted[0]), None if second is None else with_absent(second, wanted[1]))
    kept = (first[~lost.failed[first]], None if second is None else second[~lost.failed[second]])
    now = count_pairs(*make_sides(np.empty(len(labels)), labels, kept))
    if not all(now):
        raise UserError(f"`failures` {failures.path}: without these, {now[0]} genuine and {now[1]} impostor pairs are "
                        "left; both are needed")
    failed = [name for name, one in zip(faces.names, lost.failed) if one]
    return WithoutFailures(failed, kept, was[0] - now[0], was[1] - now[1])

"""The scores of a finished run: its rates on all pairs, the protocol's and random protocols, on resamples, by yaw,
misaligned and by position, and DREAM's on its embeddings."""
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Iterator, Mapping

import mxnet as mx
import numpy as np

from eval.all_pairs import AllPairs, Side, score_all_pairs
from eval.bootstrap import PeopleBootstrap, interval
from eval.curve_rates import equal_error_rate
from eval.face_sets import FaceSet, open_face_set
from eval.misalignment import Misalignment, misaligned_batches, misalignments
from eval.models import checkpoint_digest, embed_batches
from eval.operating_points import operating_point, rates_above
from eval.pose import yaw_groups
from eval.verification import VerificationSet, verify_set
from inference.embedder import Embedder
from inference.model import load_model
from study.dream_training import Recipe, apply_dream, train_dream
from study.plan import Plan
from study.positions import position_statistics
from study.random_protocols import protocol_rates
from study.yaw import FacesWithYaw

BATCH = 64
SEED = 0  # seed of the resamples, random protocols and directions of misalignment: the same for every run
GROUPS = ("frontal", "profile")


def score_run(prefix: str, epoch: int, plan: Plan, known: Mapping[str, FacesWithYaw], protocol: Path,
              dream: bool = False) -> dict[str, Any]:
    """The scores of a checkpoint on the identities of `known["test"]` and on the protocol's `.bin`, ready for JSON.

    dream: of DREAM on its embeddings as well, trained on those of `known["train"]`.
    """
    model = load_model(prefix, epoch, "fc1")
    target = VerificationSet(protocol)
    embedder = Embedder(*model, [mx.cpu()], BATCH, target.image_size)
    row = verify_set(embedder, target, plan.fpr)
    scores: dict[str, Any] = {"model": checkpoint_digest(prefix, epoch), "protocol": {
        "pairs": len(row.same), "accuracy": row.accuracy, "eer": row.eer, "auc": row.auc,
        "tpr": {f"{rate:g}": row.tprs[rate] for rate in plan.fpr}}}
    with open_face_set(known["test"].images) as faces:
        frontal, profile = (np.flatnonzero(faces.folders == group) for group in GROUPS)
        aligned, norms = _embed(embedder, faces, Misalignment())
        scores["norm"] = {group: round(float(norms[side].mean()), 3) for group, side in zip(GROUPS, (frontal, profile))}
        resamples = PeopleBootstrap(len(faces.people), faces.labels[frontal], faces.labels[profile], plan.resamples,
                                    SEED)
        yaw = known["test"].yaw(faces.names)
        scored, found = _all_pairs(aligned, faces, (frontal, profile), yaw, resamples, plan)
        scores.update(found)
        if dream:
            moved = _dream(embedder, known["train"], aligned * norms[:, None], yaw, plan.dream_steps)
            _, scores["dream"] = _all_pairs(moved, faces, (frontal, profile), yaw, resamples, plan)
        drawn = np.array(found["frontal-profile"]["draws"][f"{plan.fpr[0]:g}"])
        scores["misaligned"] = list(_misaligned(embedder, faces, (scored, drawn), resamples, (frontal, profile), plan))
        scores["positions"] = {group: position_statistics(prefix, epoch, faces, side, embedder.image_size)
                               for group, side in zip(GROUPS, (frontal, profile))}
    return scores


def _all_pairs(unit: np.ndarray, faces: FaceSet, sides: tuple[np.ndarray, np.ndarray], yaw: np.ndarray,
               resamples: PeopleBootstrap, plan: Plan) -> tuple[AllPairs, dict[str, Any]]:
    """Frontal against profile faces, and their rates, those of frontal against frontal ones, by yaw, and on random
    protocols."""
    scored = _score(unit, faces, *sides)
    return scored, {"frontal-profile": {**_rates(scored, plan), "draws": _draws(scored, resamples, plan)},
                    "frontal-frontal": _rates(_score(unit, faces, sides[0], None), plan),
                    "by_yaw": list(_by_yaw(unit, faces, scored, sides, yaw, plan)),
                    "random_protocols": protocol_rates(unit, faces.labels, sides, plan.fpr, plan.resamples, SEED)}


def _embed(embedder: Embedder, faces: FaceSet, how: Misalignment) -> tuple[np.ndarray, np.ndarray]:
    batches = faces.batches(embedder.batch_size, embedder.image_size, hashlib.sha256())
    unit, norms = embed_batches(embedder, misaligned_batches(batches, how, SEED), True, lambda count: None)
    return unit, norms


def _score(unit: np.ndarray, faces: FaceSet, left: np.ndarray, right: np.ndarray | None) -> AllPairs:
    side = Side(unit[left], faces.labels[left])
    other = None if right is None else Side(unit[right], faces.labels[right])
    return score_all_pairs(side, other, len(left) * len(left if right is None else right))


def _rates(scored: AllPairs, plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {"genuine": len(scored.genuine), "impostors": scored.impostors,
                             "eer": equal_error_rate(scored), "tpr": {}, "false_accepts": {}, "draws": {}}
    for rate in plan.fpr:
        point = operating_point(scored.genuine, scored.tail, scored.impostors, rate)
        found["tpr"][f"{rate:g}"], found["false_accepts"][f"{rate:g}"] = point.tpr, point.false_accepts
    return found


def _draws(scored: AllPairs, resamples: PeopleBootstrap, plan: Plan) -> dict[str, list[float]]:
    return {f"{rate:g}": [round(float(draw), 5) for draw in draws]
            for rate, draws in zip(plan.fpr, resamples.tprs(scored, plan.fpr))}


def _by_yaw(unit: np.ndarray, faces: FaceSet, scored: AllPairs, sides: tuple[np.ndarray, np.ndarray], yaw: np.ndarray,
            plan: Plan) -> Iterator[dict[str, Any]]:
    """Frontal faces against the profiles of one yaw after another, at the threshold of all of them together for the
    plan's first FPR."""
    limit = operating_point(scored.genuine, scored.tail, scored.impostors, plan.fpr[0]).cosine
    groups = yaw_groups(yaw[sides[1]])
    for group in sorted(set(groups) - {""}):
        profiles = sides[1][groups == group]
        found = _score(unit, faces, sides[0], profiles)
        tpr, fpr = rates_above(found, limit)
        yield {"group": group, "images": len(profiles), "genuine": len(found.genuine),
               "tpr": tpr if len(found.genuine) else None, "fpr": fpr}


def _dream(embedder: Embedder, known: FacesWithYaw, embeddings: np.ndarray, yaw: np.ndarray,
           steps: int) -> np.ndarray:
    """(N, D) of the tested faces mapped by DREAM, trained on the training set's; of unit length.

    A face whose yaw is not known counts as frontal in the test, and is left out of the training.
    """
    with open_face_set(known.images) as faces:
        unit, norms = _embed(embedder, faces, Misalignment())
        learned = known.yaw(faces.names)
        use = np.isfinite(learned)
        block = train_dream((unit * norms[:, None])[use], faces.labels[use], learned[use], Recipe(steps))
    return apply_dream(block, embeddings, np.nan_to_num(yaw))


def _misaligned(embedder: Embedder, faces: FaceSet, aligned: tuple[AllPairs, np.ndarray], resamples: PeopleBootstrap,
                sides: tuple[np.ndarray, np.ndarray], plan: Plan) -> Iterator[dict[str, Any]]:
    """At the plan's first FPR: aligned first, then both images of every pair misaligned.

    aligned: the scores of the images as they are, and their TPR on the resamples.
    """
    rate, (scored, drawn) = plan.fpr[0], aligned
    limit = operating_point(scored.genuine, scored.tail, scored.impostors, rate).cosine
    for how in misalignments({"shift": plan.shifts, "rotate": plan.rotations}):
        if not how.none:
            scored = _score(_embed(embedder, faces, how)[0], faces, *sides)
            drawn = resamples.tpr(scored, rate)
        point, limits = operating_point(scored.genuine, scored.tail, scored.impostors, rate), interval(drawn)
        there = rates_above(scored, limit)
        yield {"shift": how.shift, "rotate": how.rotate, "tpr": point.tpr, "interval": [limits.low, limits.high],
               "at_aligned_threshold": {"tpr": there[0], "fpr": there[1]}}

"""`compare`: 1:1 comparison of two images."""
from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from common.errors import UserError
from deploy.arguments import STDOUT, write_or_print_json
from deploy.photographs import FaceFinder, Photograph
from deploy.query import open_query, unusable
from deploy.thresholds import Threshold
from eval.scores import distances

SAME, DIFFERENT, NO_FACE = 0, 3, 4


def run(args: argparse.Namespace) -> int:
    """Compare, print, and return the exit status."""
    model, threshold = open_query(args)
    left, right = FaceFinder(args, model, [args.left, args.right]).photographs()
    wrong = [unusable(one, args.detector) for one in (left, right) if one.reason and not one.without_face]
    if wrong:
        raise UserError("; ".join(dict.fromkeys(wrong)))
    scores = distances(left.unit[:, None], right.unit[None])
    answer = {"model": {"name": model.name, "sha256": model.sha256}, "flip": model.flip,
              "images": [left.as_json(), right.as_json()], "threshold": threshold and threshold.as_json(),
              **_answer(scores, threshold)}
    if args.json:
        write_or_print_json(args.json, answer)
    if args.json != STDOUT:
        print(_text(left, right, scores, threshold))
    if not scores.size:
        return NO_FACE
    return SAME if answer["same"] in (True, None) else DIFFERENT


def _answer(scores: np.ndarray, threshold: Threshold | None) -> dict[str, Any]:
    def same(score: float) -> bool | None:
        return None if threshold is None else bool(score < threshold.score)

    pairs = [{"faces": [row, column], "score": float(scores[row, column]),
              "cosine": float(1 - scores[row, column] / 2), "same": same(scores[row, column])}
             for row, column in np.ndindex(scores.shape)]
    best = pairs[int(scores.argmin())] if pairs else {}
    return {"score": best.get("score"), "cosine": best.get("cosine"), "same": best.get("same"), "pairs": pairs}


def _text(left: Photograph, right: Photograph, scores: np.ndarray, threshold: Threshold | None) -> str:
    missing = [photograph.name for photograph in (left, right) if photograph.reason]
    if missing:
        return "\n".join(f"{name}: no face found" for name in missing)
    lines = []
    if scores.size > 1:
        lines = [f"{left.face(row)} - {right.face(column)}: score {scores[row, column]:.4f}, cosine "
                 f"{1 - scores[row, column] / 2:.4f}" for row, column in np.ndindex(scores.shape)]
    best = float(scores.min())
    told = f"score {best:.4f}, cosine {1 - best / 2:.4f}"
    if threshold is None:
        return "\n".join([*lines, f"{told}; no threshold was given, so no decision is made"])
    several = "" if scores.size == 1 else f", the nearest of {scores.size} pairs of faces"
    lines.append(f"{'same' if best < threshold.score else 'different'}: {told}{several}")
    lines.append(str(threshold))
    if scores.size > 1 and threshold.fpr is not None:
        lines.append(f"photographs of different people with {scores.size} pairs of faces are falsely accepted at a "
                     f"rate of at most {100 * min(threshold.fpr * scores.size, 1):.3g}%")
    return "\n".join(lines)

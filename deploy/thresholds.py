"""The threshold of a command, and its FPR on given scores of pairs."""
from __future__ import annotations

import argparse
import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError
from common.foreign import shown
from eval.fixed_threshold import FixedPoint, rates_below
from eval.metrics import point_at_fpr
from eval.operating_points import FEW
from eval.score_file import PairScores, read_scores

log = logging.getLogger(__name__)
DEFAULT = 1e-3  # FPR, where only scores are given


@dataclass(frozen=True)
class Threshold:
    """score: pairs with a squared distance below it are accepted. rates: its rates on the pairs of `scores`, a file;
    None where none was given, so that its FPR is not known."""

    score: float
    rates: FixedPoint | None = None
    scores: str = ""

    @property
    def cosine(self) -> float:
        """The cosine above which pairs are."""
        return 1 - self.score / 2

    @property
    def fpr(self) -> float | None:
        """As observed."""
        return None if self.rates is None else self.rates.fpr

    def __str__(self) -> str:
        told = f"threshold {self.score:.4f} (cosine {self.cosine:.4f})"
        if self.rates is None:
            return f"{told}, whose FPR is not known without --scores"
        mark = "~" if self.rates.false_accepts < FEW else ""
        return (f"{told}, FPR {mark}{100 * self.rates.fpr:.3g}% on {self.scores}: {self.rates.false_accepts} false "
                f"accepts of {self.rates.impostors} impostor pairs; TPR there {mark}{100 * self.rates.tpr:.2f}%")

    def as_json(self) -> dict[str, Any]:
        """By the names of eval's JSON."""
        if self.rates is None:
            return {"threshold": self.score, "cosine": self.cosine, "fpr": None}
        return {**self.rates.as_row(), "scores": self.scores}


def choose_threshold(args: argparse.Namespace, sha256: str, layer: str) -> Threshold | None:
    """The threshold of the flags, None where there is none; sha256: of the model. layer: whose output its embedding is.
    UserError where they contradict, or the scores are of another model or layer, of other conventions or too few."""
    if args.threshold is not None and args.fpr is not None:
        raise UserError("--threshold and --fpr: give one of them; --threshold with --scores prints its FPR")
    if args.fpr is not None and not args.scores:
        raise UserError(f"--fpr {args.fpr:g}: needs --scores FILE.csv, the scores of this model's pairs; `eval verify "
                        "--scores DIR` writes it")
    if not args.scores:
        return None if args.threshold is None else Threshold(args.threshold)
    found = read_scores(args.scores)
    _check(args.scores, found, sha256, layer, not args.no_flip)
    score = args.threshold
    if score is None:
        score = threshold_at(DEFAULT if args.fpr is None else args.fpr, found.score, found.same, args.scores)
    return Threshold(score, rates_below(found.score, found.same, score), args.scores)


def threshold_at(target: float, scores: np.ndarray, same: np.ndarray, source: str) -> float:
    """The squared distance at the largest observed FPR that does not exceed `target`. UserError where the target allows
    not even one false accept."""
    impostors = int((~same).sum())
    if target * impostors * (1 + 1e-9) < 1:
        raise UserError(f"--fpr {target:g}: {source} has {impostors} impostor pairs, and {math.ceil(1 / target)} are "
                        "needed for one false accept; give scores of more pairs"
                        + (f", or --fpr {_least(impostors)} or more" if impostors > 1 else ""))
    return point_at_fpr(scores, same, target)[1]


def _check(path: str, found: PairScores, sha256: str, layer: str, flip: bool) -> None:
    """UserError where a threshold on these scores would not apply to this model."""
    if found.same.all() or not found.same.any():
        raise UserError(f"{path}: has no {'impostor' if found.same.all() else 'genuine'} pairs; both kinds are needed")
    genuine, impostors = (float(found.score[kind].mean()) for kind in (found.same, ~found.same))
    if genuine > impostors:
        log.warning("%s: genuine pairs are farther apart, %.4g on average, than impostor pairs, %.4g: score is a "
                    "squared distance, a similarity belongs in a column called cosine", path, genuine, impostors)
    told = found.meta.get("model")
    model = told if isinstance(told, dict) else {}
    theirs = model.get("sha256")
    if theirs is None:
        log.warning("%s: has no sha256 of its model, so its FPR may be another model's", path)
    elif theirs != sha256:
        raise UserError(f"{path}: holds the scores of another model, {str(model.get('name'))[:80]}; `eval verify "
                        "--scores DIR` writes this one's")
    theirs = found.meta.get("layer")
    if theirs is not None and theirs != layer:
        raise UserError(f"{path}: holds scores of the layer {shown(str(theirs))[:60]}, not of {layer}; give --layer "
                        f"{shown(str(theirs))[:60]}, or scores of this layer")
    if found.meta.get("flip") not in (None, flip):  # null where the embeddings' own file did not tell
        raise UserError(f"{path}: its scores are {'without' if flip else 'with'} mirror images; "
                        f"{'give' if flip else 'leave out'} --no-flip")
    if found.meta.get("pca"):
        raise UserError(f"{path}: its scores are after --pca {found.meta['pca']}, which is not applied here")


def _least(impostors: int) -> str:
    """The smallest FPR, rounded up, at which so many pairs allow one false accept."""
    power = 10.0 ** (math.floor(math.log10(1 / impostors)) - 1)
    return f"{math.ceil(1 / impostors / power) * power:.3g}"

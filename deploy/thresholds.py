"""The threshold of a command, and the FPR that it has on scores of pairs that are known."""
from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError
from common.tables import header, read_table
from eval.metrics import roc_curve

COLUMNS = {"same": ("label", "issame"), "score": ("distance",)}
FORM = "a table of eval's --scores with the columns same and score"
FEW = 10  # false accepts below which a rate is marked, as eval does
SAME = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True)
class Threshold:
    """score: pairs whose squared distance is below it are taken for the same person. Where scores were given: fpr, tpr
    there, false_accepts of impostors pairs behind the FPR, scores the file."""

    score: float
    fpr: float | None = None
    tpr: float | None = None
    false_accepts: int = 0
    impostors: int = 0
    scores: str = ""

    @property
    def cosine(self) -> float:
        """The cosine above which pairs are."""
        return 1 - self.score / 2

    def __str__(self) -> str:
        told = f"threshold {self.score:.4f} (cosine {self.cosine:.4f})"
        if self.fpr is None:
            return f"{told}, whose FPR is not known without --scores"
        mark = "~" if self.false_accepts < FEW else ""
        return (f"{told}, FPR {mark}{100 * self.fpr:.3g}% on {self.scores}: {self.false_accepts} false accepts of "
                f"{self.impostors} impostor pairs; TPR there {100 * self.tpr:.2f}%")

    def as_json(self) -> dict[str, Any]:
        """By the names of eval's JSON."""
        known = {} if self.fpr is None else {
            "fpr": self.fpr, "tpr": self.tpr, "false_accepts": self.false_accepts, "impostors": self.impostors,
            "few": self.false_accepts < FEW, "scores": self.scores}
        return {"threshold": self.score, "cosine": self.cosine, "fpr": None, **known}


def add_threshold_flags(parser: argparse.ArgumentParser) -> None:
    """--threshold, or --fpr with --scores."""
    parser.add_argument("--threshold", type=_distance, metavar="X", help="the squared L2 distance, from 0 to 4, below "
                        "which two faces are one person's; with --scores its FPR is told")
    parser.add_argument("--fpr", type=_rate, metavar="RATE", help="take the threshold at this false positive rate on "
                        "the pairs of --scores (default with --scores alone: 1e-3)")
    parser.add_argument("--scores", metavar="FILE.csv", help="scores of this model's pairs, by `eval verify --scores`")


def choose_threshold(args: argparse.Namespace) -> Threshold | None:
    """What the flags say, None where they say nothing; UserError where they contradict or the scores do not do."""
    if args.threshold is not None and args.fpr is not None:
        raise UserError("--threshold and --fpr: give one of them; --threshold with --scores tells its FPR")
    if args.fpr is not None and not args.scores:
        raise UserError(f"--fpr {args.fpr:g}: needs --scores FILE.csv, the scores of this model's pairs; `eval verify "
                        "--scores DIR` writes it")
    if not args.scores:
        return None if args.threshold is None else Threshold(args.threshold)
    scores, same = read_scores(args.scores)
    if args.threshold is not None:
        return _known(args.threshold, scores, same, args.scores)
    return threshold_at(1e-3 if args.fpr is None else args.fpr, scores, same, args.scores)


def threshold_at(target: float, scores: np.ndarray, same: np.ndarray, source: str) -> Threshold:
    """Midway between the last pair that is accepted at the largest observed FPR that does not exceed `target`, and the
    first that is not. UserError where the target allows not even one false accept."""
    impostors = int((~same).sum())
    if target * impostors * (1 + 1e-9) < 1:
        raise UserError(f"--fpr {target:g}: {source} has {impostors} impostor pairs, and {math.ceil(1 / target)} are "
                        f"needed for one false accept; give scores of more pairs, or --fpr {_least(impostors)} or more")
    rates, _, thresholds = roc_curve(scores, same)
    last = int(np.searchsorted(rates, target * (1 + 1e-9), "right")) - 1
    accepted = max(float(thresholds[last]), 0.0)
    refused = float(thresholds[last + 1]) if last + 1 < len(thresholds) else 4.0
    return _known((accepted + refused) / 2, scores, same, source)


def read_scores(path: str) -> tuple[np.ndarray, np.ndarray]:
    """(pairs,) squared distances and whether each pair is one person's; UserError where the table is none."""
    if header(path, COLUMNS, FORM) != set(COLUMNS):
        raise UserError(f"{path}: expected {FORM}")
    scores, same = [], []
    for row in read_table(path, COLUMNS, FORM):
        try:
            score, alike = float(row["score"]), SAME[row["same"].lower()]
        except (ValueError, KeyError):
            raise UserError(f"{row.where}: score {row['score'][:20]!r} and same {row['same'][:20]!r} are not a number "
                            "and 0 or 1") from None
        if not -1e-6 <= score <= 4 + 1e-6:
            raise UserError(f"{row.where}: {score:g} is no squared distance of unit vectors, from 0 to 4")
        scores.append(score)
        same.append(alike)
    if all(same) or not any(same):
        missing = "impostor" if same and all(same) else "genuine"
        raise UserError(f"{path}: has no {missing} pairs; both kinds are needed")
    return np.array(scores), np.array(same)


def _known(score: float, scores: np.ndarray, same: np.ndarray, source: str) -> Threshold:
    accepted = scores < score
    impostors = int((~same).sum())
    false_accepts = int((accepted & ~same).sum())
    return Threshold(score, false_accepts / impostors, float(accepted[same].mean()), false_accepts, impostors, source)


def _least(impostors: int) -> str:
    """The smallest rate, rounded up, that so many pairs allow one false accept at."""
    power = 10.0 ** (math.floor(math.log10(1 / impostors)) - 1)
    return f"{math.ceil(1 / impostors / power) * power:.3g}"


def _distance(text: str) -> float:
    return _number(text, 0, 4, "a squared distance above 0, to 4")


def _rate(text: str) -> float:
    value = _number(text, 0, 1, "a rate between 0 and 1, e.g. 1e-3")
    if value == 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate between 0 and 1, e.g. 1e-3")
    return value


def _number(text: str, least: float, most: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least < value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value

"""`align` against the published aligned set: detection rate, and verification with the crops, on the same pairs.

    python -m benchmarks.align                # Celebrities in Frontal-Profile, the identities whose photographs are
    available python -m benchmarks.align --raw DIR --aligned DIR --detector DIR --model PREFIX,EPOCH

--raw holds Images/<person>/{frontal,profile}/NN.jpg as photographed, and perhaps Fiducials/ of the same shape with 30
points an image, marked by hand; --aligned holds Data/Images/ with crops of the same names, and Protocol/. Both sets of
crops are embedded by one network and evaluated on the same lists of pairs: the protocol's, as far as both images are
there, and all same pairs with as many different ones, sampled by a seed.

The interval of a difference is of 95%, by a bootstrap over identities: an identity's pairs are correlated, so pairs are
not independent trials. The noise of an accuracy is shown by the aligned set's own crops, moved by up to half a pixel
six times: the range of their accuracy. Landmarks are compared on the side that is marked, in parts of the distance from
eye to mouth.
"""
from __future__ import annotations

import functools
import random
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import cv2
import mxnet as mx
import numpy as np

from align.aligning import TABLE, Crops, align_by_detector
from align.landmark_table import Row, read_table
from align.mtcnn.detector import Detector, Search
from align.mtcnn.finding import find
from align.photographs import list_photographs
from align.report import AlignReport
from benchmarks.harness import machine, run_benchmark, take_turns
from common import cli
from common.environment import usable_cores
from eval.metrics import THRESHOLDS, accuracy_10fold, auc, fold_bounds, tpr_at_fpr
from eval.scores import normalise
from inference.embedder import Embedder
from inference.model import load_model
from recordio_tools.pairs.lists import read_cfp

BATCH = 40
FPR, FEWEST = 0.01, 500  # an FPR, and the number of different pairs below which it is not given
DRAWS = 2000  # of the bootstrap
MOVED = 6  # number of perturbations of the aligned set's crops
COLUMNS = ("pairs", "number (different)", "accuracy %: aligned set", "our crops", "difference, 95% interval",
           "aligned set, moved", "right in one alone: theirs, ours", "AUC %: theirs, ours",
           f"TPR % at FPR {FPR:.0%}: theirs, ours")
KINDS = {"FF": "frontal-frontal", "FP": "frontal-profile"}


@dataclass(frozen=True)
class Pairs:
    """A list of pairs: left, right: (n,) numbers of images; same: (n,) bool; people: (n, 2) their identities."""

    name: str
    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    people: np.ndarray

    @staticmethod
    def of(name: str, images: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Pairs:
        """The pairs of names in `images`, <person>/<pose>/<file>."""
        places = {image: place for place, image in enumerate(images)}
        people = np.array([[_person(image) for image in pair] for pair in pairs])
        left, right = np.array([[places[image] for image in pair] for pair in pairs]).T
        return Pairs(name, left, right, people[:, 0] == people[:, 1], people)


def main(argv: list[str]) -> None:
    """Print what was found, the table of verification, the speed, and the landmarks' errors."""
    parser = cli.Parser(prog="python -m benchmarks.align", description=__doc__)
    data = "../shared/data"
    parser.add_argument("--raw", default=f"{data}/cfp_raw", metavar="DIR", help=f"photographs ({data}/cfp_raw)")
    parser.add_argument("--aligned", default=f"{data}/cfp", metavar="DIR", help=f"the aligned set ({data}/cfp)")
    parser.add_argument("--detector", default=f"{data}/weights/mtcnn", metavar="DIR", help=f"({data}/weights/mtcnn)")
    parser.add_argument("--model", default=f"{data}/weights/mobilefacenet-y1-ms1m,0", metavar="PREFIX,EPOCH",
                        help=f"({data}/weights/mobilefacenet-y1-ms1m,0)")
    parser.add_argument("--workers", type=cli.at_least(1), default=usable_cores(), metavar="N")
    parser.add_argument("--repeats", type=cli.at_least(1), default=5, metavar="N", help="of the timed run")
    args = parser.parse_args(argv)
    print(machine())
    raw, aligned = Path(args.raw) / "Images", Path(args.aligned) / "Data" / "Images"
    images = list_photographs(raw, raw / "none").images
    embedder = Embedder(*load_model(*cli.parse_checkpoint_name(args.model, "--model")), [mx.cpu()], BATCH, (112, 112))
    with tempfile.TemporaryDirectory() as folder:
        out, reports = Path(folder), []
        detector = Detector(args.detector, [mx.cpu()])
        seconds = take_turns({"align": lambda: reports.append(align(detector, raw, out, args.workers))}, args.repeats)
        found = sum(reports[-1].counts[kind] for kind in ("found", "found_relaxed"))
        print(f"{found} of {len(images)} found ({100 * found / len(images):.1f}%), "
              f"{reports[-1].counts['found_relaxed']} of them by the relaxed search; "
              f"{len(images) / statistics.median(seconds['align']):.0f} photographs a second, {args.workers} workers\n")
        rows = read_table(out / TABLE, raw)
        there = [name for name in images if name in rows]  # names are <name>.jpg on both sides
        theirs, ours = (embed(embedder, [root / name for name in there]) for root in (aligned, out))
    moved = [embed(embedder, [aligned / name for name in there], np.random.RandomState(seed)) for seed in range(MOVED)]
    print("".join(f"| {column} " for column in COLUMNS) + "|\n" + "|---" * len(COLUMNS) + "|")
    for pairs in all_pairs(there) + protocol_pairs(Path(args.aligned) / "Protocol", there):
        print(line(pairs, theirs, ours, moved))
    marks = Path(args.raw) / "Fiducials"
    if marks.is_dir():
        print()
        for pose in ("frontal", "profile"):
            errors = np.stack([landmark_errors(rows[name], marks / Path(name).with_suffix(".txt"))
                               for name in there if Path(name).parent.name == pose])
            print(f"distance to the points marked by hand, {pose}: eye, nose, corner of the mouth: "
                  f"mean {_listed(errors.mean(axis=0))}, median {_listed(np.median(errors, axis=0))}")


def align(detector: Detector, raw: Path, out: Path, workers: int) -> AlignReport:
    """Run `align RAW OUT --detector` from scratch."""
    look = functools.partial(find, detector, search=Search(), rule="balanced")
    return align_by_detector(raw, out, list_photographs(raw, out), look, 1024, Crops(overwrite=True), workers, {})


def all_pairs(images: Sequence[str]) -> list[Pairs]:
    """All same pairs of each kind and as many different ones, shuffled, same and different in turn."""
    poses = {letter: [name for name in images if Path(name).parent.name == pose]
             for letter, pose in (("F", "frontal"), ("P", "profile"))}
    made = []
    for kind, words in KINDS.items():
        every = [(left, right) for left in poses[kind[0]] for right in poses[kind[1]] if kind != "FF" or left < right]
        drawer = random.Random(0)
        same = [pair for pair in every if _person(pair[0]) == _person(pair[1])]
        different = [pair for pair in every if _person(pair[0]) != _person(pair[1])]
        turns = zip(drawer.sample(same, len(same)), drawer.sample(different, len(same)))
        made.append(Pairs.of(f"{words}, all same pairs and as many different", images,
                             [pair for turn in turns for pair in turn]))
    return made


def protocol_pairs(protocol: Path, images: Sequence[str]) -> list[Pairs]:
    """The protocol's pairs, in its order, as far as both images are in `images`."""
    made, there = [], set(images)
    for kind, words in KINDS.items():
        named = [("/".join(pair.left.parts[-3:]), "/".join(pair.right.parts[-3:]))
                 for pair in read_cfp(protocol, kind, None, None)]
        made.append(Pairs.of(f"{words}, the protocol's", images, [pair for pair in named if there.issuperset(pair)]))
    return made


def embed(embedder: Embedder, paths: Sequence[Path], moves: np.random.RandomState | None = None) -> np.ndarray:
    """(n, D) embeddings of image files and their mirror images, added and normalised; moved by random `moves`."""
    images = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
    if moves is not None:
        images = [cv2.warpAffine(image, np.hstack([np.eye(2), moves.uniform(-0.5, 0.5, (2, 1))]), image.shape[1::-1])
                  for image in images]
    batches = (np.stack(images[first:first + BATCH]) for first in range(0, len(images), BATCH))
    return normalise(np.concatenate(list(embedder.embed(batches, flip=True)), axis=1).sum(axis=0))


def line(pairs: Pairs, theirs: np.ndarray, ours: np.ndarray, moved: Sequence[np.ndarray]) -> str:
    """A row of the table: both sets of embeddings, and those of moved crops, evaluated on one list."""
    scores = [distances(pairs, embeddings) for embeddings in (theirs, ours)]
    accuracies = [100 * accuracy_10fold(score, pairs.same)[0] for score in scores]
    right = [judged(score, pairs.same) for score in scores]
    low, high = 100 * interval(pairs, right[1].astype(float) - right[0])
    different = int((~pairs.same).sum())
    others = [100 * accuracy_10fold(distances(pairs, embeddings), pairs.same)[0] for embeddings in moved]
    areas = ", ".join(f"{100 * auc(score, pairs.same):.2f}" for score in scores)
    rates = ", ".join(f"{100 * tpr_at_fpr(score, pairs.same, FPR):.1f}" for score in scores)
    return (f"| {pairs.name} | {len(pairs.same):,} ({different}) | {accuracies[0]:.2f} | {accuracies[1]:.2f} | "
            f"{accuracies[1] - accuracies[0]:+.2f}, {low:+.2f} to {high:+.2f} | {min(others):.2f} to "
            f"{max(others):.2f} | {(right[0] & ~right[1]).sum()}, {(right[1] & ~right[0]).sum()} | {areas} | "
            f"{rates if different >= FEWEST else 'too few'} |")


def distances(pairs: Pairs, embeddings: np.ndarray) -> np.ndarray:
    """(n,) squared distances of the pairs."""
    return np.square(embeddings[pairs.left] - embeddings[pairs.right]).sum(axis=1)


def judged(scores: np.ndarray, same: np.ndarray, folds: int = 10) -> np.ndarray:
    """(n,) whether each pair is classified correctly, at the threshold that is best outside its fold, as for
    accuracy."""
    right = (scores[:, None] < THRESHOLDS) == same[:, None]
    fold = np.repeat(np.arange(folds), np.diff(fold_bounds(len(same), folds)))
    best = [right[fold != number].sum(axis=0).argmax() for number in range(folds)]
    return right[np.arange(len(same)), np.take(best, fold)]


def interval(pairs: Pairs, gain: np.ndarray) -> np.ndarray:
    """(2,) the middle 95% of the mean gain (n,) of a pair, when as many identities are resampled.

    A pair counts as often as its identity was sampled, or the product of both multiplicities.
    """
    names, numbers = np.unique(pairs.people, return_inverse=True)
    left, right = numbers.reshape(-1, 2).T
    drawn = np.random.RandomState(0).multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
    weights = drawn[:, left] * np.where(pairs.same, 1, drawn[:, right])
    return np.percentile(weights @ gain / weights.sum(axis=1), (2.5, 97.5))


def landmark_errors(row: Row, marks: Path) -> np.ndarray:
    """(3,) distance of the eye, the nose and the corner of the mouth from the points that are marked, on their side."""
    points = np.loadtxt(marks, delimiter=",")
    eye, nose, mouth = points[12:18].mean(axis=0), points[21], points[25]
    seen = row.array()[[0, 2, 3] if nose[0] > eye[0] else [1, 2, 4]]
    return np.linalg.norm(seen - [eye, nose, mouth], axis=1) / np.linalg.norm(eye - mouth)


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def _person(image: str) -> str:
    return image.split("/", 1)[0]


if __name__ == "__main__":
    run_benchmark(main)

"""Recall and false matches of `merge --overlap-with --threshold T`, on real identities.

    python -m benchmarks.similarity                                    # LFW and InsightFace's MobileFaceNet y1
    python -m benchmarks.similarity --images FOLDER --model PREFIX,EPOCH --others SET
    python -m benchmarks.similarity --thresholds 0.3,0.4,0.5 --embed-images 5 --repeats 5 --seed 7

The images of each identity of a folder of image folders are shuffled and split into two halves, which represent the
same identity in two sets. A half is found where the cosine of the two means reaches the threshold, as merge compares
them; another identity's half that reaches it is a false match. Each repeat is another split. --others: a set of
identities that are not in the folder, compared with its whole identities; the number of them with a match.
"""
from __future__ import annotations

import itertools
from pathlib import Path
from typing import Sequence

import numpy as np

from benchmarks.harness import comma_separated, machine, run_benchmark
from common import cli
from inference.identity_means import CheckpointSpec, MeanEmbedder
from inference.similarity import best_matches
from recordio_tools.faces import open_faces

PROG = "python -m benchmarks.similarity"
SIZE = (112, 112)
THRESHOLDS = "0.40,0.45,0.50,0.55,0.60,0.65"


def main(argv: list[str]) -> None:
    """Print the table, Markdown."""
    data = Path("../shared/data")
    parser = cli.Parser(prog=PROG, description=__doc__)
    parser.add_argument("--images", type=Path, default=data / "lfw/images", metavar="DIR", help="image folders")
    parser.add_argument("--others", type=Path, default=data / "train", metavar="SET", help="a set of other identities")
    parser.add_argument("--model", default=str(data / "weights/mobilefacenet-y1-ms1m") + ",0", metavar="PREFIX,EPOCH")
    parser.add_argument("--thresholds", type=comma_separated(cli.fraction), default=THRESHOLDS, metavar="T,T,...",
                        help="cosines")
    parser.add_argument("--embed-images", type=cli.at_least(1), default=10, metavar="N",
                        help="largest number of images in a mean")
    parser.add_argument("--repeats", type=cli.at_least(1), default=3, metavar="N", help="splits")
    parser.add_argument("--seed", type=cli.at_least(0, 1 << 31), default=0,
                        help="seed of the first split; then N + 1, ...")
    args = parser.parse_args(argv)
    checkpoint = CheckpointSpec(*cli.parse_checkpoint_name(args.model, "--model"), images=args.embed_images)
    embedder = MeanEmbedder(checkpoint, SIZE)
    print(machine())
    with open_faces(args.images) as faces, open_faces(args.others) as others:
        people = [number for number, images in enumerate(faces.images) if len(images) > 1]
        splits = []
        for repeat in range(args.repeats):
            random = np.random.RandomState(args.seed + repeat)
            parts = [halves(faces.images[number], random) for number in people]
            one, other = (embedder.means(faces, side) for side in zip(*parts))
            splits.append(one @ other.T)
        several = np.array([len(faces.images[number]) > 3 for number in people])
        nearest = best_matches(embedder.means(others, others.images), embedder.means(faces, faces.images))[1]
        names = [faces.names[number] for number in people]
    print("\n".join(table(splits, several, nearest, args.thresholds)))
    print(f"most similar of different identities: {most_alike(splits, names)}")


def halves(images: np.ndarray, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """The images, shuffled, in two parts; the first has one more where their number is odd."""
    shuffled = random.permutation(images)
    return shuffled[:-(-len(images) // 2)], shuffled[-(-len(images) // 2):]


def counts(cosines: np.ndarray, several: np.ndarray, threshold: float) -> tuple[float, float, int]:
    """(share of all halves that are found, share of those marked in `several`, pairs of different people that are).

    cosines (N, N): of all first halves with all second halves.
    """
    found = cosines >= threshold
    own = np.diagonal(found)
    return float(own.mean()), float(own[several].mean()), int(found.sum() - own.sum())


def table(splits: Sequence[np.ndarray], several: np.ndarray, nearest: np.ndarray, thresholds: Sequence[float]
          ) -> list[str]:
    """The lines of a Markdown table; a row is the mean over the splits, with the range of the false matches."""
    people = len(several)
    lines = [f"| `--threshold` | halves found, {people:,} identities | halves found, {int(several.sum()):,} identities "
             f"with two images or more a half | halves of different identities above it, of {people * (people - 1):,} "
             f"| of {len(nearest)} other identities, matched |", "|---|---|---|---|---|"]
    for threshold in thresholds:
        rows = [counts(cosines, several, threshold) for cosines in splits]
        whole, part, wrong = np.mean(rows, axis=0)
        least, most = min(row[2] for row in rows), max(row[2] for row in rows)
        lines.append(f"| {threshold:.2f} | {whole:.1%} | {part:.2%} | {wrong:.0f} ({least} to {most}) | "
                     f"{int((nearest >= threshold).sum())} |")
    return lines


def most_alike(splits: Sequence[np.ndarray], names: Sequence[str], shown: int = 5) -> str:
    """The names of the pairs of different people with the highest cosine in any of the splits."""
    best = np.max([np.maximum(cosines, cosines.T) for cosines in splits], axis=0)
    best[np.tril_indices(len(best))] = -1
    places = (np.unravel_index(place, best.shape) for place in np.argsort(best, axis=None)[::-1])
    return ", ".join(f"{names[one]} and {names[other]} {best[one, other]:.2f}"
                     for one, other in itertools.islice(places, shown))


if __name__ == "__main__":
    run_benchmark(main)

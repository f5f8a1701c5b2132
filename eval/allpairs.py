"""`allpairs`: every genuine and every impostor pair of a labelled set, with intervals over its people."""
from __future__ import annotations

import argparse
import csv
import io
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from common.files import write_atomic
from common.progress import meter
from eval.all_pairs import CODES, AllPairs, Side, count_pairs, score_all_pairs
from eval.arguments import add_bootstrap_flags, add_embedding_flags, add_set_flags, fpr_list
from eval.bootstrap import PeopleBootstrap, interval, share_of_other_sign
from eval.error_sources import false_accepts, review
from eval.face_sets import open_face_set, read_groups
from eval.metrics import crossing, eer
from eval.models import parse_models
from eval.operating_points import OperatingPoint, allowed, operating_point
from eval.set_embeddings import choose_sides, embeddings_of

log = logging.getLogger(__name__)
EXACT = 1 << 22  # impostor pairs up to which all their scores are kept, and the EER is exact
SPARE = 4  # times the impostor scores that the largest FPR needs: a resample may need more
DESCRIPTION = """\
Score every image of a labelled set against every other, or one group of its images against another.

  python -m eval allpairs --model runs/a/model,3 runs/b/model,3 --set cfp/Data/Images --between frontal,profile
  python -m eval allpairs --model runs/a/model,3 --set data/ --fpr 1e-3,1e-5 --audit review.csv

A protocol's few thousand pairs leave a handful of false accepts behind a TPR at FPR 0.1%; all pairs of the same images
leave thousands. Intervals are percentile bootstrap over people, differences are to the first model on the same
resamples. A TPR with fewer than 10 false accepts behind it is marked ~, one with none is not given.
Groups are the folders inside the identities' folders, or --groups FILE.csv (path or key, group)."""


@dataclass(frozen=True)
class Scored:
    """A model's result: points by FPR, their draws, and who is behind the false accepts at the first FPR."""

    model: str
    genuine: int
    impostors: int
    points: list[OperatingPoint]
    draws: list[np.ndarray]
    eer: float
    false_accepts: dict[str, object]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("allpairs", help="score all pairs of a labelled set", description=DESCRIPTION)
    add_set_flags(parser)
    parser.add_argument("--fpr", type=fpr_list, default="1e-2,1e-3,1e-4,1e-5", metavar="RATE[,RATE...]",
                        help="false positive rates at which TPR is told")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too, by model and set")
    parser.add_argument("--embeddings", metavar="DIR", help="keep each checkpoint's embeddings there, as .npz files "
                        "that --model takes")
    parser.add_argument("--audit", metavar="FILE.csv",
                        help="write what may be wrongly labelled: people alike, images unlike their person")
    add_embedding_flags(parser)
    add_bootstrap_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Embed, score, print the table, write the files."""
    models = parse_models(args.model)
    with open_face_set(Path(args.set)) as faces:
        names, labels, people = faces.names, faces.labels, faces.people
        groups = read_groups(Path(args.groups), names) if args.groups else faces.folders
        left, right = choose_sides(args, labels, groups)
        made = [embeddings_of(model, faces, args) for model in models]
    results = []
    bootstrap = PeopleBootstrap(len(people), labels[left], None if right is None else labels[right], args.bootstrap,
                                args.seed) if args.bootstrap else None
    for model, embedded in zip(models, made):
        results.append(_score(model.text, embedded.embeddings, labels, people, (left, right), args.fpr, bootstrap))
    print(table(results))
    if args.json:
        write_atomic(args.json, json.dumps({result.model: {args.set: _row(result, results[0], args)} for result in
                                            results}, indent=1) + "\n")
    if args.audit:
        _write_review(args.audit, made[0].embeddings, labels, people, names)
    return 0


def _score(model: str, unit: np.ndarray, labels: np.ndarray, people: list[str],
           sides: tuple[np.ndarray, np.ndarray | None], fpr: list[float], bootstrap: PeopleBootstrap | None) -> Scored:
    left, right = (None if side is None else Side(unit[side], labels[side]) for side in sides)
    genuine, impostors = count_pairs(left, right)
    keep = max(SPARE * (allowed(max(fpr), impostors) + 1000), EXACT)
    with meter(genuine + impostors, f"{model}: pairs", "pairs") as bar:
        scored = score_all_pairs(left, right, keep, bar.update)
    points = [operating_point(scored.genuine, scored.tail, scored.impostors, rate) for rate in fpr]
    behind = scored.tail_pair[:points[0].false_accepts]
    other = left if right is None else right
    blamed = false_accepts(left.person[behind[:, 0]], other.person[behind[:, 1]])
    told = {**asdict(blamed), "top": [[people[person], share] for person, share in blamed.top]}
    draws = [bootstrap.tpr(scored, rate) for rate in fpr] if bootstrap else []
    return Scored(model, len(scored.genuine), scored.impostors, points, draws, equal_error_rate(scored), told)


def equal_error_rate(scored: AllPairs) -> float:
    """Where FPR and FNR cross; from the histogram (steps of 3e-5 in cosine) where not all scores were kept."""
    if len(scored.tail) == scored.impostors:
        scores = np.concatenate([scored.genuine, scored.tail]).astype(np.float64)
        return eer(2 - 2 * scores, np.arange(len(scores)) < len(scored.genuine))
    codes = np.rint(scored.genuine * 32767.0 + 32768).astype(np.int64)
    genuine = np.bincount(codes, minlength=CODES)[::-1]
    fpr, tpr = np.cumsum(scored.histogram[::-1]) / scored.impostors, np.cumsum(genuine) / len(scored.genuine)
    return crossing(np.append(0.0, fpr), np.append(0.0, tpr))


def _row(result: Scored, first: Scored, args: argparse.Namespace) -> dict[str, object]:
    row = {"genuine": result.genuine, "impostors": result.impostors, "eer": result.eer,
           "tpr_at_fpr": {f"{point.fpr_target:g}": point.tpr for point in result.points},
           "false_accepts": {f"{point.fpr_target:g}": point.false_accepts for point in result.points},
           "thresholds": {f"{point.fpr_target:g}": point.as_row() for point in result.points},
           "false_accepts_of": result.false_accepts, "set": args.set, "between": args.between or "",
           "flip": not args.no_flip, "layer": args.layer, "bootstrap": args.bootstrap, "seed": args.seed}
    if result.draws:
        row["interval"] = {f"{point.fpr_target:g}": [interval(draws).low, interval(draws).high]
                           for point, draws in zip(result.points, result.draws)}
        if result is not first:
            row["difference"] = {}
            for ours, theirs, mine, others in zip(result.points, first.points, result.draws, first.draws):
                change = (ours.tpr or 0.0) - (theirs.tpr or 0.0)
                limits = interval(mine - others)
                row["difference"][f"{ours.fpr_target:g}"] = {
                    "to": first.model, "tpr": change, "interval": [limits.low, limits.high],
                    "other_sign": share_of_other_sign(change, mine - others)}
    return row


def table(results: list[Scored]) -> str:
    """A block for each model: a row for every FPR, with interval, false accepts and threshold; then who is behind."""
    lines = []
    for result in results:
        lines.append(f"{result.model}: {result.genuine} genuine, {result.impostors} impostor pairs, EER "
                     f"{100 * result.eer:.2f}%")
        lines.append(f"  {'FPR':>7}  {'TPR %':>7}  {'95% interval':>16}  {'false accepts':>13}  {'distance':>8}  "
                     f"{'cosine':>7}" + ("" if result is results[0] else "  difference to the first (other sign)"))
        for number, point in enumerate(result.points):
            draws = result.draws[number] if result.draws else None
            limits = interval(draws) if draws is not None else None
            rate = "-" if point.tpr is None else f"{'~' if point.few else ''}{100 * point.tpr:.2f}"
            line = (f"  {point.fpr_target:>7g}  {rate:>7}  "
                    f"{f'{100 * limits.low:.2f} to {100 * limits.high:.2f}' if limits else '':>16}  "
                    f"{point.false_accepts:>13}  {point.threshold:>8.4f}  {point.cosine:>7.4f}")
            if draws is not None and result is not results[0]:
                change = 100 * ((point.tpr or 0) - (results[0].points[number].tpr or 0))
                apart = draws - results[0].draws[number]
                lines_of = interval(apart)
                line += (f"  {change:+.2f} [{100 * lines_of.low:+.2f}, {100 * lines_of.high:+.2f}] "
                         f"({100 * share_of_other_sign(change, apart):.1f}%)")
            lines.append(line)
        behind = result.false_accepts
        if behind["count"]:
            lines.append(f"  the {behind['count']} false accepts at FPR {result.points[0].fpr_target:g} are of "
                         f"{behind['people']} people; {100 * behind['top_share']:.1f}% have one of "
                         + ", ".join(str(name) for name, _ in behind["top"]))
    return "\n".join(lines)


def _write_review(path: str, unit: np.ndarray, labels: np.ndarray, people: list[str], names: list[str]) -> None:
    stream, count = io.StringIO(), 0
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["what", "first", "second", "cosine"])
    for what, first, second, cosine in review(unit, labels, people, names):
        rows.writerow([what, first, second, f"{cosine:.4f}"])
        count += 1
    write_atomic(path, stream.getvalue().encode("utf-8", "surrogateescape"))
    log.info("%d rows to look at in %s", count, path)

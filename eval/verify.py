"""`verify`: the paper's table row of a model for every set of pairs."""
from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any, Mapping, Sequence

from common.errors import UserError
from common.files import PathLike, write_json
from eval.arguments import (
    FOLDS,
    add_bootstrap_flags,
    add_embedding_flags,
    add_model_flag,
    add_pca_flags,
    add_rate_flags,
    add_scores_flag,
    check_outputs,
)
from eval.best_epoch import best_epochs
from eval.failures import read_failures
from eval.fixed_threshold import Chosen
from eval.metrics import FewPairs
from eval.models import ModelName, parse_models
from eval.opening import EmbeddingSettings
from eval.operating_points import allowed
from eval.other_set import from_elsewhere
from eval.pair_scoring import ScoredSet, ScoringSettings, score_models
from eval.score_file import write_scores
from eval.score_folders import score_files
from eval.verification import VerificationSet, each_once
from eval.verify_table import difference_table, fixed_table, interval_table, table
from recordio_tools.bins.binfile import is_bin

log = logging.getLogger(__name__)
DESCRIPTION = """\
Score models on verification sets and print one row for each.

  python -m eval verify --model runs/a/model,3 --bins data/lfw.bin data/cfp_fp.bin --json scores.json
  python -m eval verify --model runs/a/model,3 other.onnx --bins data/cfp_fp.bin --threshold-from data/lfw.bin

The embeddings of an image and its mirror image are added and normalised; a pair's score is the squared L2 distance.
  accuracy  over 10 consecutive folds, each at the threshold that is best on the others (grid 0..4, step 0.01)
  TPR       over all pairs, at the largest observed FPR that does not exceed --fpr
  EER, AUC  of the ROC curve over all pairs
  XNorm     mean norm of the embeddings before normalisation

A TPR based on fewer than 10 false accepts is marked ~, with their number: it is unreliable, use allpairs.
--json has, by model and set, false accepts, thresholds, 95% intervals over pairs, differences to the first model;
the log has intervals and false accepts, and each further model's differences are below its table.
--threshold X, or --threshold-from of another set, gives the rates at a threshold fixed beforehand."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """The command's flags."""
    parser = subparsers.add_parser("verify", help="score models on sets of pairs", description=DESCRIPTION)
    add_model_flag(parser)
    parser.add_argument("--bins", required=True, nargs="+", metavar="FILE.bin", help="verification sets")
    add_rate_flags(parser, "1e-3", "a .bin, or a labelled set")
    add_scores_flag(parser)
    add_pca_flags(parser, "on the other folds")
    add_embedding_flags(parser, keep=True)
    add_bootstrap_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify, print the tables, write the files."""
    check_outputs(args, ("json",), ("scores", "embeddings"))
    models = parse_models(args.model)
    embedding = EmbeddingSettings.of(args)
    failures = read_failures(args.failures) if args.failures else None
    sets = open_sets(args.bins, args.folds)
    if failures and len(sets) > 1:
        raise UserError(f"--failures {args.failures}: is of one set, whose images or pairs it lists, and --bins names "
                        f"{len(sets)}; give one at a time")
    pairs = args.threshold_from and is_bin(Path(args.threshold_from))
    source = _open(args.threshold_from, args.folds) if pairs else None
    chosen = {} if pairs or not args.threshold_from else _of_labelled_set(models, args)
    scoring = ScoringSettings(args.fpr, args.pca or 0, args.folds, args.bootstrap, args.seed, args.threshold, source,
                              failures, chosen)
    for target in sets:
        _warn_of_few_pairs(target, args.fpr)
    settings = {"layer": args.layer, "flip": not args.no_flip, "pca": args.pca, "folds": args.folds,
                "bootstrap": args.bootstrap, "seed": args.seed}
    found: dict[str, dict[str, ScoredSet]] = {}
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    first: dict[str, tuple[str, ScoredSet]] = {}  # by set the first model that is scored on it
    scores = score_files(args, models, [target.name for target in sets])
    for model, by_set in score_models(models, sets, embedding, scoring):
        if len(models) > 1:
            print(f"{model.text}:")
        behind: dict[str, dict[str, Any]] = {}
        for name, scored in by_set.items():
            origin, theirs = first.setdefault(name, (model.text, scored))
            behind[name] = scored.statistics.as_row(theirs.statistics, origin, scored.result, theirs.result)
        differences = difference_table({name: row.get("difference", {}) for name, row in behind.items()})
        print("\n".join([*_tables(by_set), *filter(None, [differences])]), flush=True)
        for line in interval_table(by_set).splitlines():
            log.info("%s", line)
        found[model.text] = by_set
        rows[model.text] = {name: {**scored.as_row(), **behind[name], "model": model.text, **settings}
                            for name, scored in by_set.items()}
        for target, path in zip(sets, scores.get(model.text, ())):
            if target.name in by_set:  # an embeddings file is of some sets
                write_scores(path, by_set[target.name].scores(embedding, scoring))
    for best in best_epochs(models, {text: {name: scored.result.accuracy for name, scored in by_set.items()}
                                     for text, by_set in found.items()}):
        print(best)
        rows[best.model][best.chosen_on]["best"] = best.as_row()
    if args.json:
        write_json(args.json, rows)
    return 0


def _of_labelled_set(models: Sequence[ModelName], args: argparse.Namespace) -> dict[str, list[Chosen]]:
    """Of each model the thresholds that --threshold-from has at each --fpr over all of its pairs."""
    if args.pca:
        raise UserError("--pca with --threshold-from of a labelled set: pairs are projected fold by fold, and that set "
                        "has no folds; give a .bin, or leave --pca out")
    whole = argparse.Namespace(**vars(args), between=None, groups=None)
    return {model.text: from_elsewhere(model, whole).thresholds for model in models}


def open_sets(paths: Sequence[str], folds: int | None = None) -> list[VerificationSet]:
    """The sets of --bins, each once, those of equal name by their paths; UserError for an invalid one. folds: None
    where a command always has the usual ones."""
    sets = [_open(path, folds) for path in each_once(paths, "`bins`")]
    names = [target.name for target in sets]
    for target, name in zip(sets, names):
        if names.count(name) > 1:
            target.name = str(target.path)
    return sets


def _open(path: PathLike, folds: int | None) -> VerificationSet:
    try:
        return VerificationSet(path, FOLDS if folds is None else folds)
    except FewPairs as error:
        if folds is None:
            raise
        raise UserError(f"{error}; {FewPairs.FIX}") from None


def _tables(by_set: Mapping[str, ScoredSet]) -> list[str]:
    fixed = fixed_table({name: scored.fixed for name, scored in by_set.items()})
    lost = [f"{name}: {scored.readings}" for name, scored in by_set.items() if scored.readings]
    return [table(by_set), *([fixed] if fixed else []), *lost]


def _warn_of_few_pairs(target: VerificationSet, rates: list[float]) -> None:
    different = int((~target.same).sum())
    for rate in rates:
        if not allowed(rate, different):
            log.warning("%s: has %d different pairs, so TPR at FPR %g is not given: no false accept is allowed",
                        target.name, different, rate)

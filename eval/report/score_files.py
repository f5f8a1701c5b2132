"""The scores of a report's pairs as files, as verify and allpairs write them."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from eval.embedding_file import Embeddings
from eval.models import ModelName, checkpoint_digest, file_digest
from eval.pair_embeddings import places
from eval.pair_list import write_all_scores
from eval.report.embedding import Embedded
from eval.report.measuring import Inputs
from eval.report.pair_sets import PairSet
from eval.score_file import PairScores, write_scores
from eval.set_scoring import labelled_pairs
from eval.verification import fold_numbers
from eval.verify import score_folders


def write_report_scores(models: Sequence[ModelName], embedded: Sequence[Embedded], sets: Sequence[PairSet],
                        inputs: Inputs, names: Sequence[str], args: argparse.Namespace) -> None:
    """DIR/[MODEL/]SET.csv for every set; names: of the labelled set's images."""
    folders = score_folders(models)
    for number, (model, one) in enumerate(zip(models, embedded)):
        folder = Path(args.scores) / folders[model.text]
        meta: dict[str, Any] = {"model": {"name": model.text, "sha256": _digest(model)}, "layer": args.layer,
                                "flip": not args.no_flip, "pca": args.pca}
        for target, of_set in zip(sets, inputs.places):
            result, named = target.scored[number].result, places(target.target)
            norms = one.norms[of_set[target.target.order]]
            told = {**meta, "set": {"name": target.name, "sha256": target.target.digest}, "folds": args.folds}
            write_scores(folder / f"{target.name.replace('/', '_')}.csv", PairScores(
                named[0::2], named[1::2], result.same, result.scores, fold_numbers(result.pairs, args.folds),
                norms[0::2], norms[1::2], told))
        if inputs.faces is not None:
            faces, rows = inputs.faces, inputs.face_places
            write_all_scores(folder / f"{Path(args.set).absolute().name}.csv", Embeddings(
                one.unit[rows], one.norms[rows], np.array(names), faces.labels, {**meta, "set": {"path": args.set}}),
                labelled_pairs(faces.labels, faces.people, faces.sides, resamples=0))


def _digest(model: ModelName) -> str:
    return checkpoint_digest(model.prefix, model.epoch) if model.prefix else file_digest(
        model.onnx or model.embeddings)

"""The scores of a report's pairs as files, as verify and allpairs write them."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from eval.embedding_file import Embeddings, digest_in
from eval.models import ModelName, network_digest
from eval.pair_embeddings import places
from eval.pair_list import write_all_scores
from eval.report.embedding import Embedded
from eval.report.measuring import Inputs
from eval.report.pair_sets import PairSet
from eval.score_file import PairScores, write_scores
from eval.set_scoring import labelled_pairs
from eval.verification import VerificationSet, fold_numbers


def origin_of(model: ModelName, given: Mapping[str, Embeddings], args: argparse.Namespace) -> dict[str, Any]:
    """The `model`, `layer` and `flip` of a model's scores; given: embeddings read from files, by their models, which
    have the network in their metadata."""
    if model.text in given:
        meta = given[model.text].meta
        return {"model": meta.get("model"), "layer": meta.get("layer"), "flip": not args.no_flip}
    return {"model": {"name": model.text, "sha256": network_digest(model)}, "layer": args.layer,
            "flip": not args.no_flip}


def described(origin: Mapping[str, Any], digest: str, args: argparse.Namespace) -> dict[str, Any]:
    """The provenance in a row of the JSON: model, set (by sha256) and settings, as in those of `verify` and
    `allpairs`."""
    return {"model_sha256": digest_in(origin, "model"), "set_sha256": digest,
            "layer": args.layer, "flip": origin["flip"], "pca": args.pca, "bootstrap": args.bootstrap,
            "seed": args.seed}


def report_set_names(sets: Sequence[VerificationSet], args: argparse.Namespace) -> list[str]:
    """Of the files of --scores: the sets of pairs, then the labelled set, where there is one."""
    return [*(target.name for target in sets), *([Path(args.set).absolute().name] if args.set else [])]


def write_report_scores(files: Sequence[Sequence[Path]], origins: Sequence[dict[str, Any]],
                        embedded: Sequence[Embedded], sets: Sequence[PairSet], inputs: Inputs, names: Sequence[str],
                        args: argparse.Namespace) -> None:
    """The scores of each model in its files, one for each of `report_set_names`; origins: what `origin_of` says of each
    model; names: of the labelled set's images."""
    for number, (origin, one, paths) in enumerate(zip(origins, embedded, files)):
        for target, of_set, path in zip(sets, inputs.places, paths):
            result, named = target.scored[number].result, places(target.target)
            norms = one.norms[of_set[target.target.order]]
            meta = {**origin, "set": {"name": target.name, "sha256": target.target.digest}, "pca": args.pca or 0,
                    "folds": args.folds}
            write_scores(path, PairScores(
                named[0::2], named[1::2], result.same, result.scores, fold_numbers(result.pairs, args.folds),
                norms[0::2], norms[1::2], meta))
        if inputs.faces is not None:
            faces, rows = inputs.faces, inputs.face_places
            write_all_scores(paths[-1], Embeddings(
                one.unit[rows], one.norms[rows], np.array(names), faces.labels,
                {**origin, "set": {"path": args.set, "sha256": faces.digest}}),
                labelled_pairs(faces.labels, faces.people, faces.sides, resamples=0), pca=args.pca)

"""Where `--scores` puts the scores of each model on each set: `DIR/[MODEL/]SET.csv`, with `SET.json` beside it."""
from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Iterable, Sequence

from common.errors import UserError
from eval.models import ModelName
from eval.score_file import description


def distinct(names: Iterable[str]) -> list[str]:
    """Each name as it is, or with -2, -3 ... where an earlier one has it already."""
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found:
            number += 1
            free = f"{name}-{number}"
        found.append(free)
    return found


def score_folders(models: Sequence[ModelName]) -> dict[str, str]:
    """The subfolder for each model's files, by its text: "" for one model, else a distinct name for each."""
    if len(models) == 1:
        return {models[0].text: ""}
    stems = [model.stem for model in models]
    names = [stem if stems.count(stem) == 1 else
             model.text.replace("/", "_").replace(",", "-").lstrip("._") or "model" for model, stem in
             zip(models, stems)]
    return dict(zip((model.text for model in models), distinct(names)))


def score_files(args: argparse.Namespace, models: Sequence[ModelName], sets: Iterable[str],
                others: Sequence[str] = ("json",)) -> dict[str, list[Path]]:
    """By the model's text the CSV of each set, by their names, in the folder of `--scores`; {} without that flag.

    UserError where one of `others`, flags of the command, names one of these files or the description beside it.
    """
    if not args.scores:
        return {}
    files = distinct(name.replace("/", "_") for name in sets)
    found = {model: [Path(args.scores) / within / f"{file}.csv" for file in files]
             for model, within in score_folders(models).items()}
    refuse_these(args, others, (path for scores in found.values() for score in scores
                                for path in (score, description(score))), f"--scores {args.scores}")
    return found


def refuse_these(args: argparse.Namespace, others: Sequence[str], paths: Iterable[Path], writer: str) -> None:
    """UserError where one of `others`, flags of the command, names a file of `paths`, which `writer` writes."""
    written = {os.path.realpath(path) for path in paths}
    for name in others:
        path = getattr(args, name, None)
        if path and os.path.realpath(path) in written:
            raise UserError(f"--{name} {path}: is a file that {writer} writes; name another file")

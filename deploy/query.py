"""What `compare` and `search` share: what they open, and how they name an image that cannot be used."""
from __future__ import annotations

import argparse

from deploy.arguments import check_json_file
from deploy.models import ServedModel
from deploy.photographs import Photograph
from deploy.thresholds import Threshold, choose_threshold
from eval.arguments import files_read
from eval.score_file import description


def open_query(args: argparse.Namespace) -> tuple[ServedModel, Threshold | None]:
    """The model, and the threshold if one was given; UserError where they or the file of --json cannot be used."""
    described = [str(description(args.scores))] if args.scores else []
    check_json_file(args.json, [*files_read(args, ["json"]), *described])
    model = ServedModel(args)
    return model, choose_threshold(args, model.sha256, model.layer)


def unusable(photograph: Photograph, detector: str | None) -> str:
    """One line on an image that cannot be used."""
    if photograph.reason.startswith("is ") and not detector:
        return f"{photograph.name}: {photograph.reason}; --detector MODELDIR cuts faces out of photographs"
    return f"{photograph.name}: cannot be used: {photograph.reason}"

"""What `compare` and `search` share: the flags of a question about a few photographs, and what they open."""
from __future__ import annotations

import argparse

from deploy.arguments import add_face_flags, add_json_flag, add_model_flags, check_json_file
from deploy.models import ServedModel
from deploy.photographs import Photograph
from deploy.thresholds import Threshold, add_threshold_flags, choose_threshold

BATCH = 8  # batch size: there are few images


def add_query_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of model, detection, threshold and JSON."""
    add_model_flags(parser, BATCH)
    add_face_flags(parser)
    add_threshold_flags(parser)
    add_json_flag(parser)


def open_query(args: argparse.Namespace) -> tuple[ServedModel, Threshold | None]:
    """The model, and the threshold if one was given; UserError where they or the file of --json cannot be used."""
    check_json_file(args.json)
    model = ServedModel(args)
    return model, choose_threshold(args, model.sha256, model.layer)


def unusable(photograph: Photograph, detector: str | None) -> str:
    """One line on an image that cannot be used."""
    if photograph.reason.startswith("is ") and not detector:
        return f"{photograph.name}: {photograph.reason}; --detector MODELDIR cuts faces out of photographs"
    return f"{photograph.name}: cannot be used: {photograph.reason}"

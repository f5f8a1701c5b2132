"""What `compare` and `search` share: the flags of a question about a few photographs."""
from __future__ import annotations

import argparse

from deploy.arguments import add_face_flags, add_json_flag, add_model_flags
from deploy.thresholds import add_threshold_flags

BATCH = 8  # images at a time: there are few


def add_query_flags(parser: argparse.ArgumentParser) -> None:
    """The model, where faces are, the threshold, and JSON."""
    add_model_flags(parser, BATCH)
    add_face_flags(parser)
    add_threshold_flags(parser)
    add_json_flag(parser)

"""Flags that `ijb` and `identify` share, and those of other commands that they refuse with the reason."""
from __future__ import annotations

import argparse

from eval.arguments import NO_FAILURES, add_bootstrap_flags, add_embedding_flags, add_refused_flags


def add_template_flags(parser: argparse.ArgumentParser, what: str, rates: str) -> None:
    """what: is scored, in messages; rates: the flags whose rates have thresholds."""
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON, by model")
    add_embedding_flags(parser, keep=True)
    add_bootstrap_flags(parser)
    fixed = f"each {rates} has its own threshold, which --json gives; allpairs --threshold gives rates at a fixed one"
    add_refused_flags(parser, {
        "--pca": f"{what} uses whole embeddings; leave it out (verify and allpairs have it)",
        "--folds": f"{what} has no folds; leave it out (verify has them)",
        "--threshold": fixed, "--threshold-from": fixed, **NO_FAILURES})

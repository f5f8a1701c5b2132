"""The report's rates at given thresholds, or at those chosen on another set."""
from __future__ import annotations

import argparse
from typing import Sequence

from eval.bootstrap import draw_resamples
from eval.fixed_threshold import FixedPoint, rates_below
from eval.other_set import FromElsewhere
from eval.report.html import Html, paragraph, section, table
from eval.report.pair_sets import PairSet
from eval.verify_table import fixed_rows


def pairs_at_threshold(target: PairSet, elsewhere: Sequence[FromElsewhere],
                       args: argparse.Namespace) -> list[list[FixedPoint]]:
    """Each model's rates on a set of pairs."""
    count = len(target.target.same)
    drawn = draw_resamples(count, args.bootstrap, args.seed) if args.bootstrap else None
    return [[rates_below(scored.result.scores, scored.result.same, distance, drawn, name, rate)
             for name, rate, distance in other.thresholds] for scored, other in zip(target.scored, elsewhere)]


def threshold_section(found: dict[str, list[FixedPoint]]) -> Html:
    """found: rates by set and model."""
    head, *rows = fixed_rows(found)
    return section("At a threshold", paragraph(
        "Rates at squared distances that were not chosen on the set itself: the rates in deployment with a threshold "
        "fixed beforehand. Intervals are over pairs for sets of pairs, and over identities for all pairs."),
        table(["set, model", *head[1:]], rows))

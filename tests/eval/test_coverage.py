"""Intervals hold the truth as often as they say, on scores that are drawn from a known law.

Every draw is seeded, so a share is one number that does not change; its bounds are those of a share of that many
independent draws around 95%, three standard deviations wide.
"""
from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from eval.bootstrap import draw_resamples, interval, pairs_curve_rates, pairs_tpr
from eval.fixed_threshold import limits_of, rates_below

GENUINE, IMPOSTOR, SPREAD = 0.55, 0.0, 0.2  # normal cosines
PAIRS, RESAMPLES, TRIALS = 1000, 100, 100


def draw(random):
    same = np.arange(PAIRS) % 2 == 0
    return random.normal(np.where(same, GENUINE, IMPOSTOR), SPREAD), same


def bounds(trials, level=0.95, slack=0.02):
    """Percentile intervals of 100 resamples are a little short: 2 points."""
    spread = 3 * np.sqrt(level * (1 - level) / trials)
    return level - slack - spread, min(level + spread, 1.0)


def share(hits, trials=TRIALS):
    low, high = bounds(trials)
    assert low <= np.mean(hits) <= high, np.mean(hits)


def test_intervals_over_pairs_hold_the_truth():
    random, hits = np.random.RandomState(1), {"tpr": [], "eer": [], "auc": []}
    truth = {"tpr": norm.sf(norm.isf(0.1, IMPOSTOR, SPREAD), GENUINE, SPREAD),
             "eer": norm.cdf(-(GENUINE - IMPOSTOR) / 2 / SPREAD),
             "auc": norm.cdf((GENUINE - IMPOSTOR) / SPREAD / np.sqrt(2))}
    for trial in range(TRIALS):
        cosines, same = draw(random)
        drawn = draw_resamples(PAIRS, RESAMPLES, trial)
        eers, areas = pairs_curve_rates(2 - 2 * cosines, same, drawn)
        for name, values in (("tpr", pairs_tpr(cosines, same, 0.1, drawn)), ("eer", eers), ("auc", areas)):
            limits = interval(values)
            hits[name].append(limits.low <= truth[name] <= limits.high)
    for found in hits.values():
        share(found)


def test_intervals_at_a_fixed_threshold_hold_the_truth():
    random, hits = np.random.RandomState(2), []
    truth = norm.sf(0.3, GENUINE, SPREAD), norm.sf(0.3, IMPOSTOR, SPREAD)
    for trial in range(TRIALS):
        cosines, same = draw(random)
        point = rates_below(2 - 2 * cosines, same, 2 - 2 * 0.3, draw_resamples(PAIRS, RESAMPLES, trial))
        hits.append((point.tpr_limits[0] <= truth[0] <= point.tpr_limits[1],
                     point.fpr_limits[0] <= truth[1] <= point.fpr_limits[1]))
    for found in zip(*hits):
        share(found)


@pytest.mark.parametrize("total", [1, 10, 3000])
def test_where_none_or_all_passed_the_far_end_is_the_rate_that_chance_allows(total):
    """Of a rate p all `total` pairs fail with a probability of (1 - p) ** total, which is 2.5% there."""
    far = 1 - 0.025 ** (1 / total)
    assert limits_of(np.zeros(50), 0, total) == (0, pytest.approx(far))
    assert limits_of(np.ones(50), total, total) == (pytest.approx(1 - far), 1)
    draws = np.linspace(0.2, 0.4, 201)
    assert limits_of(draws, 1, total + 1) == pytest.approx((0.205, 0.395))

"""All pairs in blocks, their operating points and their bootstrap, against plain numpy and known truths."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

from eval import all_pairs, largest_scores, metrics
from eval.all_pairs import Side, count_pairs, score_all_pairs
from eval.bootstrap import (
    PeopleBootstrap,
    draw_resamples,
    interval,
    pairs_tpr,
    share_of_other_sign,
    weighted_tpr,
)
from eval.curve_rates import equal_error_rate
from eval.error_sources import false_accepts, review
from eval.failures import Failures, pairs_readings
from eval.operating_points import operating_point
from eval.pair_statistics import statistics
from eval.report.pair_sets import _rate_at
from eval.verification import score_set
from training.validation import result_row, result_text


def draw(seed, images, people, size=8, noise=1.0):
    """Unit embeddings around a point of each person, and whose they are, in no order."""
    random = np.random.RandomState(seed)
    person = random.randint(0, people, images)
    unit = random.randn(people, size)[person] + noise * random.randn(images, size)
    return Side((unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32), person)


def by_numpy(left, right=None):
    """Cosines of all pairs at once, whether genuine, and the images."""
    other = left if right is None else right
    cosines = (left.unit.astype(np.float64) @ other.unit.T.astype(np.float64))
    rows, columns = (np.triu_indices(len(left.unit), 1) if right is None
                     else map(np.ravel, np.indices(cosines.shape)))
    return cosines[rows, columns], left.person[rows] == other.person[columns], np.stack([rows, columns], 1)


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("block, keep", [(16, 50), (64, 1 << 20), (7, 1)])
def test_blocks_hold_every_pair_once(monkeypatch, cross, block, keep):
    monkeypatch.setattr(all_pairs, "BLOCK", block)
    left, right = draw(0, 90, 12), draw(1, 61, 15) if cross else None
    steps = []
    found = score_all_pairs(left, right, keep, steps.append)
    cosines, genuine, places = by_numpy(left, right)
    assert (len(found.genuine), found.impostors) == (genuine.sum(), (~genuine).sum()) == count_pairs(left, right)
    np.testing.assert_allclose(found.genuine, np.sort(cosines[genuine]), atol=1e-6)
    falling = np.sort(cosines[~genuine])[::-1]
    assert len(found.tail) >= min(keep, len(falling))
    np.testing.assert_allclose(found.tail, falling[:len(found.tail)], atol=1e-6)
    of = {tuple(place): cosine for place, cosine in zip(places.tolist(), cosines)}
    for cosine, (one, other) in zip(found.tail[:200], found.tail_pair[:200].tolist()):
        assert of[(one, other) if cross or one < other else (other, one)] == pytest.approx(cosine, abs=1e-6)
        assert left.person[one] != (right or left).person[other]
    assert found.histogram.sum() == found.impostors
    centres = (np.arange(all_pairs.CODES) - all_pairs.OFFSET) / all_pairs.SCALE
    assert (found.histogram * centres).sum() / found.impostors == pytest.approx(cosines[~genuine].mean(), abs=1e-4)
    for person in np.unique(left.person):
        mine = found.genuine[found.genuine_person == person]
        assert len(mine) == (genuine & (left.person[places[:, 0]] == person)).sum()
    assert sum(steps) >= len(cosines)


@pytest.mark.parametrize("cross", [False, True])
def test_the_order_of_equal_scores_does_not_depend_on_threads(monkeypatch, cross):
    monkeypatch.setattr(all_pairs, "BLOCK", 16)
    sides = []
    for seed in range(2):
        side = draw(seed, 150, 20, size=3)
        sides.append(Side((side.unit * 2).round() / 2, side.person))  # few values, exact products
    found = []
    for cores in (1, 2, 5):
        for module in (all_pairs, largest_scores):
            monkeypatch.setattr(module, "usable_cores", lambda cores=cores: cores)
        found.append(score_all_pairs(sides[0], sides[1] if cross else None, keep=700))
    assert len(np.unique(found[0].tail)) < 20 and len(found[0].tail) > 700
    for one in found[1:]:
        np.testing.assert_array_equal(one.tail, found[0].tail)
        np.testing.assert_array_equal(one.tail_pair, found[0].tail_pair)


def test_falling_order_is_the_stable_sort():
    random = np.random.RandomState(0)
    for values in (random.normal(size=5000).round(2), random.normal(size=5000), np.array([1, -1, 0.5, -0.5, 1, 2e-9])):
        values = values.astype(np.float32) + np.float32(0)  # no -0
        np.testing.assert_array_equal(largest_scores._falling_order(values), np.argsort(-values, kind="stable"))


def test_equal_scores_are_kept_and_accepted_together(monkeypatch):
    monkeypatch.setattr(all_pairs, "BLOCK", 8)
    unit = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 1, 2, 0, 3, 3, 3]]  # impostors of cosine 1 and 0 alone
    side = Side(unit, np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]))
    found = score_all_pairs(side, None, keep=2)
    cosines, genuine, _ = by_numpy(side)
    ones = int((cosines[~genuine] == 1).sum())
    assert found.tail[:ones].tolist() == [1.0] * ones
    for target in (0.01, 0.05, ones / found.impostors, 0.5, 0.9):
        if len(found.tail) <= target * found.impostors:
            continue
        point = operating_point(found.genuine, found.tail, found.impostors, target)
        assert point.false_accepts in (0, ones)
        expected = metrics.tpr_at_fpr(2 - 2 * cosines, genuine, target)
        assert point.tpr in (None, pytest.approx(expected))


@pytest.mark.parametrize("target", [0.5, 0.1, 1e-2, 1e-3, 1e-4])
def test_operating_points_are_those_of_all_scores_at_once(target):
    side = draw(3, 150, 20, noise=0.8)
    found, (cosines, genuine, _) = score_all_pairs(side), by_numpy(side)
    point = operating_point(found.genuine, found.tail, found.impostors, target)
    accepted = 2 - 2 * cosines < point.threshold
    assert (accepted & ~genuine).sum() == point.false_accepts and point.fpr == point.false_accepts / found.impostors
    assert point.fpr <= target and point.few == (point.false_accepts < 10)
    if point.tpr is None:
        assert target * found.impostors < 1
    else:
        assert point.tpr == metrics.tpr_at_fpr(2 - 2 * cosines, genuine, target)
        assert point.tpr == (accepted & genuine).sum() / genuine.sum()
    with pytest.raises(ValueError, match="do not decide"):
        operating_point(found.genuine, found.tail[:point.false_accepts], found.impostors, target)


def test_the_equal_error_rate_of_all_scores_and_of_the_histogram():
    side = draw(4, 300, 30, noise=1.2)
    cosines, genuine, _ = by_numpy(side)
    exact = metrics.eer(2 - 2 * cosines, genuine)
    assert equal_error_rate(score_all_pairs(side)) == pytest.approx(exact, abs=1e-6)
    assert equal_error_rate(score_all_pairs(side, None, 10)) == pytest.approx(exact, abs=2e-4)


@pytest.mark.parametrize("spare", [4, 0.02], ids=["enough scores at once", "lengthened"])
def test_a_resample_is_the_set_of_its_identities(monkeypatch, spare):
    """Against images written out as often as their people are drawn, copies of a person not being his impostors."""
    monkeypatch.setattr("eval.bootstrap.SPARE", spare)
    left, right, target = draw(5, 60, 9), draw(6, 50, 9), 0.05
    found = score_all_pairs(left, right)
    bootstrap = PeopleBootstrap(9, left.person, right.person, 20, seed=7)
    cosines, genuine, places = by_numpy(left, right)
    one, two = left.person[places[:, 0]], right.person[places[:, 1]]
    for drawn, got in zip(bootstrap.multiplicity, bootstrap.tpr(found, target)):
        times = np.where(genuine, drawn[one], drawn[one] * drawn[two])
        expected = metrics.tpr_at_fpr(np.repeat(2 - 2 * cosines.astype(np.float32), times), np.repeat(genuine, times),
                                      target)
        assert got == pytest.approx(expected, abs=1e-12)
    alone = PeopleBootstrap(9, left.person, None, 5, seed=7)
    cosines, genuine, places = by_numpy(left)
    one, two = left.person[places[:, 0]], left.person[places[:, 1]]
    for drawn, weight in zip(alone.multiplicity, alone.impostor_weight):
        assert weight == (drawn[one] * drawn[two])[~genuine].sum()


def test_equal_weights_are_not_weights():
    side = draw(8, 120, 15)
    found = score_all_pairs(side)
    for target in (0.3, 0.01, 0.001):
        point = operating_point(found.genuine, found.tail, found.impostors, target)
        weighted = weighted_tpr(found.genuine, np.ones(len(found.genuine)), found.tail, np.ones(len(found.tail)),
                                found.impostors, target)
        assert point.tpr is None or weighted == point.tpr


def test_intervals_over_identities_have_their_nominal_coverage():
    """People of unlike difficulty: the TPR that infinitely many of them would have, inside 95% of the intervals."""
    def world(seed, people):
        random = np.random.RandomState(seed)
        mean = random.normal(1.5, 1.0, people)  # a person's genuine pairs vary about a level of his own
        return random.normal(np.repeat(mean, 6), 0.5), random.normal(0, 1, 3000)

    many = world(0, 200_000)[0]
    truth = float(np.mean(many > 2.326348))  # FPR 1% of a standard normal
    inside, trials, people = 0, 120, 60
    genuine_person = np.repeat(np.arange(people), 6)
    for trial in range(trials):
        genuine, impostor = world(trial + 1, people)
        rising, falling = np.argsort(genuine), np.argsort(-impostor)
        random = np.random.RandomState(trial)
        resamples = draw_resamples(people, 200, trial)
        draws = np.array([weighted_tpr(genuine[rising], drawn[genuine_person][rising], impostor[falling],
                                       np.bincount(random.randint(0, 3000, 3000), minlength=3000)[falling], 3000.0,
                                       0.01) for drawn in resamples])
        limits = interval(draws)
        inside += limits.low <= truth <= limits.high
    assert 0.88 <= inside / trials <= 0.99


def test_intervals_over_pairs():
    random = np.random.RandomState(0)
    same = np.arange(400) % 2 == 0
    cosines = np.where(same, 0.5, 0.1) + random.normal(0, 0.2, 400)
    resamples = draw_resamples(400, 50, 3)
    for drawn, got in zip(resamples, pairs_tpr(cosines, same, 0.02, resamples)):
        expected = metrics.tpr_at_fpr(np.repeat(2 - 2 * cosines, drawn), np.repeat(same, drawn), 0.02)
        assert got == pytest.approx(expected, abs=1e-12)
    assert draw_resamples(9, 4, 1).sum(axis=1).tolist() == [9] * 4
    assert np.array_equal(draw_resamples(9, 4, 1), draw_resamples(9, 4, 1))


def test_the_share_of_the_other_sign():
    assert share_of_other_sign(0.1, np.array([0.1, 0.2, -0.1, 0.0])) == pytest.approx(0.25 + 0.125)
    assert share_of_other_sign(-0.1, np.array([0.1, 0.2, -0.1, 0.0, np.nan])) == pytest.approx(0.5 + 0.125)
    assert share_of_other_sign(0.0, np.zeros(4)) == 0.5


def test_who_is_behind_false_accepts_and_what_looks_wrongly_labelled():
    found = false_accepts(np.array([1, 1, 1, 2]), np.array([5, 6, 7, 3]), most=1)
    assert (found.count, found.people, found.top, found.top_share) == (4, 6, [(1, 0.75)], 0.75)
    assert false_accepts(np.array([], int), np.array([], int)).count == 0
    random = np.random.RandomState(1)
    centres = np.eye(8)[[0, 1, 2, 0]]  # the fourth person is the first under another name
    labels = np.repeat(np.arange(4), 5)
    unit = centres[labels] + 0.05 * random.randn(20, 8)
    unit[7] = centres[2]  # an image of the third among those of the second
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    rows = list(review(unit.astype(np.float32), labels, list("abcd"), [str(number) for number in range(20)]))
    assert [row[:3] for row in rows] == [("people alike", "a", "d"), ("image unlike its person", "7", "b")]


def test_the_order_of_images_changes_nothing():
    side = draw(9, 80, 10)
    found = score_all_pairs(side)
    for order in itertools.islice(map(np.random.RandomState(2).permutation, itertools.repeat(80)), 2):
        other = score_all_pairs(Side(side.unit[order], side.person[order]))
        np.testing.assert_allclose(other.genuine, found.genuine, atol=1e-6)
        np.testing.assert_allclose(other.tail, found.tail, atol=1e-6)


def test_a_rate_without_a_false_accept_is_not_given_where_the_hardest_impostors_tie():
    """100 genuine and 1,000 impostor pairs: an FPR of 0.1% allows one, but the two hardest are equal."""
    scores = np.concatenate([np.linspace(0.1, 1.1, 100), [0.6, 0.6], np.linspace(0.7, 3, 998)])
    same = np.arange(1100) < 100
    cosines = 1 - scores / 2
    right = np.stack([cosines, np.sqrt(1 - cosines ** 2)], 1)
    result = score_set("ties", np.stack([np.tile([1.0, 0.0], (1100, 1)), right], 1).reshape(2200, 2), same, 1,
                       (1e-3, 1e-2))
    found = statistics(result, (1e-3, 1e-2), 20, 0)
    assert [(point.tpr is None, point.false_accepts) for point in found.points] == [(True, 0), (False, 10)]
    assert result.tprs[1e-3] == 0.5 and "TPR at FPR 0.1% not given" in result_text(result_row(result, 1))
    assert set(found.as_row()["interval"]) == {"0.01", "eer", "auc"}
    assert _rate_at(*metrics.roc_curve(scores, same)[:2], 1e-3, 1000) == "-"
    point = operating_point(np.sort(cosines[same]), np.sort(cosines[~same])[::-1], 1000, 1e-3)
    assert point.tpr is None and point.as_row()["tpr"] is None and point.false_accepts == 0
    without = pairs_readings(Failures("f", ["2199"], []), scores, same, [3e-3, 2e-3], 10).without
    assert without["0.002"] is None and without["0.003"] is not None

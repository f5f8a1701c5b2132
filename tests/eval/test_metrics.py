"""Verification metrics against plain loops, scikit-learn and the reference's own numbers."""
from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize

from common.errors import RunError, UserError
from eval import metrics
from eval.bootstrap import draw_resamples, pairs_curve_rates, pairs_tpr
from eval.operating_points import allowed
from eval.pair_statistics import statistics
from eval.projection import fit_projection
from eval.scores import held_out, normalise, pair_scores, projected_scores


def draw(seed, pairs=137, ties=False):
    """Scores of pairs that overlap; with ties, many of them on the grid of thresholds."""
    random = np.random.RandomState(seed)
    same = random.rand(pairs) < 0.4
    scores = np.clip(random.normal(np.where(same, 1.2, 1.8), 0.4), 0, 4)
    return (np.round(scores, 1) if ties else scores), same


CASES = [draw(seed, pairs, ties) for seed, pairs, ties in
         [(0, 137, False), (1, 137, True), (2, 10, False), (3, 23, True), (4, 600, True)]]


@pytest.mark.parametrize("scores, same", CASES)
@pytest.mark.parametrize("folds", [10, 3])
def test_accuracy_equals_a_loop_over_thresholds(scores, same, folds):
    accuracies, thresholds = [], []
    for train, test in KFold(folds, shuffle=False).split(scores):
        best, best_right = None, -1
        for threshold in np.arange(0, 4, 0.01):
            right = np.sum(np.less(scores[train], threshold) == same[train])
            if right > best_right:
                best, best_right = threshold, right
        accuracies.append(np.mean((scores[test] < best) == same[test]))
        thresholds.append(best)
    expected = np.mean(accuracies), np.std(accuracies), np.mean(thresholds)
    assert metrics.accuracy_10fold(scores, same, folds) == pytest.approx(expected, abs=1e-12)


def operating_points(scores, same):
    points = []
    for threshold in [-1.0, *sorted(set(scores))]:
        taken = scores <= threshold
        points.append((np.sum(taken & ~same) / np.sum(~same), np.sum(taken & same) / np.sum(same)))
    return points


@pytest.mark.parametrize("scores, same", CASES)
def test_rates_equal_a_loop_over_operating_points(scores, same):
    points = operating_points(scores, same)
    fpr, tpr, thresholds = metrics.roc_curve(scores, same)
    assert np.allclose(points, np.stack([fpr, tpr], 1), atol=1e-15)
    assert thresholds[0] == -np.inf and np.array_equal(thresholds[1:], sorted(set(scores)))
    for target in [0, 1e-3, 1 / np.sum(~same), 3 / np.sum(~same), 0.1, 0.5, 1]:
        expected = max(t for f, t in points if f <= target + 1e-12)
        assert metrics.tpr_at_fpr(scores, same, target) == pytest.approx(expected, abs=1e-12)
    (f0, t0), (f1, t1) = next(pair for pair in zip(points, points[1:]) if pair[1][0] >= 1 - pair[1][1])
    share = (1 - t0 - f0) / ((f1 - f0) + (t1 - t0))
    assert metrics.eer(scores, same) == pytest.approx(f0 + share * (f1 - f0), abs=1e-12)


@pytest.mark.parametrize("scores, same", CASES)
def test_curve_and_area_equal_scikit_learn(scores, same):
    fpr, tpr, _ = sk.roc_curve(same, -scores, drop_intermediate=False)
    ours = metrics.roc_curve(scores, same)
    assert np.allclose(fpr, ours[0], atol=1e-15) and np.allclose(tpr, ours[1], atol=1e-15)
    assert metrics.auc(scores, same) == pytest.approx(sk.roc_auc_score(same, -scores), abs=1e-12)
    wins = (scores[same][:, None] < scores[~same]) + 0.5 * (scores[same][:, None] == scores[~same])
    assert metrics.auc(scores, same) == pytest.approx(wins.mean(), abs=1e-12)


def test_separable_reversed_and_useless_scores():
    same = np.arange(20) % 2 == 0
    apart = np.where(same, 0.5, 1.5)
    assert metrics.accuracy_10fold(apart, same) == (1.0, 0.0, pytest.approx(0.51))
    assert (metrics.tpr_at_fpr(apart, same, 0), metrics.eer(apart, same), metrics.auc(apart, same)) == (1, 0, 1)
    assert (metrics.tpr_at_fpr(-apart, same, 0), metrics.eer(-apart, same), metrics.auc(-apart, same)) == (0, 1, 0)
    equal = np.ones(20)
    assert (metrics.tpr_at_fpr(equal, same, 0.5), metrics.eer(equal, same), metrics.auc(equal, same)) == (0, 0.5, 0.5)
    # All thresholds are equally good: the first is taken, and calls every pair different.
    assert metrics.accuracy_10fold(equal, same, 5) == (0.5, 0.0, 0.0)


def test_a_score_equal_to_the_threshold_counts_as_different():
    same = np.arange(20) % 2 == 0
    scores = np.where(same, 1.0, 1.005)  # 1.0 < 1.01, but both are below 1.01 and neither below 1.0
    assert metrics.accuracy_10fold(scores, same)[0] == 0.5
    scores = np.where(same, metrics.THRESHOLDS[99], metrics.THRESHOLDS[100])
    assert metrics.accuracy_10fold(scores, same) == (1.0, 0.0, pytest.approx(metrics.THRESHOLDS[100]))


def test_folds_split_as_scikit_learn_does():
    for pairs, folds in [(10, 10), (23, 10), (137, 10), (7, 3)]:
        bounds = metrics.fold_bounds(pairs, folds)
        tests = [test for _, test in KFold(folds, shuffle=False).split(np.zeros(pairs))]
        assert [list(range(a, b)) for a, b in zip(bounds, bounds[1:])] == [list(test) for test in tests]


def test_sets_without_a_score_are_refused():
    for same, folds, said in [(np.ones(20, bool), 10, "all 20 pairs are marked same"),
                              (np.zeros(20, bool), 10, "all 20 pairs are marked different"),
                              (np.array([1, 0] * 4, bool), 10, "8 pairs are fewer than 10 folds"),
                              (np.array([1, 0] * 4, bool), 1, "at least 2"), (np.zeros(0, bool), 10, "0 pairs")]:
        with pytest.raises(UserError, match=said):
            metrics.accuracy_10fold(np.ones(len(same)), same, folds)
    for function in (metrics.eer, metrics.auc, metrics.roc_curve):
        with pytest.raises(UserError, match="both kinds"):
            function(np.ones(20), np.ones(20, bool))
        with pytest.raises(UserError, match="all 1 pairs are marked same; both kinds"):
            function(np.ones(1), np.ones(1, bool))
        with pytest.raises(UserError, match="there are no pairs"):
            function(np.ones(0), np.ones(0, bool))
        with pytest.raises(RunError, match="1 of 2 scores are not finite"):
            function(np.array([1, np.nan]), np.array([True, False]))


def test_scores_of_embeddings():
    random = np.random.RandomState(0)
    raw = random.normal(size=(8, 5)).astype(np.float32)
    raw[3] = 0
    unit = normalise(raw)
    assert np.allclose(unit, normalize(raw), atol=1e-6) and np.isfinite(unit).all()
    expected = [sum((unit[2 * i, k] - unit[2 * i + 1, k]) ** 2 for k in range(5)) for i in range(4)]
    expected[1] = 2  # of zeros: without a direction, as the product of the two says
    assert np.allclose(pair_scores(unit), expected, atol=1e-6)


def test_pca_is_fitted_on_the_other_folds_only():
    random = np.random.RandomState(1)
    unit = normalise(random.normal(size=(60, 12)) * np.arange(1, 13))
    scores = projected_scores(unit, 4, 5)
    left, right = unit[0::2], unit[1::2]
    for fold, (train, _) in enumerate(KFold(5, shuffle=False).split(left)):
        model = PCA(4).fit(np.concatenate([left[train], right[train]]))
        ends = normalize(model.transform(left)), normalize(model.transform(right))
        assert np.allclose(scores[fold], np.sum((ends[0] - ends[1]) ** 2, 1), atol=1e-9)
    assert np.array_equal(held_out(scores)[6:12], scores[1, 6:12])
    same = np.arange(30) % 2 == 0
    # With equal rows the matrix form is the plain one.
    assert metrics.accuracy_10fold(np.stack([scores[0]] * 5), same, 5) == metrics.accuracy_10fold(scores[0], same, 5)
    for components in (0, 13):
        with pytest.raises(UserError, match=f"`pca` {components}: 1 to 12"):
            projected_scores(unit, components, 5)


def test_embeddings_of_zeros_have_cosine_0_after_pca_too_and_are_not_fitted_on():
    unit = normalise(np.random.RandomState(1).normal(size=(60, 12)) * np.arange(1, 13) + 3)
    unit[[20, 21, 40]] = 0  # both sides of pair 10, one of pair 20
    scores = projected_scores(unit, 4, 5)
    assert (scores[:, [10, 20]] == 2).all()
    model = PCA(4).fit(np.concatenate([unit[12:20], unit[22:40], unit[41:]]))  # for the first of five folds
    ends = normalize(model.transform(unit))
    known = np.delete(np.arange(30), [10, 20])
    assert np.allclose(scores[0][known], np.sum((ends[0::2] - ends[1::2]) ** 2, 1)[known], atol=1e-9)
    assert not fit_projection(unit, 4, "a").apply(unit)[[20, 21, 40]].any()


def test_a_projection_of_a_set_leaves_unavailable_images_out():
    random = np.random.RandomState(2)
    unit = normalise(random.normal(size=(40, 6)) * np.arange(1, 7) + 1).astype(np.float32)
    there = unit.copy()
    there[::4] = 0
    fitted, model = fit_projection(there, 3, "set"), PCA(3).fit(unit[there.any(axis=1)])
    expected = normalize(model.transform(unit))
    assert np.allclose(np.abs(fitted.apply(unit)), np.abs(expected), atol=1e-5)  # directions have no sign
    assert fitted.apply(unit).dtype == np.float32
    with pytest.raises(UserError, match="`pca` 7: 1 to 6 components are possible with 30 embeddings of 6 numbers"):
        fit_projection(there, 7, "set")


def test_the_reference_scores_give_the_reference_rates(reference):
    found = np.load(reference / "scores_y1_cfp_fp.npz")
    expected = json.loads((reference / "y1_scores.json").read_text())["cfp_fp_splits_1_5"]
    scores, same = found["score"], found["same"]
    accuracy, std, _ = metrics.accuracy_10fold(scores, same)
    ours = {"pairs": len(same), "accuracy": accuracy, "accuracy_std": std, "eer": metrics.eer(scores, same),
            "tpr": metrics.tpr_at_fpr(scores, same, 1e-3), "auc": metrics.auc(scores, same)}
    assert ours == pytest.approx(expected, abs=1e-12)


def test_the_reference_embeddings_give_the_reference_scores(reference, shared_reference):
    found = np.load(shared_reference / "y1_cfp_fp_embeddings.npz")
    expected = np.load(reference / "scores_y1_cfp_fp.npz")
    assert np.array_equal(found["same"], expected["same"])
    assert pair_scores(found["E"]) == pytest.approx(expected["score"], abs=1e-6)


@pytest.mark.parametrize("scores, same", CASES)
def test_the_point_behind_a_tpr(scores, same):
    for target in (0.5, 0.1, 0.01, 1e-4):
        tpr, threshold, fpr, accepts = metrics.point_at_fpr(scores, same, target)
        assert tpr == metrics.tpr_at_fpr(scores, same, target) == (scores[same] < threshold).mean()
        assert accepts == (scores[~same] < threshold).sum() and fpr == accepts / (~same).sum() <= target


def test_a_target_allows_the_false_accepts_it_says_whatever_its_product_rounds_to():
    """0.29 of 100 impostor pairs are 28.999999999999996 in binary, and 29 pairs."""
    scores, same = np.concatenate([np.arange(100), [28.5, 28.6, 29.5, 90]]) / 50, np.arange(104) >= 100
    assert 0.29 * 100 < 29
    assert metrics.tpr_at_fpr(scores, same, 0.29) == 0.5
    assert metrics.point_at_fpr(scores, same, 0.29)[2:] == (0.29, 29)
    assert allowed(0.29, 100) == 29
    once = np.ones((1, 104), int)
    assert pairs_tpr(-scores, same, 0.29, once).tolist() == [0.5]


def test_resampled_curves_are_those_of_the_pairs_sampled():
    scores, same = draw(3, 60, True)
    resamples = draw_resamples(60, 20, 1)
    for drawn, equal, area in zip(resamples, *pairs_curve_rates(scores, same, resamples)):
        written = np.repeat(scores, drawn), np.repeat(same, drawn)
        assert equal == pytest.approx(metrics.eer(*written)) and area == pytest.approx(metrics.auc(*written))


def test_intervals_depend_on_the_order_of_scores_alone():
    """All distances of a nearly collapsed network are so small that its cosines are equal in float32."""
    scores, same = draw(5, 200, False)
    result = SimpleNamespace(same=same, scores=scores.astype(np.float32))
    small = SimpleNamespace(same=same, scores=result.scores * np.float32(2 ** -30))
    usual, tiny = (statistics(one, (0.1,), 20, 0).draws for one in (result, small))
    assert len(set(usual["0.1"])) > 5
    for name, draws in usual.items():
        np.testing.assert_array_equal(tiny[name], draws)


def test_the_interval_of_a_perfect_accuracy_is_the_accuracy():
    from eval.verification import score_set
    for pairs in (10, 20, 40):
        same = np.arange(pairs) % 2 == 0
        unit = np.zeros((2 * pairs, 2))
        unit[0::2, 0] = 1
        unit[1::2, 0], unit[1::2, 1] = same, ~same
        drawn = statistics(score_set("s", unit, same, 1.0), (0.1,), 200, 0, accuracy=True).draws["accuracy"]
        assert (drawn == 1).all()

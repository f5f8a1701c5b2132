"""Rates by group, by pose and by quality, EER and AUC on resamples, against loops and plain numpy."""
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn import metrics as sk

from common.errors import UserError
from deploy.thresholds import Threshold
from eval.all_pairs import Side, score_all_pairs
from eval.allpairs_table import _slice
from eval.bootstrap import PeopleBootstrap, draw_resamples
from eval.curve_rates import MOST_EXACT, area_under_curve, curve_draws, equal_error_rate
from eval.failures import Readings
from eval.fixed_threshold import FixedPoint
from eval.misalignment import Misalignment
from eval.operating_points import OperatingPoint
from eval.other_set import FromElsewhere
from eval.pose import head_pose, read_yaw, yaw_groups, yaw_of
from eval.quality import discard_curve
from eval.report.charts import draw_curves
from eval.report.embedding import Embedded
from eval.report.labelled_set import LabelledSet, _cells, pose_section
from eval.report.measuring import score_set
from eval.report.misaligned import _drawn, sample_of_set
from eval.robustness_curve import Setting
from eval.robustness_table import _row
from eval.scores import normalise
from eval.set_scoring import labelled_pairs, score_labelled
from eval.slices import Slice, _named, combinations, group_slices
from eval.verify_table import fixed_rows
from synth import landmarks, render, seeds, shot
from synth.identity import draw_person
from synth.model import model_of
from synth.photograph import Photograph


def draw_set(people=12, images=5, dimension=6, noise=0.9, seed=0):
    """(unit, labels): images of people around a direction of their own."""
    random = np.random.RandomState(seed)
    labels = np.repeat(np.arange(people), images)
    unit = random.normal(size=(people, dimension))[labels] + noise * random.normal(size=(len(labels), dimension))
    return normalise(unit).astype(np.float32), labels


def all_pairs_of(unit, labels, left, right, cosine):
    """By a loop: genuine and impostor pairs, and how many of each lie above the cosine."""
    counts = np.zeros((2, 2), int)
    seen = set()
    for one in left:
        for two in right:
            if one == two or (two, one) in seen:
                continue
            seen.add((one, two))
            counts[int(labels[one] != labels[two])] += [1, unit[one] @ unit[two] > cosine]
    return counts


@pytest.mark.parametrize("between", [False, True])
def test_slices_equal_a_loop(between):
    unit, labels = draw_set()
    groups = np.array(["a", "b", "", "10", "9"] * 12)
    sides = (np.flatnonzero(np.isin(groups, ["a", "9"])), np.flatnonzero(np.isin(groups, ["b", "10", "9"]))) if (
        between) else (np.arange(60), None)
    names = combinations(groups, sides)
    if not between:
        assert names[:2] == [("9", "9"), ("9", "10")] and len(names) == 10
    for one in group_slices(unit, labels, groups, sides, 0.4, draw_resamples(12, 40)):
        left = sides[0][groups[sides[0]] == one.left]
        other = sides[0] if sides[1] is None else sides[1]
        right = other[groups[other] == one.right]
        (genuine, accepts), (impostors, false_accepts) = all_pairs_of(unit, labels, left, right, 0.4)
        if not between or one.left != one.right:
            assert (one.genuine, one.impostors, one.false_accepts) == (genuine, impostors, false_accepts)
            assert one.fpr == pytest.approx(false_accepts / impostors)
            if genuine:
                assert one.tpr == pytest.approx(accepts / genuine) and one.tpr_limits[0] <= one.tpr <= one.tpr_limits[1]
            else:
                assert one.tpr is None and one.tpr_limits is None
            assert one.fpr_limits[0] <= one.fpr <= one.fpr_limits[1] and one.as_row()["few"] == (false_accepts < 10)


def test_rates_at_a_threshold_on_resamples_equal_weighted_pairs():
    unit, labels = draw_set()
    scored = score_all_pairs(Side(unit, labels))
    bootstrap = PeopleBootstrap(12, labels, None, 5, seed=3)
    tpr, fpr = bootstrap.rates_above(scored, 0.3)
    cosines, (one, two) = unit @ unit.T, np.triu_indices(60, 1)
    same = labels[one] == labels[two]
    for number, drawn in enumerate(bootstrap.multiplicity):
        weight = np.where(same, drawn[labels[one]], drawn[labels[one]] * drawn[labels[two]])
        above = cosines[one, two] > 0.3
        assert tpr[number] == pytest.approx((weight * above)[same].sum() / weight[same].sum())
        assert fpr[number] == pytest.approx((weight * above)[~same].sum() / weight[~same].sum())
    short = score_all_pairs(Side(unit, labels), keep=3)
    assert bootstrap.rates_above(short, 0.3)[1] is None
    several = bootstrap.tprs(scored, [0.2, 0.01])
    assert np.array_equal(several[0], bootstrap.tpr(scored, 0.2)) and np.array_equal(several[1],
                                                                                     bootstrap.tpr(scored, 0.01))


@pytest.mark.parametrize("people, tolerance", [(12, 2e-3), (MOST_EXACT + 44, 6e-3)], ids=["exact", "linear"])
def test_eer_and_auc_on_resamples_equal_scikit_learn(people, tolerance):
    unit, labels = draw_set(people, 4, seed=1)
    left = np.tile([True, True, False, False], people)
    one, other = Side(unit[left], labels[left]), Side(unit[~left], labels[~left])
    cosines = (one.unit @ other.unit.T).ravel()
    same = (one.person[:, None] == other.person[None]).ravel()
    scored = score_all_pairs(one, other)
    assert area_under_curve(scored) == pytest.approx(sk.roc_auc_score(same, cosines))
    short = score_all_pairs(one, other, keep=50)
    assert area_under_curve(short) == pytest.approx(area_under_curve(scored), abs=1e-4)
    assert equal_error_rate(short) == pytest.approx(equal_error_rate(scored), abs=1e-3)
    drawn = draw_resamples(people, 6, seed=5)
    found = curve_draws(scored, one, other, drawn)
    for number, many in enumerate(drawn):
        weight = np.where(same, np.repeat(many[one.person], len(other.person)),
                          (many[one.person][:, None] * many[other.person][None]).ravel())
        fpr, tpr, _ = sk.roc_curve(same, cosines, sample_weight=weight, drop_intermediate=False)
        assert found.auc[number] == pytest.approx(sk.auc(fpr, tpr), abs=tolerance)
        assert found.eer[number] == pytest.approx(fpr[np.argmin(np.abs(fpr - 1 + tpr))], abs=4 * tolerance)


def test_error_against_discard_equals_a_loop():
    unit, labels = draw_set()
    norms = np.random.RandomState(2).uniform(1, 9, 60).astype(np.float32)
    scored = score_all_pairs(Side(unit, labels))
    curve = discard_curve(scored, (Side(unit, labels), None), (norms, None), 0.3, draw_resamples(12, 30), (0.0, 0.5))
    one, two = np.triu_indices(60, 1)
    cosines, same, worst = (unit @ unit.T)[one, two], labels[one] == labels[two], np.minimum(norms[one], norms[two])
    for kept, bound in zip(curve, (0.0, np.quantile(worst[same], 0.5))):
        left = worst >= bound
        assert (kept.genuine, kept.impostors) == ((left & same).sum(), (left & ~same).sum())
        assert kept.fnmr == pytest.approx((cosines[left & same] <= 0.3).mean())
        assert kept.fpr == pytest.approx((cosines[left & ~same] > 0.3).mean())
        assert kept.limits[0] <= kept.fnmr <= kept.limits[1]
    sides = (Side(unit[:30], labels[:30]), Side(unit[30:], labels[30:] % 6))
    (every,) = discard_curve(score_all_pairs(*sides), sides, (norms[:30], norms[30:]), 0.3, None, (0.0,))
    assert every.genuine == 30 * 5 and every.limits is None


@pytest.fixture(scope="module")
def drawn_heads():
    """(N, 5, 2) landmarks of drawn heads as a detector gives them, and their true yaw, pitch and roll."""
    points, truth = [], []
    for person in range(4):
        model = model_of(draw_person(seeds.stream(3, 0, person, seeds.PERSON)))
        columns = model.fine.x.shape[1]
        for index in range(25):
            random = seeds.stream(3, 0, person, seeds.ALBUM, index)
            taken = shot.draw_shot(random, seeds.ALBUM)
            mesh = model.shape + sum(weight * move for weight, move in zip(taken.moves, model.moves))
            camera = taken.camera
            mesh = render.samples_of(render.turned(mesh, render.rotation(camera.yaw, camera.pitch, camera.roll)))
            marks = render.project(mesh[[row * columns + column for row, column in model.landmarks]], camera)
            points.append(landmarks.detect(Photograph(None, marks, np.zeros(5)), taken, random))
            truth.append((camera.yaw, camera.pitch, camera.roll))
    return np.array(points), np.array(truth)


def test_pose_of_synthetic_heads(drawn_heads):
    points, truth = drawn_heads
    found = head_pose(points)
    error = np.abs(found - truth)
    assert error[:, 0].mean() < 6 and np.quantile(error[:, 0], 0.95) < 14
    assert np.corrcoef(found[:, 0], truth[:, 0])[0, 1] > 0.98
    turned = np.abs(truth[:, 0]) > 15
    assert (np.sign(found[turned, 0]) == np.sign(truth[turned, 0])).all()
    assert error[:, 2][np.abs(truth[:, 0]) < 45].mean() < 4
    moved = points * 3.5 + [40, -7]  # a larger photograph
    assert np.allclose(head_pose(moved), found, atol=1e-6)
    mirrored = points[:, [1, 0, 2, 4, 3]] * [-1, 1]
    assert np.allclose(yaw_of(mirrored), -found[:, 0], atol=1e-6)
    assert np.isnan(head_pose(np.zeros((1, 5, 2)))).all()


def test_yaw_by_a_table_of_landmarks(drawn_heads, tmp_path):
    points, _ = drawn_heads
    lines = ["path," + ",".join(f"{axis}{number}" for number in range(1, 6) for axis in "xy")]
    for number, marks in enumerate(points[:6]):
        lines.append(f"photographs/p{number // 3}/frontal/{number % 3}.png,"
                     + ",".join(f"{value:.3f}" for value in marks.ravel()))
    (tmp_path / "landmarks.csv").write_text("\n".join(lines) + "\n")
    names = ["p1/frontal/0.jpg", "p0/frontal/2.jpg", "p7/frontal/0.jpg"]
    yaw = read_yaw(tmp_path / "landmarks.csv", names)
    assert np.allclose(yaw[:2], yaw_of(points[[3, 2]]), atol=0.01) and np.isnan(yaw[2])
    with pytest.raises(UserError, match="names none of the set's images"):
        read_yaw(tmp_path / "landmarks.csv", ["1", "2"])
    assert yaw_groups(np.array([-3.0, 15, 89, 90, 120, np.nan])).tolist() == [
        "yaw 0-15", "yaw 15-30", "yaw 75-90", "yaw 75-90", "yaw 75-90", ""]


def test_a_table_in_the_other_layout_gives_no_yaw(drawn_heads, tmp_path):
    points, _ = drawn_heads
    lines = [f"p/{number}.jpg," + ",".join(f"{value:.3f}" for value in marks.T.ravel())  # x1 to x5, then y1 to y5
             for number, marks in enumerate(points[:20])]
    (tmp_path / "landmarks.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"landmarks.csv: (the landmarks of )?\d+ of its 20 rows"):
        read_yaw(tmp_path / "landmarks.csv", ["p/0.jpg"])


def test_rates_whose_false_accepts_are_too_many_to_keep():
    unit, labels = draw_set(40, 6)
    pairs = labelled_pairs(labels, [str(person) for person in range(40)], (np.arange(240), None), None, 60)
    whole = score_labelled("whole", unit, pairs, (0.1, 0.001))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eval.set_scoring.MOST", 500)
        short = score_labelled("short", unit, pairs, (0.1, 0.001))
    assert len(short.scored.tail) < short.points[0].false_accepts and short.points[1] == whole.points[1]
    cosines = (unit @ unit.T)[np.triu_indices(240, 1)]
    same = (labels[:, None] == labels[None])[np.triu_indices(240, 1)]
    point = short.points[0]
    assert (cosines[~same] > point.cosine).sum() == point.false_accepts
    assert 0.0998 < point.fpr <= 0.1 and point.tpr == pytest.approx((cosines[same] > point.cosine).mean())
    assert short.blamed["count"] == short.points[1].false_accepts
    for name, tolerance in (("0.1", 0.02), ("0.001", 0), ("eer", 1e-3), ("auc", 1e-3)):
        assert np.allclose(short.draws[name], whole.draws[name], atol=tolerance)


@pytest.mark.parametrize("bound", [-0.2, 0.99])
def test_the_largest_scores_are_kept_whatever_was_guessed_beforehand(bound, monkeypatch):
    unit, labels = draw_set(40, 6)
    monkeypatch.setattr("eval.all_pairs._likely_bound", lambda left, right, share: bound)
    scored = score_all_pairs(Side(unit, labels), keep=700)
    one, two = np.triu_indices(240, 1)
    expected = np.sort((unit @ unit.T)[one, two][labels[one] != labels[two]])[::-1]
    assert len(scored.tail) >= 700 and np.allclose(scored.tail[:700], expected[:700], atol=1e-6)
    assert scored.impostors == len(expected) and scored.histogram.sum() == len(expected)


def test_names_of_groups_that_look_like_numbers():
    assert _named(np.array(["b", "\u00b2", "10", "", "9", "9" * 5000, "yaw 15-30", "yaw 0-15"])) == [
        "9", "10", "9" * 5000, "b", "yaw 0-15", "yaw 15-30", "\u00b2"]


def test_the_interval_of_a_rate_is_in_the_json_though_that_of_the_other_is_not_known():
    row = FixedPoint(1.0, 0.5, 0.1, 100, 100, 1000, (0.4, 0.6), None).as_row()
    assert row["interval"] == {"tpr": [0.4, 0.6], "fpr": None}
    assert "interval" not in FixedPoint(1.0, 0.5, 0.1, 100, 100, 1000).as_row()


@pytest.mark.parametrize("accepts, mark", [(12, ""), (9, "~")])
def test_a_rate_on_few_false_accepts_is_marked_wherever_it_stands(accepts, mark):
    one = Slice("a", "b", 100, 1000, 0.5, accepts / 1000, accepts)
    assert _slice(one)[2] == _cells(one)[0] == f"{mark}50.00"
    fixed = FixedPoint(1.0, 0.5, accepts / 1000, accepts, 100, 1000)
    assert fixed_rows({"set": [fixed]})[1][4] == f"{mark}50.00"
    assert str(Threshold(1.0, fixed, "a.csv")).endswith(f"TPR there {mark}50.00%")
    behind = f" ({accepts})" if mark else ""
    point = OperatingPoint(0.012, 0.5, 0.4, accepts / 1000, accepts, 1000)
    assert _row(Setting(Misalignment(), [point], [None], 0.5, accepts / 1000), 0)[4] == f"{mark}50.00{behind}"
    told = str(Readings(1, 2, {"accuracy": 0.9, "0.01": 0.5}, {"accuracy": 0.8, "0.01": 0.4}, {"0.01": accepts}))
    assert told.endswith(f"accuracy 90.00% without, 80.00% counted; 0.01 {mark}50.00%{behind} without, "
                         f"{mark}40.00%{behind} counted")


def test_a_rate_that_is_not_given_is_a_gap_in_the_curve():
    points = [(0.0, *_drawn((OperatingPoint(0.1, 0.5, 0.4, 0.1, 10, 100), (0.4, 0.6)))),
              (2.0, *_drawn((OperatingPoint(0.1, None, 0.4, 0.0, 0, 100), (0.0, 0.3))))]
    axes = Figure().subplots()
    draw_curves([points], "shift", "TPR")(axes)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [50, np.nan])


def test_poses_of_too_few_images_are_left_out():
    labels, unit = np.repeat(np.arange(6), 3), np.eye(18, dtype=np.float32)
    args = SimpleNamespace(bootstrap=5, seed=0, fpr=[0.1])
    for groups in (np.where(np.arange(18) % 3, "", np.where(labels % 2, "a", "b")),  # an image of each identity,
                   np.where(labels, "", np.array(["a", "b", "a"] * 6))):  # and one identity's images
        faces = LabelledSet("s", labels, list("abcdef"), groups, (np.arange(18), None))
        inputs = SimpleNamespace(grouped=np.flatnonzero(groups != ""), face_places=np.arange(18))
        found, posed = score_set(faces, inputs, [Embedded(unit, np.ones(18), np.ones(18))], ["m"], args,
                                 [FromElsewhere([])])
        assert len(found) == 1 and not posed and "of too few for" in str(pose_section(["m"], found))


@pytest.mark.parametrize("seed", range(8))
def test_misaligned_identities_have_pairs_of_both_kinds(seed):
    """Of identities of which few have images on both sides, and others one image."""
    labels = np.array([0, 0, 1, 1, *range(2, 12), *range(2, 12)])
    first, other = np.arange(14), np.arange(14, 24)
    for sides in ((first, None), (first[::2], first[1::2]), (first, other)):
        sample = sample_of_set(labels, sides, lambda number: None, "s", 0.5, 1, 5, seed)
        point, _ = sample.score(normalise(np.random.RandomState(seed).normal(size=(sample.count, 4))))
        assert point.impostors and np.isfinite(1 if point.tpr is None else point.tpr)

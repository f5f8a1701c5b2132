"""Pairs of templates of `eval ijb`: read in parts, scored, their nearest point, and their intervals."""
from __future__ import annotations

import os

import numpy as np
import pytest
from ijb_cases import PEOPLE, expected_templates, place, run  # noqa: F401
from sklearn.metrics import roc_curve

from common.errors import UserError
from eval.templates import pair_bootstrap, verification
from eval.templates.ijb_files import read_pairs
from eval.templates.pair_bootstrap import tpr_draws
from eval.templates.verification import PairScores, nearest_curve, nearest_point, score_pairs

FPRS = (1e-2, 1e-1)


def expected_draws(scores, same, one, two, fprs, resamples):
    """TPR of each resample, its pairs repeated as often as they weigh: np.unique of people, np.repeat, loops."""
    units = np.unique(np.concatenate([one, two]))
    random, made = np.random.RandomState(0), []
    for _ in range(resamples):
        drawn = np.array(units)[random.randint(0, len(units), len(units))].tolist()
        times = [drawn.count(a) * (1 if a == b else drawn.count(b)) for a, b in zip(one, two)]
        genuine = np.repeat(scores[same], np.array(times)[same])
        impostor = np.repeat(scores[~same], np.array(times)[~same])
        every = np.unique(np.concatenate([genuine, impostor, [9]]))
        fpr, tpr = ([np.mean(some >= edge) if len(some) else np.nan for edge in every] for some in (impostor, genuine))
        made.append([max((t for f, t in zip(fpr, tpr) if f <= rate + 1e-9), default=np.nan) for rate in fprs])
    return np.array(made).T


@pytest.mark.parametrize("named", [True, False])
def test_intervals_over_identities_or_templates(place, tmp_path, capsys, named):  # noqa: F811
    folder, _, _, pairs = place
    listed = tmp_path / "everybody.csv"
    listed.write_text("TEMPLATE_ID,SUBJECT_ID\n" + "".join(f"{100 + i},s{i // 2}\n" for i in range(2 * PEOPLE)))
    found = run(place, "--protocol", "1:1", *(["--gallery", str(listed)] if named else []))["1:1"]
    templates = expected_templates(place)
    scores = np.array([templates[a] @ templates[b] for a, b, _ in pairs]).round(6)
    one, two = ([(f"s{(pair[side] - 100) // 2}" if named else pair[side]) for pair in pairs] for side in (0, 1))
    draws = expected_draws(scores, np.array([label for *_, label in pairs], bool), one, two, FPRS, 20)
    for rate, values in zip(FPRS, draws):
        limits = np.quantile(values[np.isfinite(values)], [0.025, 0.975])
        assert found["interval"][f"{rate:g}"] == pytest.approx(limits)
        assert limits[0] < limits[1]
    over, units = ("subjects", PEOPLE) if named else ("templates", 2 * PEOPLE)
    assert found["bootstrap"] == {"over": over, "units": units, "resamples": 20, "seed": 0}
    printed = capsys.readouterr().out
    assert f"bootstrap over the {units} {over} of the pairs" in printed
    assert ("2 of 16 templates of the pairs are in no gallery or probe list" in printed) == (not named)


@pytest.mark.parametrize("units", [1, 6, 40])
def test_draws_of_pairs_with_ties_and_of_one_unit(monkeypatch, units):
    """Impostor pairs inside a unit, equal scores, a tail that must be lengthened, resamples without a pair."""
    monkeypatch.setattr(verification, "BLOCK", 50)
    monkeypatch.setattr(pair_bootstrap, "PART", 37)
    random = np.random.RandomState(units)
    unit = random.randint(0, units, 40)
    left, right = random.randint(0, 40, 300), random.randint(0, 40, 300)
    vectors = random.normal(size=(40, 3)).astype(np.float32).round(1)
    same = random.uniform(size=300) < 0.2
    made = score_pairs(vectors, [(left, right, same)], identities=True)
    scores = np.einsum("nd,nd->n", vectors[left], vectors[right])
    names, number = np.unique(unit, return_inverse=True)
    found = tpr_draws(made, number, len(names), (0.05, 0.3), 15, 0)
    # the units of pairs only: here every unit must have one, as the caller sees to
    assert set(unit[np.concatenate([left, right])]) == set(names)
    expected = expected_draws(scores, same, unit[left].tolist(), unit[right].tolist(), (0.05, 0.3), 15)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_point_is_scikit_learns(seed, monkeypatch):
    monkeypatch.setattr(verification, "BLOCK", 500)
    random = np.random.RandomState(seed)
    genuine = random.normal(0.5, 0.3, 300).round(2 + seed).astype(np.float32)
    impostor = random.normal(0, 0.3, 4000).round(2 + seed).astype(np.float32)  # with ties
    curve = nearest_curve(PairScores(np.sort(genuine), np.sort(impostor)))
    fpr, tpr, _ = roc_curve(np.arange(4300) < 300, np.concatenate([genuine, impostor]))
    np.testing.assert_allclose(curve[0], fpr)
    np.testing.assert_allclose(curve[1], tpr)
    for rate in (1e-4, 3e-4, 1e-3, 0.0314, 0.1):  # as InsightFace's script: flipped, the first of the nearest
        flipped = list(zip(np.abs(fpr[::-1] - rate), range(len(fpr))))
        place = min(flipped)[1]
        assert nearest_point(curve, rate) == pytest.approx((fpr[::-1][place], tpr[::-1][place]))


def test_pairs_are_read_in_parts_wherever_they_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("eval.templates.ijb_files.CHUNK", 37)
    random = np.random.RandomState(0)
    rows = np.stack([random.randint(0, 50, 200) * 7, random.randint(0, 50, 200) * 7, random.randint(0, 2, 200)], 1)
    path = tmp_path / "pairs.txt"
    for end in ("\n", ""):
        path.write_bytes("\n".join(f"{a} {b} {c}" for a, b, c in rows).encode() + end.encode())
        parts = list(read_pairs(path, np.arange(50) * 7))
        assert len(parts) > 10
        left, right, same = (np.concatenate(some) for some in zip(*parts))
        np.testing.assert_array_equal(np.stack([left * 7, right * 7, same], 1), rows)
    path.write_text("0 7 1\n\n7 14 0\n")
    assert sum(len(part[0]) for part in read_pairs(path, np.arange(50) * 7)) == 2
    for encoding, end in (("utf-8-sig", "\n"), ("utf-16", "\r\n"), ("utf-8", "\r")):  # as editors on Windows write it
        path.write_bytes(end.join(["7 14 1", "0 21 0", ""]).encode(encoding))
        left, right, same = map(np.concatenate, zip(*read_pairs(path, np.arange(50) * 7)))
        assert (left.tolist(), right.tolist(), same.tolist()) == ([1, 0], [2, 3], [True, False])


@pytest.mark.parametrize("text, says", [
    ("0 7 1\n0 7\n", "line 2 is not"), ("0 7 1\n0 x 1\n", "line 2 is not"), ("0 7 2\n", "line 1 is not"),
    ("0 8 1\n", "names template 8, which has no image"), ("0 7 1 0\n7 1\n", "line 1 is not"),
    ("0 7 1\n\n99999999999999999999 7 1\n", "line 3 is not"), ("0 \u00b2 1\n", "line 1 is not")])
def test_a_pair_that_is_none_is_reported_by_line(tmp_path, text, says):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(UserError, match=says):
        list(read_pairs(tmp_path / "pairs.txt", np.arange(50) * 7))


def test_a_pipe_in_place_of_a_list_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pairs.txt")
    with pytest.raises(UserError, match="not a regular file"):
        list(read_pairs(tmp_path / "pairs.txt", np.arange(50)))


def test_templates_without_an_image_are_refused_everywhere():
    unit = np.array([[1, 0], [0, 0], [1, 0]], np.float32)
    scores = score_pairs(unit, [(np.array([0, 0]), np.array([1, 2]), np.array([True, True]))])
    np.testing.assert_allclose(scores.genuine, [-2, 1])

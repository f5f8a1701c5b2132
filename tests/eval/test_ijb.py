"""`python -m eval ijb`: 1:1 and 1:N of a miniature in IJB's formats, against plain numpy, scikit-learn and loops."""
from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from ijb_cases import PEOPLE, expected_templates, place, run  # noqa: F401
from sklearn.metrics import roc_curve

from common.errors import UserError
from eval.templates.aggregation import Switches, TemplateSums
from eval.templates.identification import search
from eval.templates.ijb_files import read_images, read_subjects

FPRS = (1e-2, 1e-1)
TOLERANCE = 1e-5  # of a cosine, float32 against float64


@pytest.mark.parametrize("keep, score, flip", [(True, True, True), (False, False, True), (True, False, False)])
def test_one_to_one_by_both_conventions(place, keep, score, flip):  # noqa: F811
    found = run(place, "--protocol", "1:1", "--image-norms", "keep" if keep else "drop", "--detector-score",
                "use" if score else "ignore", *([] if flip else ["--no-flip"]))["1:1"]
    templates = expected_templates(place, keep, score, flip)
    scores = np.array([templates[a] @ templates[b] for a, b, _ in place[3]])
    same = np.array([label for _, _, label in place[3]], bool)
    assert (found["genuine"], found["impostors"]) == (same.sum(), (~same).sum())
    every_fpr, every_tpr, _ = roc_curve(same, scores, drop_intermediate=False)
    fpr, tpr, _ = roc_curve(same, scores)
    for rate in FPRS:
        row = found["thresholds"][f"{rate:g}"]
        assert row["tpr"] == pytest.approx(every_tpr[every_fpr <= rate].max())
        refused = np.sort(scores[~same])[::-1][row["false_accepts"]]
        assert row["cosine"] == pytest.approx((refused + scores[scores > refused].min()) / 2, abs=TOLERANCE)
        near = min(range(len(fpr)), key=lambda place: (abs(fpr[place] - rate), -place))
        assert found["tpr_at_nearest_fpr"][f"{rate:g}"] == pytest.approx(tpr[near])
        assert (found["tpr_at_fpr"][f"{rate:g}"], found["false_accepts"][f"{rate:g}"]) == (
            row["tpr"], row["false_accepts"])


def test_the_switches_matter(place):  # noqa: F811
    """Each changes the scores by more than the comparison above forgives."""
    made = [np.stack(list(expected_templates(place, *switches).values())) for switches in (
        (True, True, True), (False, True, True), (True, False, True), (True, True, False))]
    assert all(np.abs(made[0] @ made[0].T - other @ other.T).max() > 5 * TOLERANCE for other in made[1:])


def test_each_gallery_apart(place, capsys):  # noqa: F811
    found = run(place, "--protocol", "1:N")["1:N"]
    templates = expected_templates(place)
    for name, people in (("x_1N_gallery_G1", range(0, 3)), ("x_1N_gallery_G2", range(3, 6))):
        ranks, mates, others = [], [], []
        for person in range(PEOPLE):
            answers = {other: templates[100 + 2 * other] @ templates[101 + 2 * person] for other in people}
            if person in answers:
                ranks.append(sorted(answers, key=answers.get, reverse=True).index(person) + 1)
                mates.append(answers[person])
            else:
                others.append(max(answers.values()))
        row = found[name]
        assert (row["mated"], row["non_mated"]) == (len(mates), len(others)) == (3, 5)
        for rank in (1, 5, 10):
            assert row["rank"][str(rank)] == pytest.approx(np.mean(np.array(ranks) <= rank))
        for fpir in (0.2, 0.4):
            refused = sorted(others, reverse=True)[int(fpir * 5 + 1e-9)]
            assert row["fnir_at_fpir"][f"{fpir:g}"] == pytest.approx(np.mean(np.array(mates) <= refused))
        assert row["interval"]["rank 1"][0] <= row["rank"]["1"] <= row["interval"]["rank 1"][1]
    assert "5 of others" in capsys.readouterr().out


def test_a_further_model_has_its_differences_to_the_first(place):  # noqa: F811
    folder = place[0]
    for ending in ("symbol.json", "0000.params"):
        shutil.copy(folder / f"net-{ending}", folder / f"twin-{ending}")
    run(place, "--model", f"{folder}/twin,0", "--layer", "fc1")
    first, twin = json.loads((folder / "out.json").read_text()).values()
    galleries = twin["1:N"]
    for one, other in ((first["1:1"], twin["1:1"]), *((first["1:N"][name], row) for name, row in galleries.items())):
        assert "difference" not in one and set(other["difference"]) == set(other["interval"])
        for row in other["difference"].values():
            assert row == {"to": f"{folder}/net,0", "value": 0, "interval": [0, 0], "other_sign": 0.5}
    assert "0.1" in twin["1:1"]["difference"] and "rank 1" in twin["1:N"]["x_1N_gallery_G1"]["difference"]


def test_sums_do_not_depend_on_how_images_come():
    random = np.random.RandomState(3)
    unit = random.normal(size=(40, 5))
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    norms, scores = random.uniform(1, 9, 40).astype(np.float32), random.uniform(0, 1, 40)
    image, owner, medium = random.randint(0, 40, 90), random.randint(0, 7, 90), random.randint(0, 4, 90)
    made = []
    for step in (40, 7, 1):
        sums = TemplateSums(7, image, owner, medium, scores, Switches())
        for first in range(0, 40, step):
            sums.add(first, unit[first:first + step], norms[first:first + step])
        made.append(sums.templates())
    for number in range(7):
        media = [np.mean([unit[one] * norms[one] * scores[one] for one in image[(owner == number) & (medium == kind)]],
                         axis=0) for kind in sorted(set(medium[owner == number]))]
        total = np.sum(media, axis=0)
        for one in made:
            np.testing.assert_allclose(one[number], total / np.linalg.norm(total), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("keep_norms", [True, False])
def test_an_image_that_could_not_be_had_counts_only_in_the_number_of_its_medium(keep_norms):
    unit = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    sums = TemplateSums(2, np.array([0, 1, 2, 1]), np.array([0, 0, 0, 1]), np.array([5, 5, 6, 7]), np.ones(3),
                        Switches(keep_norms, detector_score=False))
    sums.add(0, unit, np.array([3, 0, 3], np.float32))  # the second of the medium 5
    total = np.array([0.5 + 0.6, 0.8])
    np.testing.assert_allclose(sums.templates(), [total / np.linalg.norm(total), [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("template", ["\u00b2", "1_0", "9" * 5000, "-7", ""])
def test_template_numbers_that_are_none(tmp_path, template):
    (tmp_path / "gallery.csv").write_text(f"TEMPLATE_ID,SUBJECT_ID\n{template},x\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2 is not TEMPLATE_ID,SUBJECT_ID"):
        read_subjects([tmp_path / "gallery.csv"], np.arange(50))


def test_a_gallery_of_several_templates_a_person_and_ties():
    gallery = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    found = search(gallery, ["a", "b", "a"], np.array([[0.6, 0.8], [1, 0]], np.float32), ["a", "c"])
    assert found.rank.tolist() == [1, 0] and found.mated.tolist() == [True, False]
    assert found.score == pytest.approx([1, 1])
    same = search(np.ones((4, 2), np.float32), list("abcd"), np.ones((4, 2), np.float32), list("abcd"))
    assert same.rank.tolist() == [4, 4, 4, 4]  # who gives everybody the same score finds nobody


def test_a_template_without_an_image_matches_nobody():
    """Not even with people whose cosines are all negative."""
    gallery, probes = np.array([[-1, 0], [0, 0], [-0.6, -0.8]], np.float32), np.array([[1, 0], [0, 0]], np.float32)
    found = search(gallery, ["a", "b", "c"], np.concatenate([probes, probes]), ["b", "a", "x", "y"])
    assert found.rank.tolist() == [3, 3, 0, 0] and found.best[[0, 2]].tolist() == [2, 2]
    assert found.score == pytest.approx([-2, -2, -0.6, -2])


@pytest.mark.parametrize("name, text, says", [
    ("x_name_5pts_score.txt", "1.jpg 1 2 3\n", "line 1 is not an image, ten coordinates"),
    ("x_face_tid_mid.txt", "1.jpg 5\n", "line 1 is not `image template medium`"),
    ("x_face_tid_mid.txt", "other.jpg 5 6\n", "has no landmarks")])
def test_lists_that_are_none_are_reported_by_line(tmp_path, name, text, says):
    (tmp_path / "x_name_5pts_score.txt").write_text("1.jpg " + " ".join("1234567890") + " 0.9\n")
    (tmp_path / "x_face_tid_mid.txt").write_text("1.jpg 5 6\n")
    assert read_images(tmp_path).templates.tolist() == [5]
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        read_images(tmp_path)

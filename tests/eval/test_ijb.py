"""`python -m eval ijb`: a miniature in IJB's formats, against plain numpy, scikit-learn and loops."""
from __future__ import annotations

import json
import os

import cv2
import mxnet as mx
import numpy as np
import pytest
from sklearn.metrics import roc_curve
from small_nets import forward, save_spread
from small_sets import draw, jpeg

from common.errors import UserError
from eval import embedding_parts
from eval.__main__ import main
from eval.templates import ijb_images
from eval.templates.aggregation import Switches, TemplateSums
from eval.templates.identification import search
from eval.templates.ijb_files import read_images, read_pairs, read_subjects
from eval.templates.pair_bootstrap import tpr_draws
from eval.templates.verification import PairScores, nearest_curve, nearest_rate, score_pairs
from images.alignment import align, template

SIZE, FRAME, PEOPLE = 48, 80, 8
FPRS = (1e-2, 1e-1)
TOLERANCE = 1e-5  # of a cosine, float32 against float64


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A checkpoint; images of eight people at places of their own; two templates of each in one and two media."""
    folder = tmp_path_factory.mktemp("ijb")
    save_spread(folder, SIZE, 2, [draw(person, 0, SIZE) for person in range(16)])
    (folder / "loose_crop").mkdir()
    (folder / "meta").mkdir()
    random = np.random.RandomState(5)
    landmarks, members, number = [], [], 0
    for person in range(PEOPLE):
        for part in range(2):
            for medium in ((0, 1, 1), (2,))[part]:
                number += 1
                frame = np.full((FRAME, FRAME, 3), 60, np.uint8)
                shift = random.randint(4, FRAME - SIZE - 4, 2)
                frame[shift[1]:shift[1] + SIZE, shift[0]:shift[0] + SIZE] = draw(person + 40, number, SIZE)
                (folder / "loose_crop" / f"{number}.jpg").write_bytes(jpeg(frame))
                points = (template(SIZE, SIZE) * random.uniform(0.9, 1.1) + shift + random.normal(0, 0.4, (5, 2)))
                landmarks.append((f"{number}.jpg", points.round(3), round(random.uniform(0.3, 1), 4)))
                members.append((f"{number}.jpg", 100 + 2 * person + part, 10 * person + medium))
    members.append(("1.jpg", 101, 99))  # an image in a second template too
    (folder / "meta" / "x_name_5pts_score.txt").write_text("".join(
        f"{name} {' '.join(f'{value:.3f}' for value in points.ravel())} {score}\n"
        for name, points, score in landmarks))
    (folder / "meta" / "x_face_tid_mid.txt").write_text("".join(f"{a} {b} {c}\n" for a, b, c in members))
    ids = [100 + index for index in range(2 * PEOPLE)]
    pairs = [(one, other, int(one // 2 == other // 2)) for one in ids for other in ids if one < other]
    (folder / "meta" / "x_template_pair_label.txt").write_text("".join(f"{a} {b} {c}\n" for a, b, c in pairs))
    for name, people in (("G1", range(0, 3)), ("G2", range(3, 6))):
        (folder / "meta" / f"x_1N_gallery_{name}.csv").write_text("TEMPLATE_ID,SUBJECT_ID,FILENAME\n" + "".join(
            f"{100 + 2 * person},s{person},a.jpg\n" * 2 for person in people))
    (folder / "meta" / "x_1N_probe_mixed.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n" + "".join(
        f"{101 + 2 * person},s{person}\n" for person in range(PEOPLE)))
    (folder / "meta" / "x_1N_probe_img.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n101,wrong\n")
    return folder, landmarks, members, pairs


def crop(image, points):
    """By the similarity that least squares gives, solved as a linear system."""
    target = template(SIZE, SIZE)
    rows, right = [], []
    for (x, y), (u, v) in zip(points, target):
        rows += [(x, -y, 1, 0), (y, x, 0, 1)]
        right += [u, v]
    a, b, shift_x, shift_y = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    return cv2.warpAffine(image, np.array([(a, -b, shift_x), (b, a, shift_y)]), (SIZE, SIZE))


def expected_templates(place, keep=True, score=True, flip=True):
    folder, landmarks, members, _ = place
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(folder / "net"), 0)
    faces = np.stack([crop(np.ascontiguousarray(cv2.imread(str(folder / "loose_crop" / name))[..., ::-1]), points)
                      for name, points, _ in landmarks])
    views = [faces, faces[:, :, ::-1]][:1 + flip]
    every = sum(forward(symbol, arguments, auxiliary, np.ascontiguousarray(view)) for view in views)
    features = {}
    for (name, _, detected), feature in zip(landmarks, every):
        feature = feature if keep else feature / np.linalg.norm(feature)
        features[name] = feature * (detected if score else 1)
    made = {}
    for number in sorted({number for _, number, _ in members}):
        media = {}
        for name, other, medium in members:
            if other == number:
                media.setdefault(medium, []).append(features[name])
        total = sum(np.mean(some, axis=0) for some in media.values())
        made[number] = total / np.linalg.norm(total)
    return made


def run(place, *more):
    folder = place[0]
    out = folder / "out.json"
    assert main(["ijb", "--model", f"{folder}/net,0", "--images", f"{folder}/loose_crop", "--meta", f"{folder}/meta",
                 "--image-size", f"{SIZE},{SIZE}", "--fpr", "1e-2,1e-1", "--json", str(out), "--devices", "cpu:0",
                 "--fpir", "0.2,0.4", "--bootstrap", "20", *more]) == 0
    return json.loads(out.read_text())[f"{folder}/net,0"]


@pytest.mark.parametrize("keep, score, flip", [(True, True, True), (False, False, True), (True, False, False)])
def test_one_to_one_by_both_conventions(place, keep, score, flip):
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
def test_intervals_over_identities_or_templates(place, tmp_path, capsys, named):
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
def test_draws_of_pairs_with_ties_and_of_one_unit(units):
    """Impostor pairs inside a unit, equal scores, a tail that must be lengthened, resamples without a pair."""
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


def test_the_switches_matter(place):
    """Each changes the scores by more than the comparison above forgives."""
    made = [np.stack(list(expected_templates(place, *switches).values())) for switches in (
        (True, True, True), (False, True, True), (True, False, True), (True, True, False))]
    assert all(np.abs(made[0] @ made[0].T - other @ other.T).max() > 5 * TOLERANCE for other in made[1:])


def test_each_gallery_apart(place, capsys):
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


def test_embeddings_made_once_give_the_same(place):
    folder = place[0]
    first = run(place, "--embeddings", str(folder / "kept"))
    made, = (folder / "kept").glob("*.npz")
    out = folder / "again.json"
    main(["ijb", "--model", str(made), "--images", f"{folder}/gone", "--meta", f"{folder}/meta", "--fpr", "1e-2,1e-1",
          "--json", str(out), "--fpir", "0.2,0.4", "--bootstrap", "20"])
    again = json.loads(out.read_text())[str(made)]
    assert again["1:1"] == first["1:1"] and again["1:N"] == first["1:N"]


def test_a_run_that_was_stopped_continues(place, monkeypatch, tmp_path):
    """Stopped in the middle of the images, then with a part that is damaged: the same numbers, and no crop twice."""
    whole, cropped = run(place), []

    def counting(image, points, *size):
        cropped.append(1)
        if len(cropped) == stop:
            raise KeyboardInterrupt
        return align(image, points, *size)

    monkeypatch.setattr(ijb_images, "align", counting)
    monkeypatch.setattr(embedding_parts, "PART", 8)
    monkeypatch.setattr(ijb_images, "usable_cores", lambda: 1)
    flags, images, stop = ("--embeddings", str(tmp_path), "--batch-size", "4"), len(place[1]), 19
    with pytest.raises(KeyboardInterrupt):
        run(place, *flags)
    (folder,) = tmp_path.glob("*.partial")
    first, second = sorted(folder.iterdir())[:2]
    second.write_bytes(b"PK damaged")
    cropped.clear()
    stop = 0
    assert run(place, *flags) == whole
    assert len(cropped) == images - 8 and not folder.exists() and len(list(tmp_path.glob("*.npz"))) == 1


def test_embeddings_are_kept_by_whatever_changes_them(place, tmp_path):
    """An image that was broken and is whole, mirror images left out: made anew, and each to be had again."""
    folder, flags, whole = place[0], ("--embeddings", str(tmp_path), "--protocol", "1:1"), run(place)
    data = (folder / "loose_crop" / "8.jpg").read_bytes()
    (folder / "loose_crop" / "8.jpg").write_bytes(b"no image")
    try:
        assert run(place, *flags)["lost_images"] == 1
    finally:
        (folder / "loose_crop" / "8.jpg").write_bytes(data)
    found = run(place, *flags)
    assert found["lost_images"] == 0 and found["1:1"] == whole["1:1"]
    assert run(place, *flags, "--no-flip")["1:1"] == run(place, "--protocol", "1:1", "--no-flip")["1:1"]
    assert len(list(tmp_path.glob("*.npz"))) == 3 and run(place, *flags) == found
    images = read_images(folder / "meta")
    keys = {ijb_images.crops_digest(images, folder / "loose_crop", size) for size in ((48, 48), (64, 64), (48, 64))}
    assert len(keys) == 3


@pytest.mark.parametrize("change, says", [
    ({}, None), ({"flip": False}, "another flip"), ({"model": {"name": "a,1", "sha256": "2"}}, "another model"),
    ({"set": {"path": "x", "sha256": "9"}, "layer": "fc2"}, "another set and another layer"),
    ({"model": {"name": "moved/a,1", "sha256": "1"}, "set": {"path": "moved", "sha256": "8"}}, None)])
def test_a_part_that_does_not_fit_is_reported_and_made_again(tmp_path, caplog, change, says):
    meta = {"model": {"name": "a,1", "sha256": "1"}, "set": {"path": "x", "sha256": "8"}, "layer": "fc1", "flip": True}
    unit, norms = np.eye(3, 4, dtype=np.float32), np.ones(3, np.float32)
    kept = embedding_parts.EmbeddingParts(tmp_path / "a.npz", list("abcde"), meta)
    kept.add(unit, norms)
    kept.flush()
    again = embedding_parts.EmbeddingParts(tmp_path / "a.npz", list("abcde"), {**meta, **change})
    assert len(list(again.read())) == (says is None)
    assert (says or "") in caplog.text and len(caplog.records) == (says is not None)
    other = embedding_parts.EmbeddingParts(tmp_path / "a.npz", list("abXde"), meta)
    assert not list(other.read()) and "other images" in caplog.text


def test_a_missing_image_is_ignored_and_reported(place, caplog):
    folder = place[0]
    data = (folder / "loose_crop" / "8.jpg").read_bytes()
    (folder / "loose_crop" / "8.jpg").write_bytes(b"no image")
    try:
        assert run(place, "--protocol", "1:1")["lost_images"] == 1
    finally:
        (folder / "loose_crop" / "8.jpg").write_bytes(data)
    assert "1 of 32 images are unavailable" in caplog.text and "8.jpg" in caplog.text


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


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_point_is_scikit_learns(seed):
    random = np.random.RandomState(seed)
    genuine = random.normal(0.5, 0.3, 300).round(2 + seed).astype(np.float32)
    impostor = random.normal(0, 0.3, 4000).round(2 + seed).astype(np.float32)  # with ties
    curve = nearest_curve(PairScores(np.sort(genuine), np.sort(impostor)))
    fpr, tpr, _ = roc_curve(np.arange(4300) < 300, np.concatenate([genuine, impostor]))
    np.testing.assert_allclose(curve[0], fpr)
    np.testing.assert_allclose(curve[1], tpr)
    for rate in (1e-4, 3e-4, 1e-3, 0.0314, 0.1):  # as InsightFace's script: flipped, the first of the nearest
        flipped = list(zip(np.abs(fpr[::-1] - rate), range(len(fpr))))
        assert nearest_rate(curve, rate) == pytest.approx(tpr[::-1][min(flipped)[1]])


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


@pytest.mark.parametrize("text, says", [
    ("0 7 1\n0 7\n", "line 2 is not"), ("0 7 1\n0 x 1\n", "line 2 is not"), ("0 7 2\n", "line 1 is not"),
    ("0 8 1\n", "names template 8, which has no image"), ("0 7 1 0\n7 1\n", "line 1 is not"),
    ("0 7 1\n\n99999999999999999999 7 1\n", "line 3 is not"), ("0 \u00b2 1\n", "line 1 is not")])
def test_a_pair_that_is_none_is_reported_by_line(tmp_path, text, says):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(UserError, match=says):
        list(read_pairs(tmp_path / "pairs.txt", np.arange(50) * 7))


@pytest.mark.parametrize("template", ["\u00b2", "1_0", "9" * 5000, "-7", ""])
def test_template_numbers_that_are_none(tmp_path, template):
    (tmp_path / "gallery.csv").write_text(f"TEMPLATE_ID,SUBJECT_ID\n{template},x\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2 is not TEMPLATE_ID,SUBJECT_ID"):
        read_subjects([tmp_path / "gallery.csv"], np.arange(50))


def test_a_pipe_in_place_of_a_list_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pairs.txt")
    with pytest.raises(UserError, match="not a regular file"):
        list(read_pairs(tmp_path / "pairs.txt", np.arange(50)))


def test_templates_without_an_image_are_refused_everywhere():
    unit = np.array([[1, 0], [0, 0], [1, 0]], np.float32)
    scores = score_pairs(unit, [(np.array([0, 0]), np.array([1, 2]), np.array([True, True]))])
    np.testing.assert_allclose(scores.genuine, [-2, 1])


def test_a_gallery_of_several_templates_a_person_and_ties():
    gallery = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    found = search(gallery, ["a", "b", "a"], np.array([[0.6, 0.8], [1, 0]], np.float32), ["a", "c"])
    assert found.rank.tolist() == [1, 0] and found.mated.tolist() == [True, False]
    assert found.score == pytest.approx([1, 1])
    same = search(np.ones((4, 2), np.float32), list("abcd"), np.ones((4, 2), np.float32), list("abcd"))
    assert same.rank.tolist() == [4, 4, 4, 4]  # who gives everybody the same score finds nobody


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

"""The posed-face set: what is rendered, that a seed determines it, and that it is processed as real data are."""
from __future__ import annotations

import csv
import re

import cv2
import numpy as np
import pytest
from synth_cases import contents  # noqa: F401

from images import alignment
from recordio_tools.__main__ import main
from recordio_tools.pairs.lists import read_cfp, read_lfw
from synth import album, features, landmarks, model, photograph, protocol, seeds, shot
from synth.generate import generate
from synth.identity import draw_person

PEOPLE = 20


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A small set with everything in it, drawn by the command."""
    out = tmp_path_factory.mktemp("synth") / "faces"
    assert main(["synth", str(out), "--identities", "3", "--images-per-identity", "2", "--verify-identities",
                 str(PEOPLE), "--seed", "5", "--workers", "2"]) == 0
    return out


@pytest.fixture(scope="module")
def table(drawn):
    with open(drawn / "landmarks.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def points(row, prefix=""):
    names = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    return np.array([[float(row[f"{prefix}{name}_{axis}"]) for axis in "xy"] for name in names])


def test_seed_decides_every_byte_whatever_the_workers(tmp_path):
    arguments = dict(identities=3, images=2, people=0, keep_photographs=True)
    generate(tmp_path / "a", seed=1, workers=1, **arguments)
    generate(tmp_path / "b", seed=1, workers=2, **arguments)
    generate(tmp_path / "c", seed=2, workers=1, **arguments)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert not any(a[name] == c[name] for name in a)


def test_verification_identities_depend_on_the_seed_alone(drawn, tmp_path, monkeypatch):
    whole = album.albums
    monkeypatch.setattr("synth.generate.albums", lambda *numbers: whole(*numbers)[:2] + whole(*numbers)[-1:])
    generate(tmp_path / "some", identities=0, images=1, people=PEOPLE, seed=5)
    for part in ("verify", "cfp"):
        some, before = contents(tmp_path / "some" / part), contents(drawn / part)
        assert len([name for name in some if name.endswith(".jpg")]) in (3 * 6, 3 * 14)
        assert {name for name in before if not name.endswith(".jpg")} < some.keys()
        assert some == {name: before[name] for name in some}


def test_every_image_decodes_at_the_crops_size_and_no_two_are_equal(drawn, table):
    files = sorted(drawn.rglob("*.jpg"))
    assert len(files) == 3 * 2 + PEOPLE * (6 + 10 + 4) == len(table)
    assert {str(path.relative_to(drawn)) for path in files} == {row["path"] for row in table}
    assert len({path.read_bytes() for path in files}) == len(files)
    for path in files:
        image = cv2.imread(str(path))
        assert image.shape == (112, 112, 3) and image.std() > 8, path


def test_layout_of_training_identities(drawn):
    assert sorted(path.name for path in (drawn / "train").iterdir()) == ["0001", "0002", "0003"]
    assert sorted(path.name for path in (drawn / "train" / "0002").iterdir()) == ["001.jpg", "002.jpg"]


def test_lfw_pairs_read_back_and_folds_are_disjoint(drawn):
    path = drawn / "verify" / "pairs.txt"
    lines = path.read_text().splitlines()
    folds, count = map(int, lines[0].split("\t"))
    assert (folds, count) == (10, 14) and len(lines) == 1 + 2 * folds * count
    pairs = read_lfw(drawn / "verify" / "images", path)
    assert [pair.same for pair in pairs] == ([True] * count + [False] * count) * folds
    people = []
    for fold in range(folds):
        part = pairs[fold * 2 * count:(fold + 1) * 2 * count]
        assert len({frozenset((pair.left, pair.right)) for pair in part}) == len(part)
        people.append({side.parent.name for pair in part for side in (pair.left, pair.right)})
        for pair in part:
            assert pair.left.is_file() and pair.right.is_file() and pair.left != pair.right
            assert (pair.left.parent == pair.right.parent) == pair.same
    assert len(set.union(*people)) == sum(map(len, people)) == PEOPLE


@pytest.mark.parametrize("kind", ["FF", "FP"])
def test_cfp_protocol_reads_back_in_cfps_own_form(drawn, kind):
    folder = drawn / "cfp" / "Protocol"
    for letter, name, count in (("F", "frontal", 10), ("P", "profile", 4)):
        lines = (folder / f"Pair_list_{letter}.txt").read_text().splitlines()
        assert len(lines) == PEOPLE * count
        for number, line in enumerate(lines, 1):
            assert re.fullmatch(rf"{number} \.\./Data/Images/\d{{3}}/{name}/\d{{2}}\.jpg", line)
            assert (folder / line.split()[1]).is_file()
    assert sorted(path.name for path in (folder / "Split" / kind).iterdir()) == [f"{n:02d}" for n in range(1, 11)]
    pairs = read_cfp(folder, kind, None, drawn / "cfp")
    assert len(pairs) == 10 * 2 * 14
    sides = {"F": "frontal", "P": "profile"}
    for pair in pairs:
        assert (pair.left.parent.name, pair.right.parent.name) == (sides[kind[0]], sides[kind[1]])
        assert (pair.left.parent.parent == pair.right.parent.parent) == pair.same and pair.left != pair.right
    people = [{side.parent.parent.name for pair in pairs if pair.fold == str(fold) for side in (pair.left, pair.right)}
              for fold in range(1, 11)]
    assert len(set.union(*people)) == sum(map(len, people)) == PEOPLE
    assert len({frozenset((pair.left, pair.right)) for pair in pairs}) == len(pairs)


def test_pairs_and_pack_take_the_set_as_it_is(drawn, tmp_path):
    assert main(["pack", str(drawn / "train"), str(tmp_path / "data")]) == 0
    assert (tmp_path / "data" / "property").read_text().strip() == "3,112,112"
    cfp = str(drawn / "cfp")
    for arguments in (["lfw", "--images", str(drawn / "verify" / "images"), "--pairs",
                       str(drawn / "verify" / "pairs.txt")],
                      ["cfp", "--images", cfp, "--protocol", f"{cfp}/Protocol", "--kind", "FP"]):
        out = tmp_path / f"{arguments[0]}.bin"
        assert main(["pairs", *arguments, "--out", str(out)]) == 0
        assert main(["check", str(out)]) == 0


def test_poses_are_those_of_their_set(table):
    yaw = {name: np.array([float(row["yaw"]) for row in table if name in row["path"]])
           for name in ("train", "verify", "frontal", "profile")}
    assert all(np.abs(values).max() <= 90 for values in yaw.values())
    assert np.abs(yaw["frontal"]).max() <= 15 and np.abs(yaw["verify"]).max() <= 60
    assert np.abs(yaw["profile"]).min() >= 65 and {-1, 1} == set(np.sign(yaw["profile"]))
    training = [shot.draw_yaw(seeds.stream(0, 0, 0, seeds.ALBUM, n), seeds.ALBUM) for n in range(500)]
    assert min(training) < -80 and max(training) > 80 and (np.abs(training) < 20).mean() > 0.2


def test_landmark_error_grows_with_yaw(table):
    def error(name):
        rows = [row for row in table if name in row["path"]]
        return np.mean([np.linalg.norm(points(row) - points(row, "true_"), axis=1).mean() for row in rows])
    assert error("profile") > 3 * error("frontal") > 0
    assert [landmarks.deviation(yaw) for yaw in (0, 30, 60, -90)] == sorted(
        landmarks.deviation(yaw) for yaw in (0, 30, 60, 90))


def test_landmarks_of_frontal_faces_meet_the_template(table):
    """On average over people, closely; each within what makes faces differ."""
    for prefix in ("", "true_"):
        there = []
        for row in table:
            if "frontal" in row["path"]:
                found = points(row, prefix)
                matrix = alignment.similarity(found, alignment.TEMPLATE)
                there.append(found @ matrix[:, :2].T + matrix[:, 2] - alignment.TEMPLATE)
        assert np.abs(np.mean(there, 0)).max() < 3.5
        assert np.abs(there).max() < 12


def test_light_changes_a_face_less_than_another_person_does(drawn):
    """Of a cheek's colour: what the demo's minutes of training are to be enough for, and are if this holds."""
    cheeks = np.array([[np.median(cv2.imread(str(path))[60:75, 40:72].reshape(-1, 3), 0)
                        for path in sorted(folder.glob("frontal/*.jpg"))]
                       for folder in sorted((drawn / "cfp" / "Data" / "Images").iterdir())])  # people, images, colours
    assert cheeks.shape == (PEOPLE, 10, 3)
    assert cheeks.mean(1).std(0).mean() > 2.3 * cheeks.std(1).mean() > 10


def test_eyes_lie_dark_on_a_lighter_face_where_the_landmarks_say():
    """The drawing agrees with its landmarks: irises are darker than the cheeks below, in frontal crops."""
    darker = 0
    for n in range(12):
        random = seeds.stream(3, seeds.VERIFY, n, seeds.FRONTAL)
        conditions = shot.draw_shot(random, seeds.FRONTAL)
        person = model.model_of(draw_person(seeds.stream(3, seeds.VERIFY, n, seeds.PERSON)))
        taken = photograph.take(person, conditions, random)
        crop = alignment.align(taken.image, taken.points).mean(2)
        eyes = min(crop[49:55, 35:42].min(), crop[49:55, 70:77].min())
        darker += eyes < 0.75 * np.median(crop[64:74, 30:82])
    assert darker >= 10


def test_an_open_mouth_is_painted_between_its_corners_only():
    for n in range(8):
        person = model.model_of(draw_person(seeds.stream(3, seeds.VERIFY, n, seeds.PERSON)))
        painted = person.skin.copy()
        features.paint_mouth(painted, person.person, person.fine, 0.9, 0.5)
        changed = np.abs(painted - person.skin).max(2) > 1e-3
        assert changed.any() and np.abs(person.fine.x[changed]).max() < 1.15 * person.person.mouth_width


def test_crops_lie_mostly_within_the_photograph(drawn):
    """What is black is the exception, also where a profile's landmarks are far off."""
    for folder, most in (("frontal", 0.03), ("profile", 0.12)):
        crops = [cv2.imread(str(path)) for path in (drawn / "cfp").rglob(f"{folder}/*.jpg")]
        assert np.mean([(crop.max(2) < 6).mean() for crop in crops]) < most


def test_rotation_turns_as_the_table_says():
    """yaw > 0: the nose moves to the image's right; pitch > 0: up; roll > 0: clockwise."""
    from synth.render import rotation
    nose, crown = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    assert (rotation(30, 0, 0) @ nose)[0] > 0.4
    assert (rotation(0, 30, 0) @ nose)[1] > 0.4
    assert (rotation(0, 0, 30) @ crown)[0] > 0.4
    matrix = rotation(40, -10, 5)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)


def test_folds_of_an_uneven_number_of_identities():
    folds = protocol.folds_of(27)
    assert sorted(sum(folds, [])) == list(range(27)) and {len(fold) for fold in folds} == {2, 3}


def test_photographs_and_landmarks_give_the_crops(tmp_path):
    """Whoever aligns the photographs by the detected landmarks gets the crops, up to the crop's own JPEG."""
    out = tmp_path / "new" / "out"
    generate(out, 2, 3, 0, 7, size=(112, 96), quality=100, keep_photographs=True)
    with open(out / "landmarks.csv", newline="") as stream:
        for row in csv.DictReader(stream):
            image = cv2.imread(str(out / "photographs" / row["path"]))
            crop = cv2.imread(str(out / row["path"]))
            assert crop.shape == (112, 96, 3)
            again = alignment.align(image, points(row), 112, 96)
            assert np.abs(again.astype(float) - crop).mean() < 2.5

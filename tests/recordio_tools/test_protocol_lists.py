"""`pairs calfw|cplfw|agedb|rfw|list`: the lists of these protocols, in their own formats, to `.bin` files."""
from __future__ import annotations

import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from scipy.io import savemat
from small_sets import draw, jpeg

from common.errors import UserError
from common.matlab import read_variable
from recordio_tools.__main__ import main

SIZE = 24
RUN = subprocess.run


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Images of eight people, each file's bytes another: NAME_0001.jpg beside each other and in folders by name."""
    folder = tmp_path_factory.mktemp("faces")
    for person in range(8):
        for number in range(1, 7):
            data = jpeg(draw(person, number, SIZE))
            for place in (folder / "flat" / "aligned images", folder / "agedb" / "03_Protocol_Images",
                          folder / "named" / f"m.0{person}"):
                place.mkdir(parents=True, exist_ok=True)
            (folder / "flat" / "aligned images" / f"P_{person}_{number:04d}.jpg").write_bytes(data)
            (folder / "agedb" / "03_Protocol_Images" / f"{number}_P{person}_30_m.jpg").write_bytes(data)
            (folder / "named" / f"m.0{person}" / f"m.0{person}_{number:04d}.jpg").write_bytes(data)
    return folder


def pairs(kind, images, listed, out, *more):
    """The pairs of the .bin as ((person, number), (person, number), same)."""
    assert main(["pairs", kind, "--images", str(images), "--pairs", str(listed), "--out", str(out), "--image-size",
                 f"{SIZE},{SIZE}", *more]) == 0
    encoded, same = pickle.loads(out.read_bytes())
    known = {jpeg(draw(person, number, SIZE)): (person, number) for person in range(8) for number in range(1, 7)}
    return [(known[left], known[right], kind) for left, right, kind in zip(encoded[0::2], encoded[1::2], same)]


SAME = [((person, number), (person, number + 1), True) for person in range(8) for number in (1, 3, 5)][:20]
DIFFERENT = [((person, number), ((person + 3) % 8, number), False) for person in range(8) for number in (1, 2, 3)][:20]


@pytest.mark.parametrize("kind", ["calfw", "cplfw"])
def test_two_lines_a_pair_fold_by_fold(faces, tmp_path, kind):
    lines = [f"P_{person}_{number:04d}.jpg\t{flag}" for flag, some in ((7, SAME), (0, DIFFERENT)) for pair in some
             for person, number in pair[:2]]
    (tmp_path / "list.txt").write_text("\r\n".join(lines) + "\n")
    found = pairs(kind, faces / "flat", tmp_path / "list.txt", tmp_path / "x.bin")
    expected = []
    for fold in range(10):  # same[2i:2i + 2] and different[2i:2i + 2], in turn
        for place in (2 * fold, 2 * fold + 1):
            expected += [SAME[place], DIFFERENT[place]]
    assert found == expected


@pytest.mark.parametrize("lines, says", [
    (["a.jpg 1", "b.jpg"], "line 2 is not `image flag`"), (["a.jpg 1", "b.jpg 0"], "one pair, but their flags"),
    (["a.jpg 1"], "two lines make a pair")])
def test_a_list_that_is_none_is_reported_by_line(faces, tmp_path, lines, says):
    (tmp_path / "list.txt").write_text("\n".join(lines))
    with pytest.raises(UserError, match=says):
        main(["pairs", "calfw", "--images", str(faces), "--pairs", str(tmp_path / "list.txt"), "--out",
              str(tmp_path / "x.bin")])


def cell(*values):
    made = np.empty(len(values), object)
    for place, value in enumerate(values):
        made[place] = value
    return made


def write_agedb(path, splits):
    """As the protocol's file has it: splits{i} a struct of a 2 x n cell of images (name, age) and 1 x n labels."""
    outer = np.empty((len(splits), 1), object)
    for number, some in enumerate(splits):
        images = np.empty((2, len(some)), object)
        for place, pair in enumerate(some):
            for side in (0, 1):
                person, index = pair[side]
                images[side, place] = {"name": f"{index}_P{person}_30_m", "age": 30.0}
        labels = np.array([[1 if pair[2] else -1 for pair in some]], np.int16)
        outer[number, 0] = {"pairs": images, "labels": labels}
    savemat(path, {"splits": outer, "other": 1})


def test_agedb_split_by_split(faces, tmp_path):
    splits = [SAME[2 * fold:2 * fold + 2] + DIFFERENT[2 * fold:2 * fold + 2] for fold in range(10)]
    write_agedb(tmp_path / "protocol.mat", splits)
    found = pairs("agedb", faces / "agedb", tmp_path / "protocol.mat", tmp_path / "x.bin")
    assert found == [pair for same, also, different, other in splits for pair in (same, different, also, other)]


def test_agedb_of_another_make_is_refused(tmp_path):
    for content, says in (({"splits": np.zeros(3)}, "split 1 is not a 2 x n cell"), ({"x": 1}, "has no splits")):
        savemat(tmp_path / "p.mat", content)
        with pytest.raises(UserError, match=says):
            main(["pairs", "agedb", "--images", str(tmp_path), "--pairs", str(tmp_path / "p.mat"), "--out", "x.bin"])
    (tmp_path / "p.mat").write_bytes(b"no matlab" * 40)
    with pytest.raises(UserError, match="is not a MATLAB file"):
        main(["pairs", "agedb", "--images", str(tmp_path), "--pairs", str(tmp_path / "p.mat"), "--out", "x.bin"])


def test_a_damaged_protocol_ends_no_process(tmp_path, monkeypatch):
    """SciPy's reader crashes on some: that is told in one line too, as where it asks for more memory than there is."""
    write_agedb(tmp_path / "p.mat", [SAME[:2] + DIFFERENT[:2]])
    for program in ("import os; os.abort()", "import sys; sys.exit('no memory')", "print('half of a li')"):
        with monkeypatch.context() as patched:
            patched.setattr("common.matlab.subprocess.run", partial(run_instead, program))
            with pytest.raises(UserError, match="p.mat: is not a MATLAB file that can be read"):
                read_variable(tmp_path / "p.mat", "splits")
    assert read_variable(tmp_path / "p.mat", "splits")["labels"] == [[1, 1, -1, -1]]


def run_instead(program, line, **settings):
    return RUN([sys.executable, "-c", program], **settings)


def test_rfw_is_lfw_without_a_first_line(faces, tmp_path):
    chosen = [pair for both in zip(SAME, DIFFERENT) for pair in both]
    lines = [f"m.0{left[0]}\t{left[1]}\t{right[1]}" if same else f"m.0{left[0]}\t{left[1]}\tm.0{right[0]}\t{right[1]}"
             for left, right, same in chosen]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    assert pairs("rfw", faces / "named", tmp_path / "pairs.txt", tmp_path / "x.bin") == chosen


@pytest.mark.parametrize("separator", [" ", "\t", ","])
def test_paths_and_a_zero_or_one(faces, tmp_path, separator):
    chosen = [pair for both in zip(SAME, DIFFERENT) for pair in both]
    folder = "flat/aligned images" if separator != " " else "agedb/03_Protocol_Images"
    name = "P_{0}_{1:04d}.jpg" if separator != " " else "{1}_P{0}_30_m.jpg"
    lines = [separator.join([*(f"{folder}/{name.format(*side)}" for side in pair[:2]), str(int(pair[2]))])
             for pair in chosen]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert pairs("list", faces, tmp_path / "list.txt", tmp_path / "x.bin") == chosen


def test_a_line_that_is_not_a_pair_is_reported(tmp_path):
    (tmp_path / "list.txt").write_text("a.jpg b.jpg 1\na b.jpg c.jpg 0\n")
    with pytest.raises(UserError, match="line 2 is not .path1 path2 1."):
        main(["pairs", "list", "--pairs", str(tmp_path / "list.txt"), "--out", str(tmp_path / "x.bin")])

"""pairs make: balanced folds without a shared identity, no pair twice, the same for the same seed; also real faces."""
import collections
import csv
import filecmp
import itertools
import os
import pickle
import re
import struct

import cv2
import mxnet as mx
import numpy as np
import pytest
from check_cases import check_bin
from real_data_cases import exif
from recordio_cases import command, picture, write_image
from small_sets import write_training_set

from common.errors import UserError
from images.pair_drawing import draw_pairs
from recordio_tools.bins.binfile import read_bin
from recordio_tools.bins.odd_pairs import find_odd_pairs
from recordio_tools.records import framing
from recordio_tools.records.writer import RecordWriter


def sound(drawn, counts, pairs, folds):
    """Every promise of draw_pairs, checked by plain counting."""
    assert len(drawn) == pairs
    size = pairs // folds
    assert [pair.fold for pair in drawn] == [fold for fold in range(folds) for _ in range(size)]
    assert [pair.same for pair in drawn] == [True, False] * (pairs // 2)
    assert len({frozenset((pair.left, pair.right)) for pair in drawn}) == pairs
    home = {}
    for pair in drawn:
        assert (pair.left[0] == pair.right[0]) == pair.same and pair.left != pair.right
        for identity, number in (pair.left, pair.right):
            assert home.setdefault(identity, pair.fold) == pair.fold and 0 <= number < counts[identity]


@pytest.mark.parametrize("counts, pairs, folds", [
    ([2] * 20, 20, 10), ([5] * 40, 400, 10), ([530, 236] + [2] * 50 + [1] * 100, 120, 3), ([3, 3, 3, 3], 12, 2),
    ([1] * 30 + [9] * 12, 240, 6), ([4] * 9, 36, 3), ([300] * 72, 6000, 10)])
@pytest.mark.parametrize("seed", [0, 7])
def test_folds_are_balanced_and_disjoint(counts, pairs, folds, seed):
    drawn = draw_pairs(counts, pairs, folds, seed, "x")
    sound(drawn, counts, pairs, folds)
    assert drawn == draw_pairs(counts, pairs, folds, seed, "x")
    if pairs > 40:
        assert drawn != draw_pairs(counts, pairs, folds, seed + 1, "x")


def test_images_come_again_only_when_all_were_used():
    uses = collections.Counter(side for pair in draw_pairs([10] * 40, 400, 10, 3, "x") if pair.same
                               for side in (pair.left, pair.right))
    assert set(uses.values()) == {1} and len(uses) == 400  # 4 identities of 10 in a fold of 20 same pairs
    uses = collections.Counter(side for pair in draw_pairs([8] * 40, 640, 10, 3, "x")
                               for side in (pair.left, pair.right))
    assert min(uses.values()) >= 3 and max(uses.values()) <= 5 and len(uses) == 320  # 4 on average


def test_all_pairs_can_be_sampled():
    counts = [3, 3, 3, 3]  # a fold of two: 6 same pairs and 9 different ones
    sound(draw_pairs(counts, 24, 2, 0, "x"), counts, 24, 2)
    counts = [4, 3]  # 9 same, 12 different
    drawn = draw_pairs(counts, 18, 1, 0, "x")
    assert {frozenset((pair.left, pair.right)) for pair in drawn if pair.same} == {
        frozenset(pair) for one, count in enumerate(counts)
        for pair in itertools.combinations([(one, number) for number in range(count)], 2)}


@pytest.mark.parametrize("counts, pairs, folds, message", [
    ([5] * 40, 30, 10, "`pairs` 30: 10 folds .* multiple of 20, e.g. 20"),
    ([5] * 9, 20, 10, "fold .* of 10 has .* identities"),
    ([1] * 40, 20, 10, "give 0 same and 6 different pairs, not 1"),
    ([3, 3, 3, 3], 28, 2, "give 6 same and 9 different"),
    ([], 20, 10, "0 identities")])
def test_too_much_is_refused_in_one_line(counts, pairs, folds, message):
    with pytest.raises(UserError, match=message):
        draw_pairs(counts, pairs, folds, 0, "x")


@pytest.mark.parametrize("counts, pairs, folds, selected, told", [
    ([5] * 9, 20, 10, False, "ask for fewer `folds`"), ([5] * 9, 20, 10, True, "fewer `folds`, or lower `min_images`"),
    ([3] * 12, 180, 3, False, "ask for fewer `pairs` or `folds`"), ([3, 3, 3, 3], 28, 2, False, "fewer `pairs`"),
    ([5] * 3, 12, 3, False, "a set with more identities of several images"),
    ([1] * 40, 20, 10, False, "a set with more identities of several images")])
def test_a_refusal_advises_what_helps(counts, pairs, folds, selected, told):
    with pytest.raises(UserError, match="[^;]*; (.*)") as caught:
        draw_pairs(counts, pairs, folds, 0, "x", selected)
    advice = str(caught.value).split("; ")[-1]
    assert advice.endswith(told), advice
    if "`folds`" in advice:
        draw_pairs(counts, 4, 2, 0, "x")
    if "`pairs`" in advice:
        draw_pairs(counts, 2 * folds, folds, 0, "x")


@pytest.fixture
def people(tmp_path):
    return write_training_set(tmp_path / "set", identities=12, images=4, size=48)


def test_a_bin_of_a_packed_set_and_the_same_of_the_unpacked_one(people, tmp_path):
    argv = ("pairs", "make", people, "--pairs", 40, "--folds", 5, "--seed", 2)
    for workers in (1, 3):
        assert command(*argv, "--out", tmp_path / f"{workers}.bin", "--csv", tmp_path / f"{workers}.csv", "--workers",
                       workers) == (0, "")
    assert filecmp.cmp(tmp_path / "1.bin", tmp_path / "3.bin", shallow=False)
    images, same = read_bin(tmp_path / "1.bin")
    assert len(images) == 80 and same.tolist() == [True, False] * 20
    rows = list(csv.DictReader(open(tmp_path / "1.csv")))
    assert [int(row["fold"]) for row in rows] == [fold for fold in range(1, 6) for _ in range(8)]
    assert command("unpack", people, tmp_path / "out") == (0, "")
    for place, row in enumerate(rows):
        assert (row["left"].split("/")[0] == row["right"].split("/")[0]) == (row["same"] == "1") == same[place]
        assert (tmp_path / "out" / row["left"]).read_bytes() == images[2 * place]
        assert (tmp_path / "out" / row["right"]).read_bytes() == images[2 * place + 1]
    assert command("pairs", "csv", "--pairs", tmp_path / "1.csv", "--images", tmp_path / "out", "--image-size", "48,48",
                   "--folds", 5, "--out", tmp_path / "again.bin") == (0, "")
    assert filecmp.cmp(tmp_path / "1.bin", tmp_path / "again.bin", shallow=False)
    assert command("pairs", "make", tmp_path / "out", "--pairs", 40, "--folds", 5, "--out", tmp_path / "f.bin", "--csv",
                   tmp_path / "f.csv") == (0, "")
    assert (tmp_path / "out" / next(csv.DictReader(open(tmp_path / "f.csv")))["left"]).is_file()


def test_real_faces_make_a_set_that_scores_as_one(shared_data, tmp_path):
    assert command("pairs", "make", shared_data / "train", "--pairs", 600, "--out", tmp_path / "x.bin") == (0, "")
    assert command("check", tmp_path / "x.bin") == (0, "")
    images, same = pickle.loads((tmp_path / "x.bin").read_bytes())
    assert len(images) == 1200 and sum(same) == 300
    assert all(sum(part) == 30 for part in np.array_split(same, 10))


def test_refusals_write_nothing(people, tmp_path):
    write_image(tmp_path / "mixed/a/1.jpg", picture(1))
    for name, number in itertools.product("abcd", (2, 3, 4)):
        write_image(tmp_path / f"mixed/{name}/{number}.jpg", picture(10 * ord(name) + number, 48, 48))
    (tmp_path / "broken/a").mkdir(parents=True)
    for name in "abcd":
        write_image(tmp_path / f"broken/{name}/1.jpg", picture(ord(name)))
        (tmp_path / f"broken/{name}/2.jpg").write_bytes(b"no image" + name.encode())
    for argv, message in (((people, "--pairs", 6), "fewer than the 10 folds"),
                          ((people, "--pairs", 50), "multiple of 20"),
                          ((people, "--pairs", 6000), "ask for fewer --pairs"),
                          ((people, "--pairs", 20, "--min-images", 5), "0 identities"),
                          ((tmp_path / "none",), "there is no such file"),
                          ((tmp_path / "mixed", "--pairs", 12, "--folds", 2), "a verification set has one size"),
                          ((tmp_path / "broken", "--pairs", 4, "--folds", 2), "is not an image")):
        status, line = command("pairs", "make", *argv, "--out", tmp_path / "x.bin", "--csv", tmp_path / "x.csv")
        assert status == 2 and message in line, line
    assert not (tmp_path / "x.bin").exists() and not (tmp_path / "x.csv").exists()


def test_the_table_names_files_whose_names_are_not_plain_text(tmp_path):
    for name, number in itertools.product((b"Jos\xe9", b"a\nb", b"caf\xc3\xa9", b"z\t"), range(2)):
        write_image(tmp_path / "faces" / os.fsdecode(name) / f"{number}.jpg", picture(10 * sum(name) + number))
    faces, table = tmp_path / "faces", tmp_path / "x.csv"
    assert command("pairs", "make", faces, "--pairs", 4, "--folds", 2, "--out", tmp_path / "x.bin", "--csv",
                   table) == (0, "")
    assert command("pairs", "csv", "--images", faces, "--pairs", table, "--folds", 2, "--out",
                   tmp_path / "again.bin") == (0, "")
    assert filecmp.cmp(tmp_path / "x.bin", tmp_path / "again.bin", shallow=False)


def test_copies_of_an_image_are_not_sampled(tmp_path, caplog):
    for name, number in itertools.product("abcdef", range(4)):
        write_image(tmp_path / f"faces/{name}/{number}.jpg", picture(10 * ord(name) + number))
        write_image(tmp_path / f"faces/{name}/copy{number}.jpg", picture(10 * ord(name) + number))
        write_image(tmp_path / f"faces/{name}/shared.jpg", picture(5))
    write_image(tmp_path / "faces/only/shared.jpg", picture(5))
    assert command("pairs", "make", tmp_path / "faces", "--pairs", 24, "--folds", 2, "--out",
                   tmp_path / "x.bin") == (0, "")
    assert "31 images are copies of others" in caplog.text
    images, same = read_bin(tmp_path / "x.bin")
    assert not str(find_odd_pairs([images.index(image) for image in images], same))
    assert (tmp_path / "faces/a/shared.jpg").read_bytes() not in images
    status, line = command("pairs", "make", tmp_path / "faces", "--pairs", 2000, "--out", tmp_path / "y.bin")
    assert status == 2 and "--min-images" not in line  # no identity is left out by it


def test_images_that_not_every_reader_decodes_or_turns_are_converted_from_folders_and_packed_sets(tmp_path, capsys):
    with RecordWriter(tmp_path / "set/train.rec") as writer:
        for person, number in itertools.product(range(4), range(2)):
            content = cv2.imencode(".webp" if number else ".jpg", picture(10 * person + number))[1].tobytes()
            if not number:
                tags = b"Exif\0\0" + exif(6)
                content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(tags) + 2) + tags + content[2:]
            path = tmp_path / f"faces/{person}/{number}{'.webp' if number else '.jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            writer.write(2 * person + number, framing.pack(float(person), 2 * person + number, content))
    for source in ("faces", "set"):
        capsys.readouterr()
        assert command("pairs", "make", tmp_path / source, "--out", tmp_path / f"{source}.bin", "--pairs", 4, "--folds",
                       2, "--csv", tmp_path / f"{source}.csv") == (0, "")
        assert re.findall(r"\n  (.*?)  +\d", capsys.readouterr().out) == ["converted", "converted, rotated by EXIF"]
        images, _ = read_bin(tmp_path / f"{source}.bin")
        assert all(mx.image.imdecode(image).shape == (112, 112, 3) for image in images)
        assert "other-readers" not in check_bin(tmp_path / f"{source}.bin", 1, 2).notes
    assert command("unpack", tmp_path / "set", tmp_path / "again") == (0, "")
    for row in csv.DictReader(open(tmp_path / "set.csv")):
        assert (tmp_path / "again" / row["left"]).is_file()


def test_the_way_out_of_too_few_pairs_is_fewer_folds(tmp_path):
    faces = tmp_path / "faces"
    for person in range(2):
        for number in range(3):
            write_image(faces / f"{person}/{number}.jpg", picture(10 * person + number))
    rows = [f"0/{number}.jpg,{1 - number % 2}/{(number + 1) % 3}.jpg,{number % 2},{1 + number // 2}"
            for number in range(3)]
    (tmp_path / "p.csv").write_text("left,right,same,fold\n" + "\n".join([*rows, "1/0.jpg,1/2.jpg,1,2"]) + "\n")
    argv = "pairs", "csv", "--pairs", tmp_path / "p.csv", "--images", faces, "--out", tmp_path / "x.bin"
    status, line = command(*argv)
    assert status == 2 and line.endswith("or give verification's number of folds: --folds 2 fits (now 10)")
    assert command(*argv, "--folds", 2) == (0, "")

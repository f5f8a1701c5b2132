"""Pairs that say nothing or contradict each other, images that other readers see otherwise, files that are no set."""
from __future__ import annotations

import gzip
import io
import pickle
import re
import zipfile

import cv2
import mxnet as mx
import numpy as np
import pytest
from check_cases import check_bin
from real_data_cases import stored
from recordio_cases import command, drawn_faces, picture, write_image

from common.errors import DataError
from eval.verification import VerificationSet
from images.folder_depth import count_unlike_folders
from recordio_tools.bins.binfile import read_bin, write_bin
from recordio_tools.bins.odd_pairs import BOTH, ITSELF, TWICE, find_odd_pairs


def test_pairs_that_are_odd():
    sides = [0, 1, 1, 0, 2, 2, 3, 4, 4, 3, 3, 4, 5, 6]
    found = find_odd_pairs(sides, [True, True, True, True, False, True, False])
    assert (found.itself, found.twice, found.both) == ([2], [1], [3, 4, 5])
    assert "1 pair of an image with itself (the first is pair 2, from 0)" in str(found)
    assert not str(find_odd_pairs([0, 1, 2, 3], [True, False]))


def test_they_are_reported_by_pairs_check_and_verify(tmp_path, caplog, capsys):
    drawn_faces(tmp_path / "faces", 4, 3)
    rows = ["person0/0.jpg,person0/0.jpg,1", "person0/0.jpg,person1/0.jpg,0", "person1/0.jpg,person0/0.jpg,1",
            "person2/0.jpg,person2/1.jpg,1", "person2/1.jpg,person2/0.jpg,1", "person3/0.jpg,person1/1.jpg,0"]
    (tmp_path / "p.csv").write_text("left,right,same\n" + "\n".join(rows))
    assert command("pairs", "csv", "--pairs", tmp_path / "p.csv", "--images", tmp_path / "faces", "--folds", 2, "--out",
                   tmp_path / "x.bin") == (0, "")
    for words in ("1 times an image with itself, first in line 2", "1 times the same pair again, first in line 6",
                  "2 times same and different at once, first in line 3"):
        assert words in caplog.text
    report = check_bin(tmp_path / "x.bin", 1, 2)
    assert report.sound and report.notes["odd-pair"].count == 4
    assert {what: one.count for what, one in report.reasons["odd-pair"].items()} == {ITSELF: 1, TWICE: 1, BOTH: 2}
    capsys.readouterr()
    assert command("check", tmp_path / "x.bin", "--folds", 2) == (0, "")
    assert re.findall(r"note: odd-pair +(\d+)  .*from 0\): (.*)", capsys.readouterr().out) == [
        ("1", ITSELF), ("1", TWICE), ("2", BOTH)]
    caplog.clear()
    VerificationSet(tmp_path / "x.bin", 2)
    assert "1 pair of an image with itself" in caplog.text


def test_a_bin_holds_what_others_decode_upright(tmp_path, capsys):
    image = picture(3, 40, 56)
    for name, data in {"a.webp": stored(6, "webp"), "b.png": stored(8, "png"), "c.png": stored(1, "png"),
                       "d.jp2": cv2.imencode(".jp2", image[..., ::-1])[1].tobytes(),
                       "e.ppm": cv2.imencode(".ppm", image[..., ::-1])[1].tobytes(),
                       "f.bmp": cv2.imencode(".bmp", image[..., ::-1])[1].tobytes()}.items():
        (tmp_path / name).write_bytes(data)
    write_image(tmp_path / "other.png", picture(4, 40, 56))
    names = "abcdef"
    files = [next(tmp_path.glob(f"{name}.*")).name for name in names]
    (tmp_path / "p.csv").write_text("left,right,same\n" + "".join(f"{name},other.png,{number % 2}\n"
                                                                  for number, name in enumerate(files)))
    assert command("pairs", "csv", "--pairs", tmp_path / "p.csv", "--out", tmp_path / "x.bin", "--folds", 2,
                   "--image-size", "40,56") == (0, "")
    out = capsys.readouterr().out
    assert "rotated by EXIF" in out and "converted" in out and "copied" in out
    images, _ = read_bin(tmp_path / "x.bin")
    for content in images[0::2]:
        assert abs(mx.image.imdecode(content).asnumpy().astype(int) - image).mean() < 3
    assert images[4] == (tmp_path / "c.png").read_bytes() and images[10] == (tmp_path / "f.bmp").read_bytes()
    assert "other-readers" not in check_bin(tmp_path / "x.bin", 1, 2).notes
    write_bin(tmp_path / "raw.bin", [(tmp_path / files[0]).read_bytes(), (tmp_path / files[1]).read_bytes()] * 2,
              [True, False])
    assert check_bin(tmp_path / "raw.bin", 1, 2).notes["other-readers"].count == 4


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("same", [
    np.array([1, 0, 1]), np.array([1, 0, 1], ">i4"), np.array([1, 0, 1], np.uint8), np.array([True, False, True]),
    [np.int64(1), np.uint16(0), np.int8(1)], [np.bool_(True), np.bool_(False), np.bool_(True)],
    [np.array(True), np.array(0), np.array(1)], np.array([[1], [0], [1]]), (1, 0, 1), [1.0, 0.0, 1.0],
    np.array([1.0, 0.0, 1.0]), np.array([1, 0, 1], ">f4"), [np.float32(1), np.float64(0), np.float16(1)]])
def test_truth_values_of_any_kind(tmp_path, same, protocol):
    images = [cv2.imencode(".jpg", picture(number))[1].tobytes() for number in range(6)]
    (tmp_path / "x.bin").write_bytes(pickle.dumps((images, same), protocol))
    assert read_bin(tmp_path / "x.bin")[1].tolist() == [True, False, True]


@pytest.mark.parametrize("same", [np.array([2, 0, 1]), [np.int64(-1), 0, 1], np.array([1.5, 0.0, 1.0])])
def test_truth_values_that_are_none(tmp_path, same):
    (tmp_path / "x.bin").write_bytes(pickle.dumps(([b"x"] * 6, same), 2))
    with pytest.raises(DataError):
        read_bin(tmp_path / "x.bin")


def zipped():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", "b")
    return stream.getvalue()


@pytest.mark.parametrize("content, what", [
    (zipped(), "a zip archive"), (gzip.compress(b"x", mtime=0), "gzip-compressed"),
    (b"<!DOCTYPE html><html>", "a web page"), (b"\x0a\x23\xd7\xce\0\0\0\0", "a .rec file"),
    (b"(\xb5/\xfd\4\0", "zstd-compressed"), (b"Rar!\x1a\x07\0\xcf", "a RAR archive"),
    (b"7z\xbc\xaf'\x1c", "a 7z archive"),
    (b"lfw/1.jpg".ljust(257, b"\0") + b"ustar\x0000", "a tar archive"), (b"\x92\xdc\0\x28\xc4", "msgpack data"),
    (pickle.dumps(([b"a", b"b"], [True]), 2).replace(b"\n", b"\r\n"), "its line ends were converted"),
    (pickle.dumps(([b"a", b"b"], [True, True]), 2), "2 images and as many values of same"),
    (cv2.imencode(".jpg", picture(1))[1].tobytes(), "an image (JPEG)"), (b"\x93NUMPY\1\0", "a numpy array"),
    (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"), (b"\0" * 64, "is not a pickle; exp"),
    (b"left,right,same\na,b,1\n", "a text file"), (b"0 a/b.jpg\n", "a text file"), (b'{"a": 1}', "a text file"),
    (b"", "is empty")], ids=["zip", "gzip", "html", "rec", "zstd", "rar", "7z", "tar",
                                "msgpack", "crlf", "one for each image", "jpeg", "npy", "lfs", "zeros", "csv",
                                "lst", "json",
                                "empty"])
def test_files_that_are_not_pickles_are_named(tmp_path, content, what):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(DataError, match="x.bin") as caught:
        read_bin(tmp_path / "x.bin")
    assert what in str(caught.value) and "\n" not in str(caught.value)


def test_folds_that_are_not_those_of_verification(tmp_path, caplog):
    faces = drawn_faces(tmp_path / "faces", 4, 4)
    rows = [f"person{number % 4}/0.jpg,person{(number + number // 4 % 2) % 4}/{1 + number % 3}.jpg,"
            f"{1 - number // 4 % 2},{1 if number < 8 else 2}" for number in range(24)]
    (tmp_path / "p.csv").write_text("left,right,same,fold\n" + "\n".join(rows))
    command("pairs", "csv", "--pairs", tmp_path / "p.csv", "--images", faces, "--out", tmp_path / "x.bin", "--folds", 2)
    assert "its folds have 8, 16 pairs, verification uses 12, 12 in this order" in caplog.text
    assert "--folds" not in caplog.text
    (tmp_path / "p.csv").write_text("left,right,same,fold\n" + "\n".join(
        f"{row[:-1]}{number // 8 + 1}" for number, row in enumerate(rows)))
    command("pairs", "csv", "--pairs", tmp_path / "p.csv", "--images", faces, "--out", tmp_path / "y.bin", "--folds", 2)
    assert "its folds have 8, 8, 8 pairs" in caplog.text and "eval verify --folds 3 takes the list's" in caplog.text


def test_lfw_pairs_as_a_table(tmp_path):
    for name in ("Jo_A", "Al_B"):
        for number in (1, 2):
            write_image(tmp_path / f"{name}/{name}_{number:04d}.JPG", picture(ord(name[0]) + number))
    (tmp_path / "pairs.csv").write_text("name,imagenum1,imagenum2,\nJo_A,1,2,\nAl_B,1,2,\nJo_A,1,Al_B,1\n"
                                        "Jo_A,2,Al_B,2\n")
    assert command("pairs", "lfw", "--images", tmp_path, "--pairs", tmp_path / "pairs.csv", "--folds", 2, "--out",
                   tmp_path / "x.bin") == (0, "")  # same pairs, then different ones: they alternate
    assert read_bin(tmp_path / "x.bin")[1].tolist() == [True, False, True, False]
    (tmp_path / "x.bin").unlink()
    text = (tmp_path / "pairs.csv").read_text().splitlines()
    (tmp_path / "pairs.csv").write_text("\n".join([text[0], text[1], text[3], text[2], text[4]]))
    assert command("pairs", "lfw", "--images", tmp_path, "--pairs", tmp_path / "pairs.csv", "--folds", 2, "--out",
                   tmp_path / "x.bin") == (0, "")
    assert read_bin(tmp_path / "x.bin")[1].tolist() == [True, False, True, False]
    assert command("check", tmp_path / "x.bin", "--folds", 2) == (0, "")
    assert command("check", tmp_path / "x.bin")[0] == 1


def test_pairs_that_the_folders_contradict(tmp_path, caplog):
    faces = drawn_faces(tmp_path / "faces", 4, 6)
    rows = [f"person{number % 4}/{number // 4}.jpg,person{(number + number % 2) % 4}/{(number // 4 + 1) % 6}.jpg,"
            f"{1 - number % 2}" for number in range(24)]
    rows[4], rows[7] = rows[4][:-1] + "0", rows[7][:-1] + "1"
    (tmp_path / "p.csv").write_text("left,right,same\n" + "\n".join(rows))
    assert command("pairs", "csv", "--pairs", tmp_path / "p.csv", "--images", faces, "--out", tmp_path / "x.bin",
                   "--folds", 2) == (0, "")
    assert "1 pairs marked same are of two identities' folders, 1 marked different of one" in caplog.text


@pytest.mark.parametrize("forms", [
    ("train/{}/{}.jpg", "val/{}/{}.jpg", "val/{}/{}.jpg"), ("{}/front/{}.jpg", "{}/side/{}.jpg", "{}/front/{}.jpg"),
    ("train/{}/{}.jpg", "train/{}/{}.jpg", "val/1{}/{}.jpg"), ("a/b{}/{}.jpg", "a/b{}/{}.jpg", "c/d/b{}/{}.jpg")])
def test_labels_that_are_right_below_other_folders(forms):
    pairs, same = [], []
    for number in range(30):
        one = forms[number % 3]
        pairs += [(one.format(number % 5, 0), one.format(number % 5, 1)),
                  (one.format(number % 5, 0), forms[0].format(number % 5 + 1, 1))]
        same += [True, False]
    assert count_unlike_folders(pairs, same) == (0, 0)
    wrong = forms[0].format(1, 1), forms[0].format(2, 1)
    assert count_unlike_folders([*pairs, wrong], [*same, True]) == (1, 0)

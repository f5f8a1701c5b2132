"""Landmark tables in the wrong units are refused before any work; right ones are taken, also of turned photographs."""
import csv
import logging
import struct

import numpy as np
import pytest
from recordio_cases import command, picture, write_image

from align.landmark_table import Row, match_names, read_table
from common.errors import UserError
from images.alignment import TEMPLATE

SIZE = 240, 300  # height, width of the photographs


@pytest.fixture
def photographs(tmp_path):
    """Twelve photographs, and the points of a face of half the height in the middle of each, shifted a little."""
    points = {}
    for number in range(12):
        name = f"p{number % 3}/{number}.jpg"
        write_image(tmp_path / "src" / name, picture(number, *SIZE))
        points[name] = TEMPLATE * 1.1 + (80 + 5 * number, 40 + 3 * number)
    return points


def table(path, points):
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([name, *np.round(values, 3).ravel()] for name, values in points.items())
    return path


def align(tmp_path, points, out="out"):
    return command("align", tmp_path / "src", tmp_path / out, "--landmarks", table(tmp_path / "t.csv", points))


@pytest.mark.parametrize("change, words", [
    (lambda points: points / 2, "of copies of half the size"),
    (lambda points: points / SIZE[::-1] * 100, "in percent of the image"),
    (lambda points: points / SIZE[::-1], "in fractions of the image"),
    (lambda points: points * 3, "lie outside their photographs, e.g. at"),
    (lambda points: points - 500, "lie outside their photographs, e.g. at")],
    ids=["half", "percent", "parts", "of larger copies", "outside"])
def test_points_in_other_units_are_refused_before_work(photographs, tmp_path, change, words):
    assert align(tmp_path, photographs) == (0, "")
    status, line = align(tmp_path, {name: change(points) for name, points in photographs.items()}, "none")
    assert status == 2 and words in line and "t.csv: " in line and not (tmp_path / "none").exists()
    assert ("--trust-landmarks" in line) == ("half" in words or "percent" in words)


def test_the_faces_of_a_fixed_camera_are_aligned_where_the_user_insists(photographs, tmp_path, caplog):
    points = {name: TEMPLATE / 2 + (10 + place, 12) for place, name in enumerate(photographs)}
    status, line = align(tmp_path, points)
    assert status == 2 and "in the upper left quarter" in line and "--trust-landmarks" in line
    assert command("align", tmp_path / "src", tmp_path / "out", "--landmarks", tmp_path / "t.csv",
                   "--trust-landmarks") == (0, "")
    assert "in the upper left quarter" in caplog.text
    with open(tmp_path / "out/landmarks.csv", newline="") as stream:
        assert {row["path"]: float(row["x1"]) for row in csv.DictReader(stream)} == {
            name: pytest.approx(values[0, 0], abs=1e-3) for name, values in points.items()}


def test_a_few_faces_in_a_corner_are_reported_and_done(photographs, tmp_path, caplog):
    few = {name: points / 2 for name, points in list(photographs.items())[:3]}
    with caplog.at_level(logging.WARNING):
        assert align(tmp_path, few)[0] == 0
    assert "all 3 faces sampled lie in the upper left quarter" in caplog.text


def test_one_face_outside_its_photograph(photographs, tmp_path):
    status, line = align(tmp_path, {name: points + 1000 for name, points in list(photographs.items())[:1]})
    assert status == 2 and "1 of 1 faces" in line and not (tmp_path / "out").exists()


def turn_by_exif(path, orientation):
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHHI", 0x112, 3, 1, orientation, 0, 0)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])


def as_stored(points, orientation):
    """Points of an upright photograph in the pixels stored, 300 wide and 240 high."""
    x, y = points.T
    return np.stack({1: (x, y), 3: (299 - x, 239 - y), 6: (y, 239 - x), 8: (299 - y, x)}[orientation], axis=1)


@pytest.mark.parametrize("orientations, words", [
    ([6] * 12, "12 of 12"), ([8] * 12, "12 of 12"), ([3] * 12, "12 of 12"), ([6, 1, 8, 3] * 3, "9 of 9"),
    ([1] * 8 + [6] * 4, "4 of 4")])
def test_points_of_the_pixels_as_stored_are_refused(photographs, tmp_path, orientations, words):
    for name, orientation in zip(photographs, orientations):
        turn_by_exif(tmp_path / "src" / name, orientation)
        photographs[name] = TEMPLATE * 1.1 + (70, 60)
    assert align(tmp_path, photographs) == (0, "")
    stored = {name: as_stored(points, orientation)
              for (name, points), orientation in zip(photographs.items(), orientations)}
    status, line = align(tmp_path, stored, "none")
    assert status == 2 and f"t.csv: {words} photographs sampled" in line and "pixels as stored" in line
    assert not (tmp_path / "none").exists()


def test_trusted_points_of_the_pixels_as_stored_must_lie_in_their_photographs(photographs, tmp_path):
    """Four in photographs turned by EXIF are doubtful only; the eight others are outside."""
    points = {name: as_stored(TEMPLATE * 1.1 + (70, 60), 6) if place < 4 else values + 900
              for place, (name, values) in enumerate(photographs.items())}
    for name in list(points)[:4]:
        turn_by_exif(tmp_path / "src" / name, 6)
    assert "pixels as stored" in align(tmp_path, points)[1]
    argv = "align", tmp_path / "src", tmp_path / "out", "--landmarks", tmp_path / "t.csv", "--trust-landmarks"
    status, line = command(*argv)
    assert status == 2 and "8 of 12 faces sampled lie outside their photographs" in line
    table(tmp_path / "t.csv", {**photographs, **dict(list(points.items())[:4])})
    assert command(*argv) == (0, "")


def test_a_few_who_lie_are_taken(photographs, tmp_path, caplog):
    """Three of twelve lie, of which two as if their points were of the pixels as stored."""
    for name in list(photographs)[:6]:
        turn_by_exif(tmp_path / "src" / name, 6)
        photographs[name] = TEMPLATE * 1.1 + (70, 60)
    for name in list(photographs)[4:7]:
        photographs[name] = as_stored(TEMPLATE * 1.1 + (70, 60), 6)
    with caplog.at_level(logging.WARNING):
        assert align(tmp_path, photographs) == (0, "")
    assert "2 of 6 photographs sampled that are turned by EXIF" in caplog.text and "somebody lying" in caplog.text
    assert len(list((tmp_path / "out").glob("*/*.jpg"))) == 12


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_faces_that_lie_without_exif_are_told_and_turned_upright(photographs, tmp_path, orientation, caplog):
    lying = {name: as_stored(TEMPLATE * 1.1 + (70, 60), orientation) for name in photographs}
    assert align(tmp_path, lying)[0] == 0  # so the photographs may be
    assert "12 of 12 faces sampled lie on their sides or upside down" in caplog.text


def test_a_turned_photograph_is_as_large_as_it_is_seen(tmp_path):
    """Stored 300 wide and 240 high, seen 240 wide and 300 high: a face at the bottom is inside."""
    path = write_image(tmp_path / "src/a/1.jpg", picture(1, *SIZE))
    data = path.read_bytes()
    turn_by_exif(path, 6)
    low = {"a/1.jpg": TEMPLATE + (60, 182)}
    assert align(tmp_path, low) == (0, "")
    path.write_bytes(data)
    status, line = align(tmp_path, low, "none")
    assert status == 2 and "in 300x240 pixels" in line


def test_celebas_words_for_the_points(photographs, tmp_path):
    names = [f"{part}_{axis}" for part in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"]
    table(tmp_path / "t.csv", photographs)
    text = (tmp_path / "t.csv").read_text().replace(",", "  ")
    (tmp_path / "t.txt").write_text("image_id " + " ".join(names) + "\n" + text)
    assert command("align", tmp_path / "src", tmp_path / "out", "--landmarks", tmp_path / "t.txt") == (0, "")
    assert len(list((tmp_path / "out").glob("*/*.jpg"))) == 12
    (tmp_path / "list.txt").write_text("12\n" + " ".join(names) + " \n" + text)  # as CelebA has it
    assert read_table(tmp_path / "list.txt", tmp_path) == read_table(tmp_path / "t.txt", tmp_path)
    (tmp_path / "list.txt").write_text("12\n" + text)
    assert read_table(tmp_path / "list.txt", tmp_path) == read_table(tmp_path / "t.txt", tmp_path)
    rows = text.replace("\n", " 1 \n")  # as wide as a table that names one column more
    (tmp_path / "list.txt").write_text("12\nphoto " + " ".join(names) + " score\n" + rows)
    with pytest.raises(UserError, match="line 2 is 'photo .* has no column path"):
        read_table(tmp_path / "list.txt", tmp_path)
    (tmp_path / "list.txt").write_text("12\n")
    with pytest.raises(UserError, match="line 1 is '12', not a first line"):
        read_table(tmp_path / "list.txt", tmp_path)


def test_the_corners_of_a_box_beside_named_points_are_not_the_eyes(photographs, tmp_path):
    parts = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    header = ["path", "x1", "y1", "x2", "y2", *(f"{part}_{axis}" for part in parts for axis in "xy")]
    rows = [[name, *(points.min(0) - 20), *(points.max(0) + 20), *points.ravel()]
            for name, points in photographs.items()]
    with open(tmp_path / "b.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    for name, row in read_table(tmp_path / "b.csv", tmp_path).items():
        assert np.array_equal(row.array(), photographs[name])
    header[5:] = [f"{axis}{number}" for number in range(1, 6) for axis in "xy"]
    with open(tmp_path / "b.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    with pytest.raises(UserError, match="b.csv: line 1 names two columns x1; rename the one that is not meant"):
        read_table(tmp_path / "b.csv", tmp_path)


def test_a_photograph_that_two_rows_could_be_of():
    one, other = Row(("1",) * 10), Row(("2",) * 10)
    assert match_names({"p/a.jpg": one, "p/a.JPG": other}, ["p/a.jpg"]) == {"p/a.jpg": one}
    assert match_names({"p/a.JPG": other, "p/a.jpg": one}, ["p/a.jpg"]) == {"p/a.jpg": one}
    with pytest.raises(UserError, match=r"l.csv: p\\a.jpg and p/a.JPG could both be p/a.jpg"):
        match_names({"p\\a.jpg": one, "p/a.JPG": other}, ["p/a.jpg"], "src", "l.csv")
    assert match_names({"p\\a.jpg": one, "src\\p\\b.jpg": one}, ["p/a.jpg", "p/b.jpg"], "src") == {
        "p/a.jpg": one, "src\\p\\b.jpg": one}  # all lose the same
    assert match_names({"src\\p\\a.jpg": one}, ["p/a.jpg"], "src") == {"p/a.jpg": one}


@pytest.mark.parametrize("front, expected", [
    ("other\\", "t.csv: names no photograph below"), ("src\\", ""), ("D:\\x\\src\\", ""), ("D:/x/src/", ""), ("", "")])
def test_rows_of_another_albums_photographs(photographs, tmp_path, front, expected):
    points = {front + name.replace("/", "\\"): values for name, values in photographs.items()}
    status, line = align(tmp_path, points)
    assert (status, line == "") == ((2, False) if expected else (0, True)) and expected in line
    assert len(list((tmp_path / "out").glob("*/*.jpg"))) == (0 if expected else 12)


@pytest.mark.parametrize("first", [True, False])
def test_a_german_table(photographs, tmp_path, first):
    assert align(tmp_path, photographs) == (0, "")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    names = ["path", *(f"{axis}{number}" for number in range(1, 6) for axis in "xy")]
    rows = [[line.split(",")[0], *(text.replace(".", ",") for text in line.split(",")[1:])] for line in lines]
    (tmp_path / "g.csv").write_text("\n".join(";".join(row) for row in ([names] if first else []) + rows))
    assert command("align", tmp_path / "src", tmp_path / "g", "--landmarks", tmp_path / "g.csv") == (0, "")
    for crop in (tmp_path / "out").glob("*/*.jpg"):
        assert (tmp_path / "g" / crop.relative_to(tmp_path / "out")).read_bytes() == crop.read_bytes()
    with open(tmp_path / "q.csv", "w") as stream:  # thousands, for all one knows
        csv.writer(stream).writerows([names, *rows])
    status, line = command("align", tmp_path / "src", tmp_path / "q", "--landmarks", tmp_path / "q.csv")
    assert status == 2 and "not a number of pixels; leave lines without a face out" in line

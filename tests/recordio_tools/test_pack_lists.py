"""pack: InsightFace's lists with flags, boxes and landmarks, and tables in CSV."""
import csv
import json

import cv2
import numpy as np
import pytest
from recordio_cases import command, drawn_faces, picture, write_image

from images.alignment import TEMPLATE
from images.codec import decode, encode_jpeg
from recordio_tools.records.dataset import open_dataset


def contents(folder):
    dataset = open_dataset(folder)
    return [dataset.record_file.read(key).content for key in dataset.keys.tolist()]


def identities(folder):
    with open(folder / "identities.csv", encoding="utf-8", newline="") as stream:
        return [(row[1], int(row[2])) for row in list(csv.reader(stream))[1:]]


def report(folder):
    return json.loads((folder / "pack-report.json").read_text("utf-8"))


def photograph(face, scale, turn, shift, size=(400, 360)):
    """A larger picture with the face somewhere in it, and its five landmarks."""
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])
    return cv2.warpAffine(face, matrix, size, flags=cv2.INTER_CUBIC), TEMPLATE @ matrix[:, :2].T + matrix[:, 2]


def test_flags_boxes_and_landmarks(tmp_path):
    face, other = picture(1), picture(2, 200, 300)
    photo, points = photograph(face, 1.7, 0.4, (150, 60))
    write_image(tmp_path / "photo.png", photo)
    write_image(tmp_path / "other.png", other)
    write_image(tmp_path / "ready.jpg", face)
    landmarks = "\t".join(f"{value:.3f}" for value in (*points[:, 0], *points[:, 1]))  # x1..x5, then y1..y5
    lines = [f"0\tphoto.png\t3\t1\t2\t30\t40\t{landmarks}", "0\tother.png\t3\t100\t50\t180\t150\t", "1\tready.jpg\t4",
             "0\tready.jpg\t4", f"1\tready.jpg\t4\t1\t2\t30\t40\t{landmarks}", "0\tother.png\t5\t0\t-5\t290\t199",
             "0\tother.png\t5\t400\t400\t500\t500", "0\tphoto.png\t5\t0\t0\t9\t9" + "\t7" * 10,
             "0\tphoto.png\t5\t0\t0\t9\t9" + "\tnan" * 10, "0\tphoto.png\t5\t0\t0\t9\t9" + "\t-1" * 10]
    (tmp_path / "a.lst").write_text("\n".join(lines) + "\n")
    assert command("pack", tmp_path / "a.lst", tmp_path / "out")[0] == 0
    assert identities(tmp_path / "out") == [("3", 2), ("4", 3), ("5", 1)]
    warped, cut, ready, again, third, whole = contents(tmp_path / "out")
    inner = np.abs(decode(warped).astype(int) - face)[8:-8, 8:-8]
    assert inner.mean() < 3
    assert cut == encode_jpeg(cv2.resize(other[28:172, 78:202], (112, 112)))  # 22 pixels more on every side
    assert whole == encode_jpeg(cv2.resize(other[0:200, 0:300], (112, 112)))  # as far as the picture goes
    assert ready == again == third == (tmp_path / "ready.jpg").read_bytes()
    told = report(tmp_path / "out")
    assert told["images_by_treatment"] == {"copied": 3, "cut out by its box": 2, "warped by landmarks": 1}
    assert told["images_skipped"] == {"box outside the image (expected: left, top, right, bottom in pixels)": 1,
                                      "landmarks that coincide": 1, "landmarks at 0,0 or -1,-1": 1,
                                      "landmarks that are not numbers of pixels": 1}
    assert told["odd_images"] == {"not aligned": 4} and told["images_found"] == 10
    assert told["duplicates"]["count"] == 2  # flags do not matter for a picture that is taken as it is


@pytest.mark.parametrize("box, words", [
    ((120, 80, 60, 70), "box like x, y, width, height"), ((80, 90, 100, 60), "box like x, y, width, height"),
    ((0.2, 0.3, 0.6, 0.9), "box in fractions of the image"), ((0, 0, 1, 1), "box in fractions of the image"),
    ((400, 300, 40, 30), "box outside the image"), ((350, 80, 60, 70), "box outside the image"),
    ((0, 0, 0, 0), "box outside the image"), ((-90, -90, -50, -50), "box outside the image"),
    (("nan", 1, 9, 9), "box that is not numbers"), ((1, 1, "inf", 9), "box that is not numbers")])
def test_a_box_of_another_form_is_told(tmp_path, box, words):
    for number in range(2):
        write_image(tmp_path / f"{number}.png", picture(number, 240, 300))
    lines = [(number, *good) for number, good in enumerate([(50, 60, 150, 160)] * 2)] + [(1, *box)]
    (tmp_path / "a.lst").write_text("".join("0\t{0}.png\t{0}\t{1}\t{2}\t{3}\t{4}\n".format(*line) for line in lines))
    assert command("pack", tmp_path / "a.lst", tmp_path / "out") == (0, "")
    told = report(tmp_path / "out")
    assert told["images_skipped"] == {f"{words} (expected: left, top, right, bottom in pixels)": 1}
    assert told["images_by_treatment"] == {"cut out by its box": 2}


def list_of(folder, faces, boxes=((0, 0, 9, 9),) * 12):
    """pack's arguments for a list of a face in each of twelve photographs, 300 wide and 240 high."""
    lines = []
    for number, (points, box) in enumerate(zip(faces, boxes)):
        write_image(folder / f"{number}.jpg", picture(number, 240, 300))
        fields = (0, f"{number}.JPG", number % 3, *box, *np.round(np.transpose(points), 2).ravel())
        lines.append("\t".join(map(str, fields)))
    (folder / "a.lst").write_text("\n".join(lines) + "\n")
    return "pack", folder / "a.lst", folder / "out"


FACES = TEMPLATE * 1.1 + [[[80 + 5 * number, 40 + 3 * number]] for number in range(12)]


@pytest.mark.parametrize("faces, words", [
    (FACES / 2, "of copies of half the size"), (FACES / (300, 240) * 100, "in percent of the image"),
    (FACES * 3, "lie outside their photographs, e.g. at"), (FACES - 500, "lie outside their photographs, e.g. at"),
    ([TEMPLATE] * 12, "in the upper left quarter")], ids=["half", "percent", "of larger copies", "outside", "template"])
def test_landmarks_in_other_units_are_refused(tmp_path, faces, words):
    argv = list_of(tmp_path, faces)
    status, line = command(*argv)
    assert status == 2 and "a.lst: " in line and words in line and not (tmp_path / "out").exists()
    assert ("--trust-landmarks" in line) == (command(*argv, "--trust-landmarks")[0] == 0) == ("outside" not in words)


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "<NA>"])
def test_a_label_that_is_missing_is_no_identity(tmp_path, word):
    faces = drawn_faces(tmp_path / "faces")
    rows = sorted(path.relative_to(faces) for path in faces.rglob("*.jpg"))
    for labels, status in (("0", "0", word, "1", "1", word), 2), (("Ann", "0", word, word, "Bo", "Bo"), 0):
        (tmp_path / "a.csv").write_text("path,label\n" + "".join(map("{},{}\n".format, rows, labels)))
        (tmp_path / "a.lst").write_text("".join(map("1\t{}\t{}\n".format, rows, labels)))
        for kind in ("csv", "lst"):
            found, line = command("pack", faces, tmp_path / f"{kind}{status}", f"--{kind}", tmp_path / f"a.{kind}")
            assert found == status and (f"a.{kind}: has the label {word}, and all others" in line) == (status == 2)
            assert (tmp_path / f"{kind}{status}").exists() == (status == 0)


def test_numbers_of_rows_that_are_taken_for_identities_are_told(tmp_path, caplog):
    faces = drawn_faces(tmp_path / "faces")
    rows = sorted(path.relative_to(faces) for path in faces.rglob("*.jpg"))
    for header, told in (("id,name,path", True), ("id,identity,path", False)):
        caplog.clear()
        lines = (f"{number},{row.parent},{row}" for number, row in enumerate(rows))
        (tmp_path / "a.csv").write_text("\n".join([header, *lines]))
        assert command("pack", faces, tmp_path / "out", "--csv", tmp_path / "a.csv", "--overwrite") == (0, "")
        assert (f"a.csv: each of its {len(rows)} images is an identity of its own (0, 1, ...)" in caplog.text) == told
        assert len(identities(tmp_path / "out")) == (len(rows) if told else len(set(row.parent for row in rows)))


def test_trusting_landmarks_where_there_are_none(tmp_path, caplog):
    faces = drawn_faces(tmp_path / "faces")
    rows = sorted(path.relative_to(faces) for path in faces.rglob("*.jpg"))
    (tmp_path / "a.csv").write_text("".join(f"{row},{row.parent}\n" for row in rows))
    (tmp_path / "a.lst").write_text("".join(f"1\t{row}\t{row.parent}\n" for row in rows))
    for flags in ((), ("--csv", tmp_path / "a.csv")):
        caplog.clear()
        assert command("pack", faces, tmp_path / "out", *flags, "--trust-landmarks", "--overwrite") == (0, "")
        assert "--trust-landmarks: is without effect, since only a .lst has landmarks" in caplog.text
    assert command("pack", faces, tmp_path / "lst", "--lst", tmp_path / "a.lst", "--trust-landmarks") == (0, "")
    assert "a.lst: holds no landmarks, so --trust-landmarks is without effect" in caplog.text


def test_trusted_landmarks_must_lie_in_their_photographs_all_the_same(tmp_path):
    argv = list_of(tmp_path, FACES[:, [0, 2, 1, 3, 4]] - 500)
    assert "far better as left eye, nose" in command(*argv)[1]
    status, line = command(*argv, "--trust-landmarks")
    assert status == 2 and "lie outside their photographs" in line


def test_landmarks_from_the_corner_of_their_boxes_are_refused(tmp_path):
    faces = TEMPLATE * 2.4 + [[[40 + number, number - 40]] for number in range(12)]
    boxes = np.hstack([faces.min(axis=1) - 30, faces.max(axis=1) + 30])
    argv = list_of(tmp_path, faces - boxes[:, None, :2], boxes)
    status, line = command(*argv)
    assert status == 2 and "add each box's left and top" in line and not (tmp_path / "out").exists()
    assert command(*list_of(tmp_path, faces, boxes)) == (0, "")


def test_crops_with_the_landmarks_of_the_template_are_taken(tmp_path):
    argv = list_of(tmp_path, [TEMPLATE] * 12)
    for number in range(12):
        write_image(tmp_path / f"{number}.jpg", picture(number))
    assert command(*argv) == (0, "") and report(tmp_path / "out")["images_by_treatment"] == {"warped by landmarks": 12}


def test_a_face_whose_middle_is_outside_is_left_out_as_align_does(tmp_path):
    at_the_edge = FACES[:1] - FACES[0].mean(axis=0) + (-1, 100)
    assert command(*list_of(tmp_path, [*FACES[:4], *at_the_edge, *FACES[5:]])) == (0, "")
    assert report(tmp_path / "out")["images_skipped"] == {"landmarks outside the image": 1}


def test_two_faces_of_one_photograph_are_not_duplicates(tmp_path):
    write_image(tmp_path / "p.png", picture(1, 300, 300))
    (tmp_path / "a.lst").write_text("0\tp.png\t0\t10\t10\t90\t90\n0\tp.png\t1\t150\t150\t250\t250\n"
                                    "0\tp.png\t1\t10\t10\t90\t90\n")
    assert command("pack", tmp_path / "a.lst", tmp_path / "out")[0] == 0
    told = report(tmp_path / "out")
    assert told["duplicates"]["count"] == 0 and told["images_of_several_identities"]["count"] == 2
    assert [name.rpartition("/")[2] for name in told["images_of_several_identities"]["files"][0]] == [
        "p.png (identity 0)", "p.png (identity 1)"]


def test_an_image_that_is_not_aligned_has_the_size_or_is_resized(tmp_path):
    for number in range(2):
        write_image(tmp_path / f"{number}.png", picture(number, 200, 200))
    (tmp_path / "a.lst").write_text("0\t0.png\t0\n0\t1.png\t1\n")
    status, line = command("pack", tmp_path / "a.lst", tmp_path / "out")
    assert status == 2 and "0.png: is 200x200" in line
    assert command("pack", tmp_path / "a.lst", tmp_path / "out", "--resize")[0] == 0


def test_labels_of_any_kind_and_lines_in_any_order(tmp_path):
    for number in range(7):
        write_image(tmp_path / f"{number}.jpg", picture(number))
    labels = ["n10", "007", "123456789012345678", "n9", "7.0e+00", "山田" + "9" * 5000, "3.5"]
    (tmp_path / "a.lst").write_bytes("".join(f"1\t{number}.jpg\t{label}\r\n\n"
                                             for number, label in enumerate(labels)).encode())
    assert command("pack", tmp_path / "a.lst", tmp_path / "out")[0] == 0
    assert identities(tmp_path / "out") == [("3.5", 1), ("7", 2), ("123456789012345678", 1), ("n9", 1), ("n10", 1),
                                            (labels[5], 1)]
    assert contents(tmp_path / "out")[1:3] == [(tmp_path / f"{number}.jpg").read_bytes() for number in (1, 4)]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1, 0, 3, 2]])
def test_im2rec_lists_with_several_labels(tmp_path, order):
    for number in range(4):
        write_image(tmp_path / f"{number}.jpg", picture(number))
    (tmp_path / "a.lst").write_text("".join(f"{number}\t{9 + number // 2}.000000\t-0.5\t{number}e-3\t{number}.jpg\n"
                                            for number in order))
    assert command("pack", tmp_path / "a.lst", tmp_path / "out") == (0, "")
    assert identities(tmp_path / "out") == [("9", 2), ("10", 2)]
    assert contents(tmp_path / "out") == [(tmp_path / f"{number}.jpg").read_bytes() for number in order]


@pytest.mark.parametrize("text", [
    "path,identity\n{0},b\n{1},a\n", "identity;Image;note\r\nb;{0};x\r\n\r\na;{1};y\r\n",
    "\ufeffLABEL\tfile\nb\t{0}\na\t{1}",
    'path,identity\n"{0}",b\n"{1}","a"\n'])
def test_tables(tmp_path, text):
    paths = [write_image(tmp_path / name, picture(number)) for number, name in enumerate(["x.jpg", "ü, y.jpg"])]
    if text.startswith("path,identity\n{"):
        paths[1] = paths[1].rename(tmp_path / "y.jpg")
    (tmp_path / "t.csv").write_text(text.format(paths[0].name, paths[1].name if "," not in text else paths[1]), "utf-8")
    assert command("pack", tmp_path / "t.csv", tmp_path / "out")[0] == 0
    assert identities(tmp_path / "out") == [("a", 1), ("b", 1)]
    assert contents(tmp_path / "out") == [paths[1].read_bytes(), paths[0].read_bytes()]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "t.csv").rename(tmp_path / "elsewhere/t.csv")
    assert command("pack", tmp_path, tmp_path / "again", "--csv", tmp_path / "elsewhere/t.csv")[0] == 0
    assert contents(tmp_path / "again") == contents(tmp_path / "out")


@pytest.mark.parametrize("name, text, message", [
    ("a.csv", "path,la\0bel\n", "line 1 is"), ("a.csv", "", "line 1 is ''"),
    ("a.csv", "path,name\nx,y\n", "line 1 is 'path,name', not a first line"),
    ("a.csv", "path,label\n", "holds no rows"), ("a.csv", "path,label\na.jpg,1\nb.jpg\n", "line 3 has 1 columns"),
    ("a.csv", "path,label\na.jpg,\n", "line 2 lacks the identity"),
    ("a.csv", "path,label\n,1\n", "line 2 lacks the path"),
    ("a.csv", "path,label\na.jpg,-1\n", "line 2 has the label -1"),
    ("a.csv", "path,label\n\"" + "x" * 200000, "line 2"),
    ("a.csv", "path,label\n\"a\nb\n", "line "), ("a.lst", "x" * 100000, "line 1 is longer than 65536 characters"),
    ("a.lst", "0\ta\t1\t2\n", "line 1 has 4 columns, not 3, 7 or 17"),
    ("a.lst", "1\ta\t1\n0\ta\t1\t1\t1\tx\t1\n", "line 2 has a box"), ("a.lst", "2\ta\t1\n", "line 1 begins with '2'"),
    ("a.lst", "1\ta\0b\t1\n", "line 1 is not"), ("a.lst", "3\t-1\tx/a.jpg\n", "line 1 has the label -1"),
    ("a.txt", "1\ta\t1\n", ".lst")])
def test_a_faulty_list_or_table_is_named_by_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    status, line = command("pack", tmp_path / name, tmp_path / "out")
    assert status == 2 and message in line and name in line and not (tmp_path / "out").exists()


def test_a_table_and_a_list_exclude_each_other(tmp_path, capsys):
    drawn_faces(tmp_path / "faces")
    assert command("pack", tmp_path / "faces", tmp_path / "out", "--lst", "a", "--csv", "b")[0] == 2
    assert "--csv: not allowed with argument --lst" in capsys.readouterr().err


@pytest.mark.parametrize("name, row", [("t.csv", "{1},{0}\n"), ("t.lst", "1\t{0}\t{1}\n")])
def test_identities_of_a_list_in_code_page_1252_are_written_in_utf_8(tmp_path, name, row):
    people = ("Jos\u00e9", "M\u00fcller")
    for number in range(2):
        write_image(tmp_path / f"faces/{number}.jpg", picture(number))
    rows = "".join(row.format(f"{number}.jpg", person) for number, person in enumerate(people))
    (tmp_path / name).write_bytes((("identity,path\n" if name == "t.csv" else "") + rows).encode("cp1252"))
    assert command("pack", tmp_path / "faces", tmp_path / "out", f"--{name[2:]}", tmp_path / name) == (0, "")
    table = (tmp_path / "out/identities.csv").read_text(encoding="utf-8")
    assert table == f"label,identity,images\n0,{people[0]},1\n1,{people[1]},1\n"

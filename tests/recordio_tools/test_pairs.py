"""pairs: the real protocols, independently recounted, and everything that cannot become a .bin."""
import csv
import pickle
import re
import shutil

import pytest
from recordio_cases import command, drawn_faces, picture, real_faces, write_image

from recordio_tools.bins.binfile import read_bin


def test_lfw_in_the_files_order(shared_data, tmp_path):
    out = tmp_path / "lfw.bin"
    images, pairs = shared_data / "lfw/images", shared_data / "lfw/pairs.txt"
    assert command("pairs", "lfw", "--images", images, "--pairs", pairs, "--out", out) == (0, "")
    stored, same = pickle.loads(out.read_bytes())
    assert out.read_bytes()[:2] == b"\x80\x02" and len(stored) == 12000
    assert same == ([True] * 300 + [False] * 300) * 10 and all(type(value) is bool for value in same)
    lines = pairs.read_text().splitlines()[1:]
    for number in (0, 299, 300, 599, 5999):
        fields = lines[number].split("\t")
        left, right = (fields[:2], [fields[0], fields[2]]) if len(fields) == 3 else (fields[:2], fields[2:])
        for (name, index), content in zip((left, right), stored[2 * number:2 * number + 2]):
            assert content == (images / name / f"{name}_{int(index):04d}.jpg").read_bytes()


@pytest.mark.parametrize("kind", ["FF", "FP"])
def test_cfp_split_by_split_same_and_different_in_turn(shared_data, tmp_path, kind):
    cfp = shared_data / "cfp"
    results = []
    for images in (cfp, cfp / "Data", cfp / "Data/Images") if kind == "FP" else (cfp,):
        out = tmp_path / f"{len(results)}.bin"
        assert command("pairs", "cfp", "--images", images, "--protocol", cfp / "Protocol", "--kind", kind,
                       "--splits", "2,4-5", "--out", out)[0] == 0
        results.append(out.read_bytes())
    assert len(set(results)) == 1
    stored, same = read_bin(out)
    assert list(same) == [True, False] * 1050
    paths = {letter: {int(line.split()[0]): cfp / "Protocol" / line.split()[1] for line in
                      (cfp / f"Protocol/Pair_list_{letter}.txt").read_text().splitlines()} for letter in "FP"}
    number = 0
    for split in ("02", "04", "05"):
        both = [(cfp / f"Protocol/Split/{kind}/{split}/{name}.txt").read_text().split() for name in ("same", "diff")]
        for lines in zip(*both):
            for line in lines:
                for side, (letter, index) in enumerate(zip(kind, line.split(","))):
                    if number % 97 == 0:
                        assert stored[2 * number + side] == paths[letter][int(index)].read_bytes()
                number += 1
    assert number == 2100


def test_cfp_takes_all_the_splits_there_are(shared_data, tmp_path):
    protocol = tmp_path / "cfp/Protocol"
    shutil.copytree(shared_data / "cfp/Protocol/Split/FP/01", protocol / "Split/FP/01")
    shutil.copytree(shared_data / "cfp/Protocol/Split/FP/02", protocol / "Split/FP/02")
    for letter in "FP":
        shutil.copy(shared_data / f"cfp/Protocol/Pair_list_{letter}.txt", protocol)
    (tmp_path / "cfp/Data").symlink_to(shared_data / "cfp/Data")
    assert command("pairs", "cfp", "--protocol", protocol, "--kind", "FP", "--out", tmp_path / "x.bin")[0] == 0
    assert len(read_bin(tmp_path / "x.bin")[1]) == 1400


@pytest.mark.parametrize("flags", [[], ["--images", "cfp"], ["--images", "cfp/Data/Images"]])
@pytest.mark.parametrize("form, ending", [("../Data/Images/{}/{}.jpg", "JPG"), ("..\\Data\\Images\\{}\\{}.jpg", "jpg"),
                                          ("C:\\cfp\\Data\\Images\\{}\\{}.JPG", "jpg")])
def test_cfp_with_names_as_elsewhere(tmp_path, monkeypatch, form, ending, flags):
    files = [write_image(tmp_path / f"cfp/Data/Images/{person}/{kind}.jpg", picture(2 * person + place))
             for person in (1, 2) for place, kind in enumerate(("frontal", "profile"))]
    for file in files:
        file.rename(file.with_suffix(f".{ending}"))
    split = tmp_path / "cfp/Protocol/Split/FP/01"
    split.mkdir(parents=True)
    (split / "same.txt").write_text("1,1\n2,2\n")
    (split / "diff.txt").write_text("1,2\n2,1\n")
    for kind in ("frontal", "profile"):
        (tmp_path / f"cfp/Protocol/Pair_list_{kind[0].upper()}.txt").write_text(
            "".join(f"{person} {form.format(person, kind)}\n" for person in (1, 2)))
    monkeypatch.chdir(tmp_path)
    assert command("pairs", "cfp", *flags, "--protocol", "cfp/Protocol", "--kind", "FP", "--folds", 2, "--out",
                   "x.bin") == (0, "")
    contents = [file.with_suffix(f".{ending}").read_bytes() for file in files]
    assert read_bin(tmp_path / "x.bin")[0] == [contents[place] for place in (0, 1, 0, 3, 2, 3, 2, 1)]


@pytest.mark.parametrize("start, marks, folder", [(0, " ,", "01"), (1, "\t,", "1"), (7, ", ", "001"), (1, " ;", "0")])
def test_cfp_with_numbers_and_separators_of_others(tmp_path, start, marks, folder, caplog):
    files = [write_image(tmp_path / f"Data/Images/{person}/{kind}.jpg", picture(2 * person + place))
             for person in (0, 1) for place, kind in enumerate(("frontal", "profile"))]
    split = tmp_path / "Protocol/Split/FP" / folder
    split.mkdir(parents=True)
    one, other = start, start + 1
    (split / "same.txt").write_text("".join(f"{number}{marks[1]}{number}\n" for number in (one, other)))
    (split / "diff.txt").write_text(f"{one}{marks[1]}{other}\n{one}{marks[1]}{other}\n")
    for kind in ("frontal", "profile"):
        (tmp_path / f"Protocol/Pair_list_{kind[0].upper()}.txt").write_text("".join(
            f" {start + person}{marks[0]}../Data/Images/{person}/{kind}.jpg\r\n" for person in (0, 1, 1)))
    assert command("pairs", "cfp", "--protocol", tmp_path / "Protocol", "--kind", "FP", "--folds", 2, "--out",
                   tmp_path / "x.bin") == (0, "")
    contents = [file.read_bytes() for file in files]
    assert read_bin(tmp_path / "x.bin")[0] == [contents[place] for place in (0, 1, 0, 3, 2, 3, 0, 3)]
    assert f"the same pair again, first in {split / 'diff.txt'}: line 2;" in caplog.text


@pytest.fixture
def faces(tmp_path):
    return drawn_faces(tmp_path / "faces", 4, 6)


def table(path, rows, columns=("left", "right", "same")):
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


def rows_of(count, fold=None):
    """Same and different pairs in turn."""
    rows = []
    for number in range(count):
        right = f"person{number % 4 if number % 2 == 0 else (number + 1) % 4}/{number % 5 + 1}.jpg"
        rows.append([f"person{number % 4}/{number % 5}.jpg", right, int(number % 2 == 0)])
        if fold is not None:
            rows[-1].append(fold(number))
    return rows


def test_a_table_in_its_order(faces, tmp_path):
    rows = rows_of(24)
    path = table(tmp_path / "p.csv", rows)
    assert command("pairs", "csv", "--pairs", path, "--images", faces, "--out", tmp_path / "x.bin") == (0, "")
    stored, same = read_bin(tmp_path / "x.bin")
    assert [int(value) for value in same] == [row[2] for row in rows]
    assert stored == [(faces / name).read_bytes() for row in rows for name in row[:2]]
    shutil.copy(path, faces / "p.csv")
    assert command("pairs", "csv", "--pairs", faces / "p.csv", "--out", tmp_path / "y.bin")[0] == 0
    assert (tmp_path / "x.bin").read_bytes() == (tmp_path / "y.bin").read_bytes()


def test_a_table_in_fold_order(faces, tmp_path):
    rows = rows_of(44, fold=lambda number: 11 - number // 4)
    path = table(tmp_path / "p.csv", rows, ("left", "right", "same", "fold"))
    assert command("pairs", "csv", "--pairs", path, "--images", faces, "--out", tmp_path / "x.bin")[0] == 0
    stored, _ = read_bin(tmp_path / "x.bin")
    expected = sorted(rows, key=lambda row: row[3])  # 1, 2, ... 10, 11: by number, and stable
    assert stored == [(faces / name).read_bytes() for row in expected for name in row[:2]]


def test_other_kinds_of_images_are_stored_as_they_are_and_resized_when_asked(faces, tmp_path):
    write_image(faces / "person0/0.png", picture(3))
    rows = [["person0/0.png", "person0/1.jpg", "same"], ["person0/0.png", "person1/1.jpg", "No"]] * 10
    path = table(tmp_path / "p.csv", rows)
    flags = ["--pairs", path, "--images", faces, "--out", tmp_path / "x.bin"]
    assert command("pairs", "csv", *flags)[0] == 0
    assert read_bin(tmp_path / "x.bin")[0][0] == (faces / "person0/0.png").read_bytes()
    write_image(faces / "person1/1.jpg", picture(4, 150, 150))
    status, line = command("pairs", "csv", *flags, "--overwrite")
    assert status == 2 and re.search(r"p.csv: line 3: .*person1/1.jpg: is 150x150 .*--resize", line)
    assert command("pairs", "csv", *flags, "--resize", "--overwrite")[0] == 0
    stored, _ = read_bin(tmp_path / "x.bin")
    assert stored[3].startswith(b"\xff\xd8\xff") and stored[3] != (faces / "person1/1.jpg").read_bytes()


@pytest.mark.parametrize("rows, message", [
    (rows_of(9), "9 pairs are fewer than the 10 folds"), ([], "0 pairs are fewer"),
    ([row for row in rows_of(60) if row[2]], "all 30 pairs are same pairs"),
    ([row for row in rows_of(60) if not row[2]], "all 30 pairs are different pairs"),
    (sorted(rows_of(60), key=lambda row: row[2]), "fold 1 of 10 holds 6 different pairs"),
    ([*rows_of(20), ["a", "b", "perhaps"]], "line 22 is not left,right"),
    ([*rows_of(20), ["a", "b"]], "line 22 has 2 columns"),
    ([*rows_of(20), ["person0/0.jpg", "nobody/1.jpg", 1]], "line 22: there is no image .*nobody/1.jpg; --images")])
def test_a_table_that_cannot_be_scored(faces, tmp_path, rows, message):
    path = table(tmp_path / "p.csv", rows)
    status, line = command("pairs", "csv", "--pairs", path, "--images", faces, "--out", tmp_path / "x.bin")
    assert status == 2 and re.search("p.csv: .*" + message, line), line
    assert not (tmp_path / "x.bin").exists()


def test_a_named_fold_of_one_class(faces, tmp_path):
    rows = rows_of(40, fold=lambda number: "b" if number % 2 else "a")
    path = table(tmp_path / "p.csv", rows, ("left", "right", "same", "fold"))
    status, line = command("pairs", "csv", "--pairs", path, "--images", faces, "--out", tmp_path / "x.bin")
    assert status == 2 and "fold a holds 20 same pairs" in line


@pytest.mark.parametrize("rows, number", [
    (sorted(rows_of(60), key=lambda row: -row[2]), 0),  # no number helps
    (sorted(rows_of(60), key=lambda row: -row[2])[:31], 0), (rows_of(24)[:9], 4),
    (rows_of(60)[:1] * 7 + rows_of(60), 8)])
def test_the_advice_on_folds_works(faces, tmp_path, rows, number):
    path = table(tmp_path / "p.csv", rows)
    argv = ("pairs", "csv", "--pairs", path, "--images", faces, "--out", tmp_path / "x.bin")
    status, line = command(*argv)
    assert status == 2 and (f"--folds {number} fits" in line if number else "--folds" not in line), line
    assert not number or command(*argv, "--folds", number) == (0, "")
    table(path, [[*row, "a" if row[2] else "b"] for row in rows], ("left", "right", "same", "fold"))
    if "leave the column fold out" in command(*argv, "--folds", number or 10, "--overwrite")[1]:
        table(path, rows)
        assert command(*argv, "--folds", number or 10, "--overwrite") == (0, "")
    else:
        assert not number


@pytest.mark.parametrize("same, different", [(30, 30), (40, 20), (20, 31)])
def test_lfws_lists_without_folds(faces, tmp_path, same, different):
    for file in faces.glob("*/*.jpg"):
        file.rename(file.with_name(f"{file.parent.name}_{int(file.stem) + 1:04d}.jpg"))
    lines = [f"person{number % 4}\t{number % 5 + 1}\t{number % 5 + 2}" for number in range(same)]
    lines += [f"person{number % 4}\t1\tperson{(number + 1) % 4}\t{number % 6 + 1}" for number in range(different)]
    (tmp_path / "dev.txt").write_text("\n".join(lines))
    assert command("pairs", "lfw", "--images", faces, "--pairs", tmp_path / "dev.txt", "--out", tmp_path / "x.bin") == (
        0, "")
    assert sum(read_bin(tmp_path / "x.bin")[1]) == same


@pytest.mark.parametrize("first, end", [("name;imagenum1;imagenum2;\n", ";"), ("", ""), ("", ";"), ("2;1\n", ";;"),
                                        ("2;1;\r\n", " ;")])
@pytest.mark.parametrize("mark", [";", ",", "\t"])
def test_lfws_pairs_with_separators(faces, tmp_path, first, end, mark):
    for file in faces.glob("*/*.jpg"):
        file.rename(file.with_name(f"{file.parent.name}_{int(file.stem) + 1:04d}.jpg"))
    text = first + f"person0;1;2{end}\nperson0;1;person1;2{end[:-1]}\n" * 2
    (tmp_path / "p.csv").write_text(text.replace(";", mark))
    assert command("pairs", "lfw", "--images", faces, "--pairs", tmp_path / "p.csv", "--folds", 2, "--out",
                   tmp_path / "x.bin") == (0, "")


@pytest.mark.parametrize("content, message", [
    (b"left;right;same\n", "0 pairs"), (b"", "line 1 is '', not a first line left,right,same"),
    (b"left,right\na,b\n", "column same"),
    (b"\xff\xfe\x00", "line 1 is")])
def test_a_table_that_is_none(faces, tmp_path, content, message):
    (tmp_path / "p.csv").write_bytes(content)
    status, line = command("pairs", "csv", "--pairs", tmp_path / "p.csv", "--images", faces, "--out", tmp_path / "x")
    assert status == 2 and message in line and "p.csv" in line


def test_a_broken_image_is_named_with_its_line(faces, tmp_path):
    path = table(tmp_path / "p.csv", rows_of(20))
    data = (faces / "person1/1.jpg").read_bytes()
    for content, reason in ((b"text", "no image"), (b"", "empty"), (data[:len(data) // 2], "truncated")):
        (faces / "person1/1.jpg").write_bytes(content)
        status, line = command("pairs", "csv", "--pairs", path, "--images", faces, "--out", tmp_path / "x.bin")
        assert status == 2 and re.search(rf"p.csv: line \d+: .*person1/1.jpg: {reason}", line)


@pytest.mark.parametrize("text, message", [
    ("2\t5\nA\t1\t2\n", "line 1 declares 20 pairs, the file has 1; is it.* If not, remove line 1"),
    ("A\t1\n", "line 1 is neither"),
    ("1\t1\nA\t1\t2\nA\tone\tB\t1\n", "line 3 is neither"), ("", "0 pairs are fewer"),
    ("A\t1\t2\nA\t1\tB\t1\n" * 10, "line 1: there is no image .*A/A_0001.jpg")])
def test_a_pairs_file_that_is_none(tmp_path, text, message):
    (tmp_path / "pairs.txt").write_text(text)
    status, line = command("pairs", "lfw", "--images", tmp_path, "--pairs", tmp_path / "pairs.txt", "--out",
                           tmp_path / "x.bin")
    assert status == 2 and re.search("pairs.txt: " + message, line), line


def test_a_pairs_file_without_a_first_line_and_with_spaces(shared_data, tmp_path):
    faces = real_faces(shared_data, tmp_path / "faces", 2, 4)
    one, other = sorted(path.name for path in faces.iterdir())
    (tmp_path / "pairs.txt").write_text(f"{one} 1 2\n{one} 1 {other} 2\n" * 10)
    assert command("pairs", "lfw", "--images", faces, "--pairs", tmp_path / "pairs.txt", "--out",
                   tmp_path / "x.bin")[0] == 0
    stored, same = read_bin(tmp_path / "x.bin")
    assert list(same) == [True, False] * 10 and stored[3] == (faces / other / f"{other}_0002.jpg").read_bytes()


@pytest.mark.parametrize("files, message", [
    ({}, "holds no splits"), ({"Split/FP/01/same.txt": "1,1\n"}, "Pair_list_F.txt: cannot be read"),
    ({"Split/FP/01/same.txt": "1,1\n", "Split/FP/01/diff.txt": "1,7\n", "Pair_list_F.txt": "1 ../Data/Images/a.jpg\n",
      "Pair_list_P.txt": "1 ../Data/Images/b.jpg\n"}, "diff.txt: line 1: the pair list has no image 7"),
    ({"Split/FP/01/same.txt": "1.1\n", "Split/FP/01/diff.txt": "", "Pair_list_F.txt": "1 a\n",
      "Pair_list_P.txt": "1 b\n"}, "same.txt: line 1 is not `a,b`"),
    ({"Split/FP/01/same.txt": "1,1\n", "Split/FP/01/diff.txt": "", "Pair_list_F.txt": "one\n",
      "Pair_list_P.txt": "1 b\n"}, "Pair_list_F.txt: line 1 is not `number path`"),
    ({"Split/FP/01/same.txt": "1,1\n", "Split/FP/01/diff.txt": "", "Pair_list_F.txt": "1 a\n2 b\n1 c\n",
      "Pair_list_P.txt": "1 b\n"}, "Pair_list_F.txt: line 3: has another image of number 1"),
    ({"Split/FP/01/same.txt": "1,1\n" * 9, "Split/FP/01/diff.txt": "1,1\n" * 9,
      "Pair_list_F.txt": "1 ../Data/Images/a\n", "Pair_list_P.txt": "1 ../Data/Images/b\n"},
     r"same.txt: line 1: there is no image .*/a; --images names")])
def test_a_protocol_that_is_none(tmp_path, files, message):
    (tmp_path / "Protocol").mkdir()
    for name, text in files.items():
        (tmp_path / "Protocol" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "Protocol" / name).write_text(text)
    status, line = command("pairs", "cfp", "--images", tmp_path, "--protocol", tmp_path / "Protocol", "--kind", "FP",
                           "--out", tmp_path / "x.bin")
    assert status == 2 and re.search(message, line), line


@pytest.mark.parametrize("flags, shown", [
    (["cfp", "--kind", "PF"], "--kind"), (["cfp", "--kind", "FP", "--splits", "5-1"], "--splits"),
    (["cfp", "--kind", "FP", "--splits", "one"], "--splits"), (["lfw"], "--images"), (["agedb"], "agedb")])
def test_an_impossible_flag_is_refused(tmp_path, flags, shown, capsys):
    protocol = ["--protocol", tmp_path] if flags[0] == "cfp" else []
    assert command("pairs", *flags, *protocol, "--out", tmp_path / "x.bin")[0] == 2
    assert shown in capsys.readouterr().err


def test_an_absent_folder_of_images(tmp_path):
    status, line = command("pairs", "lfw", "--images", tmp_path / "no", "--pairs", "x", "--out", tmp_path / "x.bin")
    assert status == 2 and "--images" in line and "no such folder" in line

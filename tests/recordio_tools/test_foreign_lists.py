"""Lists of Windows or another machine: the images they mean are taken, and never others of the same names."""
from __future__ import annotations

import json

import pytest
from recordio_cases import command, drawn_faces, picture, write_image

from common.name_lookup import NameLookup


@pytest.mark.parametrize("name", ["C:/data/{}/1.jpg", "C:/data\\{}\\1.jpg", "c:\\DATA\\{}/1.jpg", "{}/1.jpg"])
def test_a_drive_in_front_of_slashes(tmp_path, name, monkeypatch):
    write_image(tmp_path / "a/1.jpg", picture(1))
    assert NameLookup().find(name.format("a"), tmp_path) == f"{tmp_path}/a/1.jpg"
    assert NameLookup().find(name.format("a"), "/") is None
    monkeypatch.chdir(tmp_path)
    assert NameLookup().find("/a\\1.jpg") is None  # of the root, not of the current folder
    assert NameLookup().find(f"{tmp_path}/a\\1.jpg"[1:], "/") == f"{tmp_path}/a/1.jpg"
    assert NameLookup().find(f"{tmp_path}/a/1.jpg".replace("/", "\\"), tmp_path) == f"{tmp_path}/a/1.jpg"


def split_by_windows(folder, front):
    """train/ of six people and val/ of three, of the same names, and a list of val's as Windows writes it."""
    drawn_faces(folder / "train", 6, 2)
    drawn_faces(folder / "val", 3, 2, height=90)
    (folder / "val.lst").write_text("".join(f"1\t{front}person{person}\\{image}.jpg\t{person}\n"
                                            for person in range(3) for image in range(2)))
    return folder / "val.lst"


@pytest.mark.parametrize("front, message", [
    ("val\\", "6 missing (e.g. {0}/train/val"), ("other\\val\\", "6 missing"), ("val/", "6 missing"),
    ("D:\\tree\\val\\", "its paths begin with D:\\tree\\val, and {0}/train is given, but there is {0}/val too"),
    ("\\\\nas\\val\\", "its paths begin with \\\\nas\\val, and {0}/train is given, but there is {0}/val"),
    ("D:/tree\\val/", "but there is {0}/val too; give that folder")])
def test_a_list_of_other_peoples_images_takes_none_of_the_same_names(tmp_path, front, message):
    lst = split_by_windows(tmp_path, front)
    status, line = command("pack", tmp_path / "train", tmp_path / "out", "--lst", lst)
    assert status == 2 and message.format(tmp_path) in line and not (tmp_path / "out").exists()
    if "give that folder" in message:  # advice that works
        assert command("pack", tmp_path / "val", tmp_path / "out", "--lst", lst, "--image-size", "90,112")[0] == 0
        lst.write_text(lst.read_text().replace(front, ""))
        assert command("pack", tmp_path / "train", tmp_path / "other", "--lst", lst)[0] == 0


@pytest.mark.parametrize("front", ["", "train\\", "D:\\tree\\train\\", "\\\\nas\\faces\\train\\"])
def test_all_paths_of_a_list_lose_the_same_folders(tmp_path, front):
    lst = split_by_windows(tmp_path, front)
    other = front.replace("train", "val") or "val\\"
    lst.write_text(lst.read_text() + "".join(f"1\t{other}person{person}\\0.jpg\t{9 + person}\n" for person in range(3)))
    assert command("pack", tmp_path / "train", tmp_path / "out", "--lst", lst) == (0, "")
    report = json.loads((tmp_path / "out/pack-report.json").read_text())
    assert report["images"] == 6 and report["images_skipped"] == {"missing": 3}


def test_a_drives_folder_of_another_name_is_told(tmp_path, caplog):
    lst = split_by_windows(tmp_path, "D:\\tree\\pictures\\")
    assert command("pack", tmp_path / "train", tmp_path / "out", "--lst", lst) == (0, "")
    told = f"its paths begin with D:\\tree\\pictures; what follows is taken below {tmp_path}/train"
    assert told in caplog.text


def test_pairs_of_another_folders_images_are_not_taken(tmp_path):
    split_by_windows(tmp_path, "")
    rows = ["person0\\0.jpg,{0}person0\\1.jpg,1", "person0\\0.jpg,{0}person1\\1.jpg,0"] * 2
    for front, expected in (("val\\", "there is no image"), ("D:\\x\\val\\", "there is no image"), ("", "")):  # mixed
        (tmp_path / "p.csv").write_text("left,right,same\n" + "\n".join(rows).format(front) + "\n")
        status, line = command("pairs", "csv", "--images", tmp_path / "train", "--pairs", tmp_path / "p.csv", "--folds",
                               2, "--out", tmp_path / "x.bin")
        assert status == (2 if expected else 0) and expected in line


def listed(folder, front, mark="\t", form="1{mark}{path}{mark}{label}\n"):
    """A list of six images of three people, its paths behind `front`."""
    (folder / "a.lst").write_text("".join(
        form.format(mark=mark, path=f"{front}person{number // 2}/{number % 2}.jpg", label=number // 2)
        for number in range(6)))
    return folder / "a.lst"


@pytest.mark.parametrize("front", ["/mnt/gone/faces/", "/mnt/gone/", "/", "//nas/share/faces/"])
def test_absolute_paths_of_another_machine(tmp_path, front):
    drawn_faces(tmp_path / "faces", 3, 2)
    plain, out = tmp_path / "plain", tmp_path / "out"
    assert command("pack", tmp_path / "faces", plain) == (0, "")
    assert command("pack", tmp_path / "faces", out, "--lst", listed(tmp_path, front)) == (0, "")
    assert (out / "train.rec").read_bytes() == (plain / "train.rec").read_bytes()
    (tmp_path / "p.csv").write_text("left,right,same\n" + "".join(
        f"{front}person0/0.jpg,{front}person{other}/1.jpg,{int(not other)}\n" for other in (0, 1, 0, 2)))
    assert command("pairs", "csv", "--images", tmp_path / "faces", "--pairs", tmp_path / "p.csv", "--folds", 2,
                   "--out", tmp_path / "x.bin") == (0, "")
    (tmp_path / "l.csv").write_text(f"{front}person0/0.jpg,38,52,74,52,56,72,42,92,71,92\n")
    assert command("align", tmp_path / "faces", tmp_path / "crops", "--landmarks", tmp_path / "l.csv")[0] == 0
    assert (tmp_path / "crops/person0/0.jpg").is_file()


def test_absolute_paths_of_this_machine_stand_for_no_others(tmp_path):
    """A missing image is missing, though another folder has one of its name."""
    drawn_faces(tmp_path / "faces", 3, 2)
    drawn_faces(tmp_path / "faces/old", 3, 2)
    drawn_faces(tmp_path / "other", 3, 2)
    (tmp_path / "faces/old/person0/0.jpg").unlink()  # the first: nothing shows yet that the others are here
    (tmp_path / "other/sub").mkdir()
    for front in (tmp_path / "faces/gone", tmp_path / "faces/old", tmp_path / "other/sub"):
        status, line = command("pack", tmp_path / "faces", tmp_path / "out", "--lst", listed(tmp_path, f"{front}/"),
                               "--overwrite")
        assert json.loads((tmp_path / "out/pack-report.json").read_text())["images_skipped"] == {"missing": 1} if (
            "old" in front.name) else status == 2 and f"6 missing (e.g. {front}/person0/0.jpg)" in line


@pytest.mark.parametrize("mark", [" ", ",", ", ", "  "])
@pytest.mark.parametrize("form", ["1{mark}{path}{mark}{label}\n", "7{mark}{label}.000{mark}{path}\n"])
def test_lists_with_commas_or_blanks_between_the_columns(tmp_path, mark, form):
    drawn_faces(tmp_path / "faces", 3, 2)
    assert command("pack", tmp_path / "faces", tmp_path / "plain") == (0, "")
    assert command("pack", tmp_path / "faces", tmp_path / "out", "--lst", listed(tmp_path, "", mark, form)) == (0, "")
    assert (tmp_path / "out/train.rec").read_bytes() == (tmp_path / "plain/train.rec").read_bytes()
    table = listed(tmp_path, "", mark, "{path}{mark}{label}\n")
    status, line = command("pack", tmp_path / "faces", tmp_path / "two", "--lst", table)
    assert status == 2 and "a table of paths and identities is for --csv" in line
    assert command("pack", tmp_path / "faces", tmp_path / "two", "--csv", table) == (0, "")
    table.write_text(f"1{mark}a face/1.jpg{mark}0\n")
    assert (command("pack", tmp_path / "faces", tmp_path / "three", "--lst", table)[1].count("line 1 is not aligned")
            == int("," not in mark))

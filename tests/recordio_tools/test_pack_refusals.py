"""pack: sources and flags that cannot be used are told in one line, with exit status 2, and nothing is written."""
import pytest
from recordio_cases import command, drawn_faces, picture, write_image


@pytest.mark.parametrize("text, message", [
    ("", "is empty"), ("1\ta.jpg\n", "line 1 is not aligned TAB path"),
    ("1\ta.jpg\t0\n0\t1.0\tb.jpg\n", "line 2 is not InsightFace's but im2rec's"),
    ("x\ta.jpg\t0\n", "line 1 begins with 'x'"), ("1\ta.jpg\t-1\n", "line 1")])
def test_a_list_that_is_none_is_named_by_line(tmp_path, text, message):
    (tmp_path / "a.lst").write_text(text)
    status, line = command("pack", tmp_path, tmp_path / "out", "--lst", tmp_path / "a.lst")
    assert status == 2 and message in line and "a.lst" in line and not (tmp_path / "out").exists()


def make_empty(folder):
    folder.mkdir()


def make_loose(folder):
    write_image(folder / "1.jpg", picture())


def make_packed(folder):
    assert command("pack", drawn_faces(folder.parent / "f"), folder) == (0, "")


def make_one(folder):
    drawn_faces(folder, 1, 3)


def make_no_images(folder):
    for name in "ab":
        (folder / name).mkdir(parents=True)
        (folder / name / "1.jpg").write_bytes(b"no image at all")


def make_small(folder):
    drawn_faces(folder, 2, 1, height=96)


@pytest.mark.parametrize("make, message", [
    (make_empty, "holds no images"), (make_loose, "holds 1 images, but no folder for each identity"),
    (make_packed, "holds a packed set, train.rec; unpack makes such folders of it"),
    (make_one, "faces: one identity is left"), (make_no_images, "no identity is left to pack.*2 no image"),
    (make_small, r"person0/0.jpg: is 96x112 .*not 112x112; .*--resize"),
    (lambda folder: None, "there is no such folder")])
def test_an_unusable_source_is_one_line_and_writes_nothing(tmp_path, make, message):
    make(tmp_path / "faces")
    status, line = command("pack", tmp_path / "faces", tmp_path / "out")
    assert status == 2 and not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=message):
        raise ValueError(line)


def test_min_images_above_all_is_one_line(tmp_path):
    status, line = command("pack", drawn_faces(tmp_path / "faces"), tmp_path / "out", "--min-images", 10)
    assert status == 2 and "3 identities below --min-images 10" in line
    status, line = command("pack", tmp_path / "faces", tmp_path / "out", "--min-images", 2, "--max-images", 1)
    assert status == 2 and "--max-images 1: is less than --min-images" in line


@pytest.mark.parametrize("flags", [["--image-size", "112"], ["--image-size", "0,112"], ["--quality", "101"],
                                   ["--workers", "0"], ["--min-images", "few"]])
def test_an_impossible_flag_is_refused(tmp_path, flags, capsys):
    assert command("pack", tmp_path, tmp_path / "out", *flags)[0] == 2
    assert flags[0] in capsys.readouterr().err


@pytest.mark.parametrize("groups, told", [
    ({"actors/faces": "ABC", "actresses/faces": "DEF"},
     "faces/actors/faces instead, or pack actors/faces, actresses/faces each"),
    ({"0_0": "ABC", "0_1": "DE"}, "faces/0_0 instead, or pack 0_0, 0_1 each"),
    ({"Ann/s1": ["frontal", "profile"], "Bo/s2": ["frontal", "profile"], "Cy/s3": ["frontal"]}, ""),
    ({"Ann/images": [""], "Bo/images": [""], "Cy/photos": [""]}, "")])
def test_groups_of_identities_are_told_from_groups_of_their_images(tmp_path, caplog, groups, told):
    for place, (group, inner) in enumerate(groups.items()):
        for number, name in enumerate(inner):
            write_image(tmp_path / "faces" / group / name / "1.jpg", picture(10 * place + number))
    assert command("pack", tmp_path / "faces", tmp_path / "out") == (0, "")
    assert (f"{tmp_path}/{told}" in caplog.text) if told else "holds only folders" not in caplog.text

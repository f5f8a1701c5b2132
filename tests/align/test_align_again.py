"""align into a folder that holds crops already: they are those of the photographs and the settings of now."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recordio_cases import command, picture, write_image
from repository import REPO

from images.alignment import TEMPLATE

FACE = TEMPLATE * 2.3 + (80, 40)


@pytest.fixture
def work(tmp_path):
    """(the command, SRC, OUT) of six photographs of three people, aligned once."""
    for number in range(6):
        write_image(tmp_path / f"src/p{number // 2}/{number}.png", picture(number, 400, 500))
    write_points(tmp_path)
    argv = "align", tmp_path / "src", tmp_path / "out", "--landmarks", tmp_path / "l.csv"
    assert command(*argv) == (0, "")
    return argv, tmp_path / "src", tmp_path / "out"


def write_points(folder, shift=0):
    rows = [[f"p{number // 2}/{number}.png", *(f"{value + shift * (number == 3):.3f}" for value in FACE.ravel())]
            for number in range(6)]
    (folder / "l.csv").write_text("path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n" + "\n".join(map(",".join, rows)))


def crops(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.jpg")}


def report(out):
    return json.loads((out / "align-report.json").read_text())


def afresh(argv, out):
    """The crops that the same command makes in a new folder."""
    new = out.with_name("new")
    shutil.rmtree(new, ignore_errors=True)
    assert command(*(new if word == out else word for word in argv)) == (0, "")
    return crops(new)


def test_nothing_changed_nothing_is_done_again(work):
    argv, _, out = work
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    assert command(*argv) == (0, "") and report(out)["done_before"] == 6
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")} == times


def test_crops_of_removed_photographs_are_removed_and_reported(work, caplog):
    argv, source, out = work
    (source / "p1/2.png").unlink()
    (out / "p1/mine.txt").write_text("not a crop")
    assert command(*argv) == (0, "")
    assert sorted(crops(out)) == sorted(afresh(argv, out)) and "p1/2.jpg" not in crops(out)
    assert report(out)["notes"]["crops_of_photographs_that_are_gone"]["first"] == ["p1/2.png"]
    assert "p1/2.png" in caplog.text and (out / "p1/mine.txt").exists()
    assert "p1/2.png" not in (out / "landmarks.csv").read_text()


def test_another_photograph_in_its_place_is_cut_again_whatever_its_date(work):
    argv, source, out = work
    status = (source / "p0/0.png").stat()
    write_image(source / "p0/0.png", picture(77, 400, 500))
    os.utime(source / "p0/0.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    before = crops(out)
    assert command(*argv) == (0, "") and report(out)["done_before"] == 5
    assert crops(out) == afresh(argv, out) and crops(out)["p0/0.jpg"] != before["p0/0.jpg"]


def test_other_landmarks_and_other_settings_leave_no_mixture(work, tmp_path):
    argv, _, out = work
    write_points(tmp_path, 9)
    assert command(*argv) == (0, "") and report(out)["done_before"] == 5 and crops(out) == afresh(argv, out)
    assert command(*argv, "--quality", "60") == (0, "") and report(out)["done_before"] == 0
    assert crops(out) == afresh((*argv, "--quality", "60"), out)


def test_the_crops_of_another_source_are_not_touched(work, tmp_path):
    argv, source, out = work
    source.rename(tmp_path / "other")
    write_image(source / "q/9.png", picture(9, 400, 500))
    (tmp_path / "l.csv").write_text("path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\nq/9.png," + ",".join(
        f"{value:.3f}" for value in FACE.ravel()) + "\n")
    before, listed = crops(out), sorted(out.rglob("*"))
    status, line = command(*argv)
    assert status == 2 and "holds crops of 6 other photographs" in line and crops(out) == before
    assert sorted(out.rglob("*")) == listed  # no empty list of crops


def test_what_a_killed_run_left_is_cleared_away(work):
    argv, _, out = work
    (out / "p0/.align-abc123.tmp").write_bytes(b"half")
    assert command(*argv) == (0, "") and not list(out.rglob(".*"))


def test_a_table_that_names_files_outside_of_the_folder_removes_none(work, tmp_path):
    argv, _, out = work
    for name in ("thesis.jpg", "deep/other.jpg"):
        write_image(tmp_path / name, picture(5))
    (out / "link").symlink_to(tmp_path / "deep")
    numbers = ",".join(f"{value:.3f}" for value in FACE.ravel())
    with open(out / "landmarks.csv", "a") as stream:
        for name in ("../thesis.png", str(tmp_path / "thesis.png"), "link/other.png"):
            stream.write(f"{name},{numbers},,given,\n")
    assert command(*argv) == (0, "")
    assert (tmp_path / "thesis.jpg").exists() and (tmp_path / "deep/other.jpg").exists()


@pytest.mark.parametrize("flags", [(), ("--overwrite",), ("--keep-missed",)])
def test_a_file_of_another_origin_in_the_place_of_a_crop_stays(work, flags):
    argv, source, out = work
    mine = write_image(out / "p0/new.jpg", picture(9))  # of the size of a crop, too
    content = mine.read_bytes()
    for name in ("p0/new.png", "other.png"):
        shutil.copy(source / "p0/0.png", source / name)
    (out / "other.jpg").symlink_to(mine)
    assert command(*argv, *flags) == (0, "")
    assert mine.read_bytes() == content and (out / "other.jpg").is_symlink()
    assert report(out)["skipped_by_reason"] == {"another file is in the place of its crop": 2}
    mine.unlink()
    (out / "other.jpg").unlink()
    for _ in range(2):  # crops of photographs without a face have no row, and are known all the same
        assert command(*argv, "--keep-missed") == (0, "")
        assert report(out)["skipped_by_reason"] == {} and report(out)["centre_crops"] == 2 and mine.exists()
    assert command(*argv) == (0, "") and not mine.exists()
    assert not (out / "align-crops.txt").exists()


def test_a_crop_that_a_killed_run_wrote_before_its_row_is_done_again(work):
    argv, source, out = work
    lines = (out / "landmarks.csv").read_text().splitlines(True)
    (out / "landmarks.csv").write_text("".join(lines[:-1]))
    (out / "align-crops.txt").write_text('"p2/5.jpg"\n"p2/')  # and the line that it was writing
    (out / "p2/5.jpg").write_bytes(b"half a crop")
    assert command(*argv) == (0, "") and report(out)["skipped_by_reason"] == {}
    assert crops(out) == afresh(argv, out)


def test_links_that_were_planted_in_out_are_not_followed(work, tmp_path):
    argv, _, out = work
    (tmp_path / "mine.txt").write_text("mine")
    for name in ("align-report.json", "align-crops.txt"):
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(tmp_path / "mine.txt")
    status, line = command(*argv)
    assert status == 2 and "align-crops.txt: is a link" in line and (tmp_path / "mine.txt").read_text() == "mine"
    (out / "align-crops.txt").unlink()
    assert command(*argv) == (0, "") and (tmp_path / "mine.txt").read_text() == "mine"
    assert not (out / "align-report.json").is_symlink()


def test_a_folder_whose_name_is_not_utf8(work, tmp_path):
    argv, source, out = work
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.rename(source, strange)
    os.rename(os.path.join(strange, "p1"), os.path.join(strange, os.fsdecode(b"p\xff")))
    table = (tmp_path / "l.csv").read_bytes().replace(b"p1/", b"p\xff/")
    (tmp_path / "l.csv").write_bytes(table)
    argv = ["align", strange, os.path.join(strange, "out"), "--landmarks", tmp_path / "l.csv"]
    for _ in range(2):
        done = subprocess.run([sys.executable, "-m", "recordio_tools", *map(str, argv)], cwd=REPO, capture_output=True)
        assert done.returncode == 0 and b"Traceback" not in done.stderr and b"6 crops in" in done.stdout, done
    told = report(Path(strange, "out"))
    assert told["done_before"] == 6 and told["crops"] == 6
    assert len(list(Path(strange, "out").rglob("*.jpg"))) == 6


@pytest.fixture
def mixed(tmp_path):
    """(the command, SRC, OUT) of photographs whose crops would have one name, aligned once; c.jpg has no landmarks."""
    for number, name in enumerate(("a.jpg", "a.png", "b.jpg", "c.jpg")):
        write_image(tmp_path / "src/p" / name, picture(number, 400, 500))
    points = ",".join(f"{value:.3f}" for value in FACE.ravel())
    (tmp_path / "l.csv").write_text("path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n" + "".join(
        f"p/{name},{points}\n" for name in ("a.jpg", "a.png", "b.jpg")))
    argv = "align", tmp_path / "src", tmp_path / "out", "--landmarks", tmp_path / "l.csv", "--keep-missed"
    assert command(*argv) == (0, "")
    assert sorted(crops(tmp_path / "out")) == ["p/a.jpg", "p/a.png.jpg", "p/b.jpg", "p/c.jpg"]
    return argv, tmp_path / "src", tmp_path / "out"


def test_a_crop_whose_name_changes_is_that_of_its_photograph(mixed):
    argv, source, out = mixed
    (source / "p/a.jpg").rename(source.parent / "away")
    assert command(*argv) == (0, "")
    assert crops(out) == afresh(argv, out) and sorted(crops(out)) == ["p/a.jpg", "p/b.jpg", "p/c.jpg"]
    (source.parent / "away").rename(source / "p/a.jpg")  # whose place the other has now
    assert command(*argv) == (0, "") and report(out)["skipped_by_reason"] == {}
    assert crops(out) == afresh(argv, out) and len(crops(out)) == 4
    assert command(*argv) == (0, "") and report(out)["done_before"] == 3


def test_a_crop_without_landmarks_goes_with_its_photograph(mixed):
    argv, source, out = mixed
    (source / "p/c.jpg").unlink()
    assert command(*argv) == (0, "")
    assert crops(out) == afresh(argv, out) and "p/c.jpg" not in crops(out)
    assert report(out)["notes"]["crops_of_photographs_that_are_gone"]["first"] == ["p/c.jpg"]


def test_a_file_of_another_origin_where_a_crop_moves_to_stays(mixed):
    argv, source, out = mixed
    (source / "p/b.png").write_bytes((source / "p/a.png").read_bytes())
    write_image(out / "p/b.png.jpg", picture(9))
    content = (out / "p/b.png.jpg").read_bytes()
    with open(argv[4], "a") as stream:
        stream.write("p/b.png," + ",".join(f"{value:.3f}" for value in FACE.ravel()) + "\n")
    assert command(*argv) == (0, "")
    assert (out / "p/b.png.jpg").read_bytes() == content
    assert report(out)["skipped_by_reason"] == {"another file is in the place of its crop": 1}


def test_a_table_of_a_former_version_is_continued(mixed):
    argv, _, out = mixed
    table = out / "landmarks.csv"
    lines = [line.rpartition(":")[0] for line in table.read_text().splitlines()[1:]]
    table.write_text(table.read_text().splitlines()[0] + "\n" + "\n".join(lines) + "\n")
    assert command(*argv) == (0, "") and report(out)["done_before"] == 2  # of p/a.png the name is not known
    assert crops(out) == afresh(argv, out) and report(out)["skipped_by_reason"] == {}


@pytest.mark.parametrize("saved", [
    lambda text: "\ufeff".encode() + text.replace("\n", "\r\n").encode(), lambda text: text.replace(",", ";").encode(),
    lambda text: b"sep=;\r\n" + text.replace(",", ";").encode(), lambda text: text.replace(",", "\t").encode("utf-16")],
    ids=["byte order mark", "semicolons", "line that names the separator", "UTF-16"])
def test_the_table_as_a_spreadsheet_saves_it_is_continued(work, saved):
    argv, _, out = work
    before = (out / "landmarks.csv").read_bytes()
    (out / "landmarks.csv").write_bytes(saved(before.decode()))
    assert command(*argv) == (0, "") and report(out)["done_before"] == 6
    assert (out / "landmarks.csv").read_bytes() == before


def test_a_table_saved_with_decimal_commas_is_continued(work):
    argv, _, out = work
    text = (out / "landmarks.csv").read_text().replace(",", ";").replace(".", ",").replace(",png", ".png")
    (out / "landmarks.csv").write_text(text)
    assert command(*argv) == (0, "") and report(out)["done_before"] == 6 and len(crops(out)) == 6


def test_a_table_of_other_photographs_or_without_rows_removes_nothing(work, tmp_path):
    argv, _, out = work
    before = crops(out)
    names = "path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n"
    for text, words in ((names + "p/1" + ",9" * 4 + ",50" * 6 + "\n", "names no photograph below"),
                        (names, "holds no rows")):
        (tmp_path / "wrong.csv").write_text(text)
        status, line = command(*argv[:-1], tmp_path / "wrong.csv")
        assert status == 2 and f"wrong.csv: {words}" in line and crops(out) == before


def test_centre_crops_of_another_source_are_not_touched(tmp_path):
    for folder, number in (("src", 1), ("other", 2)):
        write_image(tmp_path / folder / f"p/{number}.jpg", picture(number, 400, 500))
        (tmp_path / folder / "q").mkdir()
        (tmp_path / folder / "q/none.jpg").write_bytes(b"")
    (tmp_path / "l.csv").write_text("path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\nq/none.jpg," + ",".join(
        f"{value:.3f}" for value in FACE.ravel()) + "\n")
    flags = tmp_path / "out", "--landmarks", tmp_path / "l.csv", "--keep-missed"
    assert command("align", tmp_path / "src", *flags) == (0, "")
    status, line = command("align", tmp_path / "other", *flags)
    assert status == 2 and "holds crops of 1 other photographs" in line
    assert sorted(crops(tmp_path / "out")) == ["p/1.jpg"]

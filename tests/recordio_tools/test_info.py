"""info: the numbers against an independent count."""
import json
import math
import subprocess
import sys

import cv2
import mxnet as mx
import numpy as np
import pytest
from recordio_cases import command, picture, write_image
from repository import REPO
from small_sets import jpeg, write_training_set, write_verification_set

from common import histogram


def test_the_real_training_set(shared_data, capsys):
    assert command("info", shared_data / "train", "--json") == (0, "")
    info = json.loads(capsys.readouterr().out)[0]
    assert (info["images"], info["identities"], info["records"]) == (21869, 72, 21942)
    assert info["layout"].startswith("InsightFace") and info["label_width"] == [2]
    assert (info["formats"], info["sizes"], info["looked_at"]) == ({"JPEG": 1000}, {"112x112": 1000}, 1000)
    rec = mx.recordio.MXIndexedRecordIO(str(shared_data / "train/train.idx"), str(shared_data / "train/train.rec"), "r")
    ranges = [mx.recordio.unpack(rec.read_idx(key))[0].label for key in range(21870, 21942)]
    counts = np.array([int(last - first) for first, last in ranges])
    assert info["images_per_identity"] == {
        "min": counts.min(), "quarter": np.percentile(counts, 25), "median": np.median(counts),
        "three_quarters": np.percentile(counts, 75), "max": counts.max(), "mean": round(counts.mean(), 2)}
    for entry in info["histogram"]:
        assert entry["identities"] == sum(entry["first"] <= count <= entry["last"] for count in counts)
    assert sum(entry["identities"] for entry in info["histogram"]) == 72


def test_a_folder_of_both_kinds_as_text_and_json(tmp_path, capsys):
    folder = write_training_set(tmp_path / "set", identities=3, images=4)
    write_verification_set(folder / "x.bin", pairs=12)
    assert command("info", folder) == (0, "")
    out = capsys.readouterr().out
    assert "train.rec: training set" in out and "x.bin: verification set" in out
    assert "min 4, quarter 4, median 4" in out and "num classes 3, height 112, width 112" in out
    assert "10, same/pairs 1/2, 1/2, 1/1, 0/1" in out and "    4         3  ####" in out
    command("info", folder, "--json")
    both = json.loads(capsys.readouterr().out)
    assert [item["kind"] for item in both] == ["training set", "verification set"]
    assert (both[1]["pairs"], both[1]["same"], both[1]["different"], both[1]["images"]) == (12, 6, 6, 24)


def test_a_plain_set_without_an_index(tmp_path, capsys):
    record = mx.recordio.MXRecordIO(str(tmp_path / "a.rec"), "w")
    for key, label in enumerate([0, 1, 1, math.nan, math.nan]):  # the last two are no labels, as `check` says
        record.write(mx.recordio.pack(mx.recordio.IRHeader(0, float(label), key, 0), jpeg(picture(key))))
    record.close()
    assert command("info", tmp_path / "a.rec", "--json") == (0, "")
    info = json.loads(capsys.readouterr().out)[0]
    assert info["layout"].startswith("plain") and info["index"] is None and info["property"] is None
    spread = info["images_per_identity"]
    assert (spread["min"], spread["median"], spread["max"]) == (1, 1.5, 2) and info["label_width"] == [1]
    assert (info["images"], info["identities"]) == (5, 2)
    assert info["names"] is None


def test_names_kinds_and_folds(tmp_path, capsys):
    for name, count in (("Ann", 3), ("b\u00f6", 1), ("n3", 2)):
        for index in range(count):
            write_image(tmp_path / f"faces/{name}/{index}.jpg", picture(ord(name[0]) + index))
    assert command("pack", tmp_path / "faces", tmp_path / "set")[0] == 0
    pairs = [left + "," + right for left, right in [("Ann/0", "Ann/1"), ("Ann/0", "n3/0")] * 10]
    (tmp_path / "pairs.csv").write_text("left,right,same\n" + "".join(
        f"{pair.replace(',', '.jpg,')}.jpg,{1 - number % 2}\n" for number, pair in enumerate(pairs)))
    assert command("pairs", "csv", "--pairs", tmp_path / "pairs.csv", "--images", tmp_path / "faces", "--out",
                   tmp_path / "set/x.bin") == (0, "")
    capsys.readouterr()
    command("info", tmp_path / "set", "--json")
    packed, pairs = json.loads(capsys.readouterr().out)
    assert packed["names"] == 3 and packed["most_images"][0] == {"identity": "Ann", "images": 3}
    assert packed["fewest_images"][0] == {"identity": "b\u00f6", "images": 1}
    assert pairs["folds"] == [{"pairs": 2, "same": 1, "different": 1}] * 10 and pairs["different_images"] == 3
    command("info", tmp_path / "set")
    out = capsys.readouterr().out
    assert "10 of 2 pairs, 1 same" in out and "Ann (3), n3 (2)" in out


def test_the_kinds_and_sizes_of_mixed_images(tmp_path, capsys):
    record = mx.recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(tmp_path / "a.rec"), "w")
    for key, size in enumerate([(112, 112), (96, 112), (112, 112)]):
        image = picture(key, *size)
        content = jpeg(image) if key < 2 else cv2.imencode(".png", image)[1].tobytes()
        record.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, key % 2, key, 0), content))
    record.write_idx(3, mx.recordio.pack(mx.recordio.IRHeader(0, 1.0, 3, 0), b"no image"))
    record.close()
    command("info", tmp_path / "a.rec", "--json")
    info = json.loads(capsys.readouterr().out)[0]
    assert info["formats"] == {"JPEG": 2, "PNG": 1, "unknown": 1}
    assert info["sizes"] == {"112x112": 2, "96x112": 1, "unreadable": 1}


@pytest.mark.parametrize("counts", [
    [1], [7, 7, 7], list(range(1, 13)), [80, 519, 300], [1, 530], [3, 3, 1000000], [1, 2, 4, 8, 16, 17], [19, 30, 40]])
def test_every_count_is_in_one_bin(counts):
    table = histogram.bins(np.array(counts))
    assert 1 <= len(table) <= 22
    for entry in table:
        assert entry.first <= entry.last
        assert entry.identities == sum(entry.first <= count <= entry.last for count in counts)
    assert sum(entry.identities for entry in table) == len(counts)
    assert all(before.last + 1 == after.first for before, after in zip(table, table[1:]))
    assert max(len(line.split("  ")[-1]) for line in histogram.text_bars(table)) == 40


def test_the_picture(tmp_path, capsys):
    for name, identities in (("a", 3), ("b", 4)):
        write_training_set(tmp_path / name, identities=identities, images=2, size=32)
    assert command("info", tmp_path / "a", tmp_path / "b", "--histogram", tmp_path / "new/p.png") == (0, "")
    image = cv2.imread(str(tmp_path / "new/p.png"))
    assert image.shape[1] == 1200 and image.std() > 5
    write_verification_set(tmp_path / "x.bin")
    for argv, message in (((tmp_path / "a", "--histogram", tmp_path / "p.txt"), "must end in"),
                          ((tmp_path / "x.bin", "--histogram", tmp_path / "p.png"), "no training set")):
        status, line = command("info", *argv)
        assert status == 2 and message in line


@pytest.mark.parametrize("make, message", [
    (lambda path: None, "there is no such file"), (lambda path: path.mkdir(), "holds neither"),
    (lambda path: path.write_text("x"), "is a text file, not a .rec"),
    (lambda path: path.write_bytes(b"\0"), "is neither")])
def test_a_path_that_is_not_data(tmp_path, make, message):
    make(tmp_path / "here")
    status, line = command("info", tmp_path / "here")
    assert status == 2 and message in line


def test_files_that_cannot_be_read_are_one_line(tmp_path):
    (tmp_path / "a.rec").write_bytes(b"garbage garbage")
    (tmp_path / "a.bin").write_bytes(b"garbage garbage")
    for name in ("a.rec", "a.bin"):
        status, line = command("info", tmp_path / name)
        assert status == 2 and name in line
    (tmp_path / "empty.rec").write_bytes(b"")
    assert command("info", tmp_path / "empty.rec") == (0, "")


@pytest.mark.parametrize("name, content, message", [
    ("a.bin", b"garbage garbage", "a.bin: is a text file"), ("z.rec", b"garbage garbage", "z.rec: is a text file"),
    ("z.rec", b"\x80\x02]q\0.", "z.rec: is a pickle, as verification sets (.bin) are, not a .rec")])
def test_an_unreadable_file_among_others(tmp_path, capsys, caplog, name, content, message):
    folder = write_training_set(tmp_path / "set", identities=2, images=2, size=32)
    write_verification_set(folder / "x.bin", pairs=10)
    (folder / name).write_bytes(content)
    assert command("info", folder)[0] == 2 and message in caplog.text
    out = capsys.readouterr().out
    assert "train.rec: training set" in out and "x.bin: verification set" in out
    assert command("info", folder, "--json")[0] == 2
    assert [item["kind"] for item in json.loads(capsys.readouterr().out)] == ["training set", "verification set"]


def test_unreadable_files_beside_a_set_and_records_not_found_are_told_with_the_rest(tmp_path, capsys, caplog):
    folder = write_training_set(tmp_path / "set", identities=3, images=2, size=32)
    (folder / "property").write_text("3 32 32")
    (folder / "identities.csv").write_text("name\nAnn\n")
    assert command("info", folder) == (0, "")
    assert "property: is '3 32 32', not" in caplog.text and "identities.csv: line 1 is 'name'" in caplog.text
    out = capsys.readouterr().out
    for name, value in (("images", 6), ("property", "none"), ("names", "none")):
        assert f"{name:<22}{value}\n" in out
    other = write_training_set(tmp_path / "other", identities=3, images=2, size=40)
    (folder / "train.idx").write_bytes((other / "train.idx").read_bytes())
    assert command("info", folder) == (0, "")
    assert "no image record begins there; the index is that of another rec" in caplog.text


@pytest.mark.parametrize("argv, status, shown", [
    (["info", "nowhere"], 2, "nowhere: there is no such file or folder"), (["pack", "nowhere", "out"], 2, "nowhere"),
    (["pack"], 2, "SRC"), ([], 2, "COMMAND"), (["pak", "a", "b"], 2, "pak"), (["check", "a.rec"], 2, "a.rec")])
def test_a_user_sees_one_line_and_the_exit_status(tmp_path, argv, status, shown):
    run = subprocess.run([sys.executable, "-m", "recordio_tools", *argv], capture_output=True, text=True, cwd=REPO)
    assert run.returncode == status and run.stdout == ""
    assert shown in run.stderr and run.stderr.count("\n") == 1 and "Traceback" not in run.stderr


def test_help_teaches_and_no_command_needs_mxnet():
    code = "import sys; sys.modules['mxnet'] = None; from recordio_tools.__main__ import main; main(sys.argv[1:])"
    for command_line in (["--help"], ["pack", "--help"], ["pairs", "cfp", "--help"], ["check", "--help"]):
        run = subprocess.run([sys.executable, "-c", code, *command_line], capture_output=True, text=True, cwd=REPO)
        assert run.returncode == 0 and "python -m recordio_tools " in run.stdout, run.stderr


def test_a_folder_with_dollar_signs_has_a_histogram(tmp_path):
    from small_sets import write_training_set
    folder = write_training_set(tmp_path / "a$_$b", identities=2, images=2, size=32)
    assert command("info", folder, "--histogram", tmp_path / "k.png") == (0, "")
    assert (tmp_path / "k.png").read_bytes().startswith(b"\x89PNG")

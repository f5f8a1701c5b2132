"""info: the numbers against an independent count."""
import json
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from recordio_cases import command, picture
from small_sets import jpeg, write_training_set, write_verification_set

REPO = Path(__file__).resolve().parent.parent


def test_the_real_training_set(shared_data, capsys):
    assert command("info", shared_data / "train", "--json") == (0, "")
    info = json.loads(capsys.readouterr().out)[0]
    assert (info["images"], info["identities"], info["records"]) == (21869, 72, 21942)
    assert info["layout"].startswith("InsightFace") and info["label_width"] == [2]
    assert info["image"] == {"format": "JPEG", "height": 112, "width": 112}
    rec = mx.recordio.MXIndexedRecordIO(str(shared_data / "train/train.idx"), str(shared_data / "train/train.rec"), "r")
    ranges = [mx.recordio.unpack(rec.read_idx(key))[0].label for key in range(21870, 21942)]
    counts = [int(last - first) for first, last in ranges]
    assert info["images_per_identity"] == {"min": min(counts), "median": np.median(counts), "max": max(counts)}


def test_a_folder_of_both_kinds_as_text_and_json(tmp_path, capsys):
    folder = write_training_set(tmp_path / "set", identities=3, images=4)
    write_verification_set(folder / "x.bin", pairs=12)
    assert command("info", folder) == (0, "")
    out = capsys.readouterr().out
    assert "train.rec: training set" in out and "x.bin: verification set" in out
    assert "min 4, median 4, max 4" in out and "num classes 3, height 112, width 112" in out
    command("info", folder, "--json")
    both = json.loads(capsys.readouterr().out)
    assert [item["kind"] for item in both] == ["training set", "verification set"]
    assert (both[1]["pairs"], both[1]["same"], both[1]["different"], both[1]["images"]) == (12, 6, 6, 24)


def test_a_plain_set_without_an_index(tmp_path, capsys):
    record = mx.recordio.MXRecordIO(str(tmp_path / "a.rec"), "w")
    for key, label in enumerate([0, 1, 1]):
        record.write(mx.recordio.pack(mx.recordio.IRHeader(0, float(label), key, 0), jpeg(picture(key))))
    record.close()
    assert command("info", tmp_path / "a.rec", "--json") == (0, "")
    info = json.loads(capsys.readouterr().out)[0]
    assert info["layout"].startswith("plain") and info["index"] is None and info["property"] is None
    assert info["images_per_identity"] == {"min": 1, "median": 1.5, "max": 2} and info["label_width"] == [1]


@pytest.mark.parametrize("make, message", [
    (lambda path: None, "there is no such file"), (lambda path: path.mkdir(), "holds neither"),
    (lambda path: path.write_text("x"), "is neither")])
def test_a_path_that_is_no_data(tmp_path, make, message):
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

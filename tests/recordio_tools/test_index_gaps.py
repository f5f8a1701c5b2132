"""An index that does not know its whole file is told of by every reader, and what pack and pairs lose as well."""
import json
import logging
import pickle

import numpy as np
import pytest
from recordio_cases import command, drawn_faces
from small_sets import write_training_set

from common.errors import UserError
from recordio_tools.bins.binfile import read_bin
from recordio_tools.records.dataset import open_dataset
from recordio_tools.records.index import read_index
from recordio_tools.records.recordio import RecordFile

IMAGE = b"\xff\xd8\xff\xe0image"


def cut(lines, how):
    return {"empty": [], "blank": ["\n", " \n"], "middle": lines[:3] + lines[4:], "first": lines[1:],
            "beyond": [*lines, "999\t99999999\n"], "last": lines[:-2]}[how]


@pytest.mark.parametrize("how, words", [
    ("empty", "train.idx: is empty, and train.rec holds"), ("blank", "train.idx: is empty"),
    ("middle", "lacks the record at byte"), ("first", "lacks the record at byte 0"),
    ("beyond", "point beyond train.rec, which ends at byte"), ("last", "ends with the record before byte")])
@pytest.mark.parametrize("plain", [True, False])
def test_info_says_what_an_index_lacks(tmp_path, caplog, how, words, plain):
    folder = write_training_set(tmp_path / "set", 3, 3)
    if plain:
        assert command("merge", tmp_path / "plain", folder, "--plain")[0] == 0
        folder = tmp_path / "plain"
    whole = RecordFile(folder / "train.rec").offsets
    lines = (folder / "train.idx").read_text().splitlines(True)
    (folder / "train.idx").write_text("".join(cut(lines, how)))
    with caplog.at_level(logging.WARNING):
        assert command("info", folder)[0] == 0
        assert words in caplog.text
        if how == "middle":
            assert f"at byte {whole[3]} of train.rec" in caplog.text
        assert command("check", folder)[0] == 1
    caplog.clear()
    if how in ("middle", "first"):  # usable, and told
        with caplog.at_level(logging.WARNING):
            assert len(open_dataset(folder)) == (8 if plain or how == "middle" else 9)
        assert words in caplog.text
    else:
        with pytest.raises(UserError, match=words if how != "beyond" else "index|idx"):
            open_dataset(folder)
    (folder / "train.idx").unlink()
    assert len(open_dataset(folder)) == 9


@pytest.mark.parametrize("left", [-2, -5, -6, 1, 3, "zeros", "zero lines"])
@pytest.mark.parametrize("plain", [True, False])
def test_an_index_that_is_cut_anywhere_names_the_way_out_and_it_helps(tmp_path, left, plain):
    folder = write_training_set(tmp_path / "set", 3, 3, 32)
    if plain:
        assert command("merge", tmp_path / "plain", folder, "--plain")[0] == 0
        folder = tmp_path / "plain"
    whole = (folder / "train.idx").read_bytes()
    half = whole.index(b"\n", len(whole) // 2) + 1
    cut = {"zeros": whole[:half - 2] + bytes(len(whole) - half), "zero lines": whole[:half] + bytes(9) + b"\n",
           **{at: whole[:at if at < 0 else half + at] for at in (-2, -5, -6, 1, 3)}}[left]
    (folder / "train.idx").write_bytes(cut)
    for words in (("info",), ("unpack",)):
        status, line = command(*words, folder, *([tmp_path / "out"] if words == ("unpack",) else []))
        assert status == 0 if words == ("info",) and not line else (
            status == 2 and "train.idx: " in line and "truncated" in line
            and line.endswith("remove it, and the file is scanned instead")), line
    (folder / "train.idx").unlink()
    assert len(open_dataset(folder)) == 9


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_an_index_with_a_byte_order_mark_or_in_utf_16_is_read(tmp_path, encoding):
    folder = write_training_set(tmp_path / "set", 3, 3, 32)
    keys, offsets = read_index(folder / "train.idx")
    text = (folder / "train.idx").read_text()
    (folder / "train.idx").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    again = read_index(folder / "train.idx")
    assert again[0].tolist() == keys.tolist() and again[1].tolist() == offsets.tolist()
    assert command("check", folder) == (0, "") and len(open_dataset(folder)) == 9
    (folder / "train.idx").write_bytes((text + "x\n").encode(encoding))
    with pytest.raises(UserError, match="line 14 is not `key TAB offset`"):
        read_index(folder / "train.idx")


def test_two_entries_for_one_record_are_told_and_repair_helps(tmp_path, caplog):
    folder = write_training_set(tmp_path / "set", 3, 3, 32)
    lines = (folder / "train.idx").read_text().splitlines(True)
    (folder / "train.idx").write_text("".join([*lines, f"500\t{lines[2].split()[1]}\n"]))
    with caplog.at_level(logging.WARNING):
        assert command("unpack", folder, tmp_path / "out") == (0, "")
    line, = [record.getMessage() for record in caplog.records]
    assert f"1 of its 14 entries are second ones of a record, the first of that at byte {lines[2].split()[1]}" in line
    assert command("check", folder / "train.rec", "--repair", tmp_path / "sound")[0] == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert len(open_dataset(tmp_path / "sound")) == 9 and not caplog.text


def test_a_whole_index_in_another_order_is_not_complained_of(tmp_path, caplog):
    folder = write_training_set(tmp_path / "set", 3, 3)
    lines = (folder / "train.idx").read_text().splitlines(True)
    (folder / "train.idx").write_text("".join(reversed(lines)))
    with caplog.at_level(logging.WARNING):
        assert command("info", folder)[0] == 0 and len(open_dataset(folder)) == 9
    assert not caplog.text


@pytest.mark.parametrize("same, truth", [
    ([[1], [0]], [True, False]), ([(True,), [False]], [True, False]), ([1, 0], [True, False])])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_truth_values_one_by_one_in_lists(tmp_path, same, truth, protocol):
    (tmp_path / "x.bin").write_bytes(pickle.dumps(([IMAGE] * 4, same), protocol))
    assert read_bin(tmp_path / "x.bin")[1].tolist() == truth


@pytest.mark.parametrize("same, found", [
    (np.array([-1, 1]), "pair 0 (from 0) is marked -1,"), ([np.int64(-1), 1], "marked -1,"),
    (np.array([1, 0.5], np.float32), "pair 1 (from 0) is marked 0.5,"), ([True, 0.5], "pair 1 (from 0) is marked 0.5,"),
    (["True", "False"], "marked 'True' (text)"), ([b"\x1b[2J", 1], "marked '\\x1b[2J' (text)"), ([None], "marked None"),
    ([[1, 0], [0]], "marked by a list"), ([2, 0], "marked 2,")])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_what_is_not_a_boolean_is_reported(tmp_path, same, found, protocol):
    (tmp_path / "x.bin").write_bytes(pickle.dumps(([IMAGE] * 4, same), protocol))
    with pytest.raises(UserError) as caught:
        read_bin(tmp_path / "x.bin")
    assert found in str(caught.value) and "neither same nor different" in str(caught.value)


@pytest.mark.parametrize("different", ["-1", "0.0"])
def test_values_of_same_as_protocols_and_pandas_write_them(tmp_path, different):
    drawn_faces(tmp_path, 2, 2)
    (tmp_path / "p.csv").write_text("left,right,same\n" + 2 * (
        f"person0/0.jpg,person0/1.jpg,1.0\nperson0/0.jpg,person1/1.jpg,{different}\n"))
    assert command("pairs", "csv", "--pairs", tmp_path / "p.csv", "--folds", 2, "--out", tmp_path / "x.bin") == (0, "")
    assert read_bin(tmp_path / "x.bin")[1].tolist() == [True, False, True, False]


@pytest.mark.parametrize("word", ["2", "perhaps", ""])
def test_invalid_values_of_same_in_a_table_are_reported(tmp_path, word):
    drawn_faces(tmp_path, 2, 2)
    (tmp_path / "p.csv").write_text(f"left,right,same\nperson0/0.jpg,person0/1.jpg,{word}\n")
    status, line = command("pairs", "csv", "--pairs", tmp_path / "p.csv", "--out", tmp_path / "x.bin")
    assert status == 2 and f"line 2 is not left,right,same[,fold]: same is '{word}', not 1 or 0" in line


def test_a_person_without_a_usable_file_is_named(tmp_path, caplog):
    drawn_faces(tmp_path / "faces", 3, 2)
    (tmp_path / "faces/nobody").mkdir()
    (tmp_path / "faces/nobody/1.jpg").write_bytes(b"\xff\xd8\xff text")
    with caplog.at_level(logging.WARNING):
        assert command("pack", tmp_path / "faces", tmp_path / "out")[0] == 0
    assert "identity left out, none of its files can be used: nobody" in caplog.text
    report = json.loads((tmp_path / "out/pack-report.json").read_text())
    assert report["identities_left_out"] == [{"identity": "nobody", "images": 0}]


def test_folds_of_one_class_name_the_flag_and_it_helps(tmp_path, capsys):
    drawn_faces(tmp_path, 4, 4)
    same = [(f"person{n}/{i}.jpg", f"person{n}/{i + 1}.jpg", 1) for n in range(4) for i in range(3)]
    other = [(f"person{n}/{i}.jpg", f"person{(n + 1) % 4}/{i}.jpg", 0) for n in range(4) for i in range(3)]
    rows = [row for k in range(0, 12, 6) for row in same[k:k + 6] + other[k:k + 6]]  # 6 same, 6 different, twice
    (tmp_path / "p.csv").write_text("left,right,same\n" + "".join("{},{},{}\n".format(*row) for row in rows))
    argv = ("pairs", "csv", "--pairs", tmp_path / "p.csv", "--out", tmp_path / "x.bin")
    status, line = command(*argv, "--folds", 4)
    assert status == 2 and "holds 6 same pairs" in line and "--folds 3 fits (now 4)" in line
    assert command(*argv, "--folds", 3, "--overwrite")[0] == 0
    assert command(*argv, "--folds", 2, "--overwrite")[0] == 0
    assert command("check", tmp_path / "x.bin", "--folds", 4)[0] == 1
    assert "--folds" in capsys.readouterr().out
    assert command("check", tmp_path / "x.bin", "--folds", 2)[0] == 0

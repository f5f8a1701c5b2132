"""A few hundred mutated files for every reader, and whether the harness sees what it is there to see."""
import ctypes
import faulthandler
import json
import multiprocessing
import os
import pickle
import time
from types import SimpleNamespace

import numpy as np
import pytest
from recordio_cases import command, drawn_faces, picture
from repository import SHARED
from small_sets import jpeg, write_training_set

from images.alignment import TEMPLATE, align
from recordio_tools.records import framing
from recordio_tools.records.writer import RecordWriter
from stress.fuzzing import cases, pickles, readers, runner
from stress.fuzzing.__main__ import main
from stress.fuzzing.runner import Limits, run_all


@pytest.fixture(scope="module")
def corpus():
    return cases.load_corpus(SHARED / "data")


def outcomes(corpus, scratch, tickets, limits=None, make=None):
    return list(run_all(corpus, tickets, scratch, 1, limits or Limits(600), make))


@pytest.mark.parametrize("kind, count", [("rec", 30), ("idx", 20), ("bin", 30), ("lst", 20), ("csv", 30),
                                         ("model", 30), ("run", 30), ("image", 30), ("npz", 30),
                                         ("ijb", 20), ("onnx", 20), ("mat", 6), ("journal", 20), ("gallery", 20),
                                         ("scores", 20), ("results", 20), ("tables", 15), ("crops", 10),
                                         ("aside", 20), ("against", 30), ("study", 30)])
def test_mutated_files_end_in_a_result_or_in_one_line(corpus, tmp_path, kind, count):
    found = outcomes(corpus, tmp_path, [(kind, 1000, number) for number in range(count)])
    assert [outcome.failures for outcome in found] == [[]] * count
    ends = [end for outcome in found for end in outcome.ends.values()]
    assert {"read", "refused"} == set(ends)


def test_every_kind_is_run_without_flags_and_every_reader_has_a_kind(corpus):
    assert set(cases.MAKERS) == set(cases.KINDS)
    made = {cases.make_case(corpus, kind, 2, number).reader for kind in cases.KINDS for number in range(40)}
    assert made == set(readers.READERS)


def test_cases_are_the_same_each_time_and_differ(corpus):
    for kind in cases.KINDS:
        made = [cases.make_case(corpus, kind, 1, number) for number in range(8)]
        assert made == [cases.make_case(corpus, kind, 1, number) for number in range(8)]
        assert len({json.dumps([case.reader, sorted(map(repr, case.files.items()))]) for case in made}) >= 7


def test_sound_files_are_read_by_every_reader(tmp_path, corpus, monkeypatch):
    """What is mutated is sound, so a refusal is the mutation's doing."""
    for name in ("mutate", "mutate_text"):
        monkeypatch.setattr(cases, name, lambda data, *rest: data)
    made = [("idx", 0, number) for number in range(6)] + [("lst", 0, 0)] + [("csv", 0, number) for number in range(30)]
    for outcome in outcomes(corpus, tmp_path, made):
        assert not outcome.failures and set(outcome.ends.values()) == {"read"}, outcome


def _segfault():
    faulthandler.disable()
    ctypes.string_at(0)


def _hog():
    blocks = [np.ones(1 << 26, np.uint8) for _ in range(8)]  # the system may take pages away meanwhile
    return len(blocks)


def _wrong():
    raise ValueError("a bug")


def _execute():
    pickle.loads(pickles.executed(2, 0, [b""]))


HANGING = multiprocessing.get_context("fork").Event()


def _hang():
    HANGING.set()
    time.sleep(1000)


@pytest.mark.parametrize("reader, told", [
    (_segfault, "crash: "), (_hang, "hang"), (_hog, "memory"),
    (_wrong, "bad: ValueError"), (_execute, "bad: a pickle was executed"), (lambda: os._exit(3), "crash: exit 3"),
    (lambda: np.ones(1 << 40), "MemoryError")])
def test_the_harness_sees_what_must_not_happen_and_knows_the_case(corpus, tmp_path, monkeypatch, reader, told):
    monkeypatch.setitem(readers.READERS, "bad", lambda folder: [("bad", reader)])
    monkeypatch.setitem(readers.READERS, "good", lambda folder: [("good", lambda: None)])
    # a clock that stands still until the case hangs, and then has passed every limit
    HANGING.clear()
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: 1e6 * HANGING.is_set(),
                                                        perf_counter=time.perf_counter))
    limits = Limits(600, 200)
    found = outcomes(corpus, tmp_path, [("x", 0, number) for number in range(3)], limits,
                     lambda ticket: cases.Case("bad" if ticket[2] == 1 else "good", {"file": b""}))
    assert [outcome.ticket[2] for outcome in found] == [0, 1, 2]
    assert not found[0].failures and not found[2].failures
    assert any(told in what for what, _ in found[1].failures), found[1]


def test_a_failure_is_kept_and_can_be_replayed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(readers.READERS, "lst", lambda folder: [("bad", _wrong)])
    argv = ["--cases", "2", "--kind", "lst", "--failures", str(tmp_path / "kept"), "--data", str(tmp_path)]
    assert main(argv) == 1
    out = capsys.readouterr().out
    assert "2  bad: ValueError" in out and "from synthetic files" in out
    assert main(["--replay", str(tmp_path / "kept" / "lst-0-1"), "--data", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "a bug" in out and "Traceback" in out
    monkeypatch.undo()
    assert main(["--replay", str(tmp_path / "kept" / "lst-0-1"), "--data", str(tmp_path)]) == 0


@pytest.mark.parametrize("flags", [["--seconds", "nan"], ["--memory", "0"], ["--memory", "999999999999"],
                                   ["--workers", "0"], ["--cases", "-3"]], ids=" ".join)
def test_limits_that_cannot_be_are_one_line(flags, capsys):
    with pytest.raises(SystemExit) as caught:
        main(flags)
    said = capsys.readouterr().err
    assert caught.value.code == 2 and len(said.splitlines()) == 1 and flags[0] in said


def test_executing_one_of_the_pickles_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for way in range(30):
        try:
            pickle.loads(pickles.executed(2, way, [b"x"] * 4))
        except OSError:
            pass
        assert os.path.lexists(pickles.CANARY), way
        os.rmdir(pickles.CANARY) if os.path.isdir(pickles.CANARY) else os.unlink(pickles.CANARY)


# What was found so.


def test_info_prints_names_that_are_not_text(tmp_path, capsysbinary):
    folder = write_training_set(tmp_path / "set", identities=2, images=2)
    (folder / "identities.csv").write_bytes(b"label,identity,images\n0,\xee\x1b[2J,2\n1,b,2\n")
    assert command("info", folder) == (0, "")
    out = capsysbinary.readouterr().out
    assert b"\\xee\\x1b[2J" in out or b"\\udcee\\x1b[2J" in out


def test_a_table_whose_first_line_has_a_bare_carriage_return(tmp_path):
    (tmp_path / "faces.csv").write_bytes(b"path\rimage,identity\na.jpg,b\n")
    status, line = command("pack", tmp_path / "faces.csv", tmp_path / "out")
    assert status == 2 and "line 1 is" in line


def test_protocols_with_names_and_numbers_that_no_file_has(tmp_path):
    faces = drawn_faces(tmp_path / "faces", 2, 2)
    (tmp_path / "pairs.txt").write_text("".join(f"{'a' * 300}\t1\t2\n{'a' * 300}\t1\tb\t2\n" for _ in range(10)))
    status, line = command("pairs", "lfw", "--images", faces, "--pairs", tmp_path / "pairs.txt", "--out",
                           tmp_path / "x.bin")
    assert status == 2 and "there is no image" in line
    for listed, pairs in (("\u00b2 a/b.jpg\n", "1,1\n"), ("1 a/b.jpg\n", "\u00b2,1\n"), ("1" * 5000 + " a\n", "1,1\n")):
        (tmp_path / "Split" / "FF" / "01").mkdir(parents=True, exist_ok=True)
        (tmp_path / "Split" / "FF" / "\u00b2").mkdir(exist_ok=True)
        (tmp_path / "Pair_list_F.txt").write_text(listed, "utf-8")
        for name in ("same", "diff"):
            (tmp_path / "Split" / "FF" / "01" / f"{name}.txt").write_text(pairs, "utf-8")
        status, line = command("pairs", "cfp", "--images", faces, "--protocol", tmp_path, "--kind", "FF", "--out",
                               tmp_path / "x.bin")
        assert status == 2 and "line 1 is not" in line


@pytest.mark.parametrize("shape", [(40_000, 300), (300, 40_000)])
@pytest.mark.parametrize("angle", [0, 30])
def test_a_face_on_an_image_too_long_for_opencv_to_warp(shape, angle):
    random = np.random.RandomState(0)
    image = random.randint(0, 256, (*shape, 3), dtype=np.uint8)
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = np.array([150, 150])
    points = (TEMPLATE - 56) @ rotation.T + centre
    far = np.array([0, 35_000]) if shape[0] > shape[1] else np.array([35_000, 0])
    near = image[:300, :300]
    image[far[1]:far[1] + 300, far[0]:far[0] + 300] = near
    found = align(image, points + far).astype(int)
    assert abs(found - align(near, points)).max() <= 2
    for wild in (points * 1e5, points - 1e5, points * 1e-5):
        try:
            assert align(image, wild).shape == (112, 112, 3)
        except ValueError:
            continue


def test_a_plain_set_with_an_enormous_label_is_refused_at_once(tmp_path):
    with RecordWriter(tmp_path / "set" / "train.rec") as writer:
        for key, label in enumerate((0.0, 1.0, 1e9)):
            writer.write(key, framing.pack(label, key, jpeg(picture(key))))
    for name in ("unpack", "check"):
        status, _ = command(name, tmp_path / "set", *([tmp_path / "out"] if name == "unpack" else []))
        assert status == (2 if name == "unpack" else 1)

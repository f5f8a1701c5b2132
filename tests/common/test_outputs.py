"""What a command writes destroys nothing: neither what is there, nor what comes meanwhile, nor devices and links."""
from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading

import pytest
from recordio_cases import command, drawn_faces
from repository import REPO
from small_sets import write_training_set, write_verification_set

from common import folders
from common.errors import UserError
from common.files import atomic_path, check_new_file, json_text, write_atomic, write_json


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    drawn_faces(folder / "faces", 4, 3)
    write_training_set(folder / "set", 3, 2)
    write_verification_set(folder / "x.bin", pairs=12)
    (folder / "p.csv").write_text("left,right,same\nperson0/0.jpg,person0/1.jpg,1\nperson0/0.jpg,person1/1.jpg,0\n"
                                  "person1/0.jpg,person1/1.jpg,1\nperson2/0.jpg,person1/1.jpg,0\n")
    return folder


def commands(data, out):
    """The arguments of every command that makes a folder or a file at `out`."""
    return {"pack": ("pack", data / "faces", out), "merge": ("merge", out, data / "set"),
            "unpack": ("unpack", data / "set", out), "unpack a bin": ("unpack", data / "x.bin", out),
            "repair": ("check", data / "set", "--repair", out),
            "pairs csv": ("pairs", "csv", "--pairs", data / "p.csv", "--images", data / "faces", "--folds", 2, "--out",
                          out / "x.bin"),
            "pairs make": ("pairs", "make", data / "faces", "--pairs", 4, "--folds", 2, "--out", out / "x.bin")}


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["pack", "merge", "unpack", "unpack a bin", "repair", "pairs csv", "pairs make"])
def test_what_is_there_is_refused_and_replaced_when_asked(data, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is no hindrance
    argv = commands(data, out)[name]
    good = (1,) if name == "repair" else (0,)  # a sound set needs no repair, and check says 0
    assert command(*argv)[0] in (0, *good)
    before = tree(out)
    status, line = command(*argv)
    assert status == 2 and "--overwrite" in line and str(out) in line and tree(out) == before
    assert command(*argv, "--overwrite")[0] in (0, *good)
    assert set(tree(out)) == set(before)


@pytest.mark.parametrize("name", ["pack", "merge", "unpack", "repair", "pairs csv", "pairs make"])
def test_what_appears_meanwhile_stays(data, tmp_path, monkeypatch, name):
    out = tmp_path / "out"
    mine = out / ("x.bin" if name.startswith("pairs") else "train.rec" if name in ("pack", "merge") else "thesis.txt")

    def appear(*args):
        out.mkdir(exist_ok=True)
        mine.write_bytes(b"mine")

    for module, function in ((folders, "fsync"), (folders.os, "sync"), (os, "link")):
        original = getattr(module, function)
        monkeypatch.setattr(module, function, lambda *args, original=original: (appear(), original(*args))[1])
    status, line = command(*commands(data, out)[name])
    assert status in (1, 2) and "\n" not in line and mine.read_bytes() == b"mine"
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir() if path.name != "out"] == []
    assert list(tree(out)) == [mine.name]


def test_two_commands_into_one_folder(data, tmp_path):
    argv = [sys.executable, "-m", "recordio_tools", *map(str, commands(data, tmp_path / "out")["pack"])]
    running = [subprocess.Popen(argv, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for _ in range(2)]
    said = [process.communicate()[1] for process in running]
    assert sorted(process.returncode for process in running) == [0, 2], said
    assert command("check", tmp_path / "out") == (0, "") and len(list(tmp_path.iterdir())) == 1


def test_a_link_stays_one_and_what_it_names_is_replaced_with_its_permissions(tmp_path):
    target, link = tmp_path / "deep/target.json", tmp_path / "link.json"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_atomic(link, "new")
    assert link.is_symlink() and target.read_text() == "new" and stat.S_IMODE(target.stat().st_mode) == 0o640
    target.unlink()
    write_atomic(link, "again")  # through a link to nothing
    assert link.is_symlink() and target.read_text() == "again"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "link.json", "target.json"]


def test_devices_and_pipes_are_written_into(tmp_path):
    write_atomic("/dev/null", "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_atomic(pipe, "through")
    reader.join()
    assert got == ["through"] and stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("where", ["pipe", "file"])
def test_an_open_stream_is_written_to(tmp_path, name, where):
    code = f"print('before'); from common.files import write_atomic; write_atomic({name!r}, 'content')"
    if where == "pipe":
        out = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True).stdout
    else:
        with open(tmp_path / "out.txt", "w") as stream:
            subprocess.run([sys.executable, "-c", code], cwd=REPO, stdout=stream, check=True)
        out = (tmp_path / "out.txt").read_text()
    assert out == "before\ncontent"


def test_temporary_files_are_new_and_unpredictable(tmp_path, monkeypatch):
    names = set()
    for _ in range(5):
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("x")
            names.add(temporary.name)
            assert not os.path.islink(temporary)
    assert len(names) == 5 and os.listdir(tmp_path) == ["a.txt"]
    with pytest.raises(UserError, match="already exists"), atomic_path(tmp_path / "a.txt", replace=False):
        pass
    with pytest.raises(UserError, match="meanwhile"), atomic_path(tmp_path / "b.txt", replace=False) as temporary:
        temporary.write_text("ours")
        (tmp_path / "b.txt").write_text("theirs")
    assert (tmp_path / "b.txt").read_text() == "theirs" and len(os.listdir(tmp_path)) == 2


def test_links_in_a_folder_that_others_write_to_are_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "config.json").symlink_to(tmp_path / "mine.txt")
    write_atomic(tmp_path / "config.json", "ours", named=False)
    assert (tmp_path / "mine.txt").read_text() == "mine" and not (tmp_path / "config.json").is_symlink()


@pytest.mark.parametrize("mode", ["w", "a"])
def test_the_screen_continues_after_what_was_written_to_it(tmp_path, mode):
    code = ("from common.files import write_atomic; print('before'); write_atomic('/dev/stdout', 'content\\n')\n"
            "print('after')\nwrite_atomic('/dev/fd/1', 'more\\n')\nprint('end')")
    with open(tmp_path / "out.txt", mode) as stream:
        subprocess.run([sys.executable, "-c", code], cwd=REPO, stdout=stream, check=True)
    assert (tmp_path / "out.txt").read_text() == "before\ncontent\nafter\nmore\nend\n"


def test_overwrite_does_not_take_along_what_came_meanwhile(data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert command("unpack", data / "set", out)[0] == 0
    before, sync = tree(out), os.sync
    asides, rename = [], os.rename
    monkeypatch.setattr(os, "rename", lambda source, target: (asides.append(str(target)), rename(source, target)))
    for deep, change in ((False, "new.txt"), (True, "new.txt"), (True, sorted(before)[0])):
        place = (next(path for path in out.iterdir() if path.is_dir()) if deep and change == "new.txt" else out)
        place = place / change
        kept = place.read_bytes() if place.exists() else None
        monkeypatch.setattr(os, "sync", lambda place=place: (place.write_bytes(b"mine"), sync()))
        status, line = command("unpack", data / "set", out, "--overwrite")
        assert status == 2 and "meanwhile" in line and place.read_bytes() == b"mine"
        assert list(tmp_path.iterdir()) == [out]
        place.unlink() if kept is None else place.write_bytes(kept)
    monkeypatch.setattr(os, "sync", sync)
    assert command("unpack", data / "set", out, "--overwrite")[0] == 0 and tree(out) == before
    names = [name for name in asides if name.endswith(".old")]
    assert len(names) == len(set(names)) == 4 and list(tmp_path.iterdir()) == [out]


def test_what_is_read_is_not_written_over(data, tmp_path):
    inside = tmp_path / "in"
    assert command("unpack", data / "set", inside)[0] == 0
    (inside / "x.bin").write_bytes((data / "x.bin").read_bytes())
    (tmp_path / "identities.csv").write_text("path,identity\n")
    (tmp_path / "p.csv").write_bytes((data / "p.csv").read_bytes())
    assert command("merge", tmp_path / "set", data / "set")[0] == 0
    for argv in (("pack", data / "faces", data / "faces"), ("pack", tmp_path / "identities.csv", tmp_path),
                 ("unpack", inside / "x.bin", inside), ("check", inside / "x.bin", "--repair", inside),
                 ("pairs", "csv", "--pairs", tmp_path / "p.csv", "--out", tmp_path / "p.csv", "--images",
                  data / "faces"),
                 ("pairs", "make", tmp_path / "set", "--out", tmp_path / "set/train.rec", "--pairs", 4, "--folds", 2),
                 ("pairs", "make", tmp_path / "set", "--out", tmp_path / "y", "--csv", tmp_path / "y", "--pairs", 4,
                  "--folds", 2),
                 ("merge", tmp_path / "m", data / "set", "--exclude", tmp_path / "p.csv", "--matches",
                  tmp_path / "p.csv"),
                 ("merge", tmp_path, data / "set", "--exclude", tmp_path / "identities.csv")):
        before = tree(tmp_path), tree(data)
        status, line = command(*argv, "--overwrite")
        assert status == 2 and "name another" in line, (argv, line)
        assert (tree(tmp_path), tree(data)) == before


def test_pictures_and_matches_are_replaced_when_asked(data, tmp_path):
    picture, matches = tmp_path / "h.png", tmp_path / "m.csv"
    for path, argv in ((picture, ("info", data / "set", "--histogram", picture)),
                       (matches, ("merge", tmp_path / "x", data / "set", "--dry-run", "--matches", matches))):
        path.write_text("mine")
        status, line = command(*argv)
        assert status == 2 and f"{path}: already exists" in line and path.read_text() == "mine"
        assert command(*argv, "--overwrite")[0] == 0 and path.read_bytes() != b"mine"


def test_synth_replaces_its_own_when_asked(tmp_path):
    argv = ("synth", tmp_path / "out", "--identities", 2, "--images-per-identity", 1, "--verify-identities", 0,
            "--workers", 1)
    assert command(*argv)[0] == 0 and command(*argv)[0] == 2
    before = tree(tmp_path / "out")
    assert command(*argv, "--overwrite", "--seed", 1)[0] == 0
    assert set(tree(tmp_path / "out")) == set(before) and tree(tmp_path / "out") != before
    (tmp_path / "out/landmarks.csv").write_text("path,x1,y1\n")  # align's
    status, line = command(*argv, "--overwrite")
    assert status == 2 and "landmarks.csv" in line


@pytest.mark.parametrize("value", ["abc", "-3", "0", "\u00b2", "1e3", "99999999"])
def test_bad_numbers_of_threads_are_one_line(value):
    done = subprocess.run([sys.executable, "train_softmax.py", "--data-dir", "x"], cwd=REPO, capture_output=True,
                          text=True, env={**os.environ, "OMP_NUM_THREADS": value})
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "OMP_NUM_THREADS" in done.stderr


def test_json_to_the_screen(data, tmp_path):
    done = subprocess.run([sys.executable, "-m", "recordio_tools", "check", str(data / "set"), "--json"], cwd=REPO,
                          capture_output=True, text=True)
    assert json.loads(done.stdout)["sound"]


def bad_places(folder):
    """Paths at which no file can be, and a word of why."""
    (folder / "f").write_text("x")
    (folder / "loose").symlink_to(folder / "f" / "x")
    return [(f"{folder}/f/x.bin", "is a file"), (f"{folder}/f/g/x.bin", "is a file"), (f"{folder}/loose", "is a file"),
            (f"{folder}/{'y' * 300}.bin", "too long"), (f"{folder}/{'d/' * 2100}x.bin", "too long"),
            (f"{folder}/new/", "slash"), (f"{folder}/x\0.bin", "zero byte")]


def test_what_cannot_be_written_is_said_before_the_work(data, tmp_path):
    with pytest.raises(UserError, match="^-: cannot be written .*/dev/stdout does"):
        check_new_file("-", replace=True)
    for place, why in bad_places(tmp_path):
        with pytest.raises(UserError, match="cannot be written") as told:
            check_new_file(place, replace=True)
        assert why in str(told.value) and str(told.value).startswith(place[:200])
        if "\0" not in place:  # which no command line can hold
            for argv in (("pairs", "csv", "--pairs", data / "p.csv", "--images", data / "faces", "--folds", 2, "--out"),
                         ("pairs", "make", data / "faces", "--pairs", 4, "--folds", 2, "--out"),
                         ("pairs", "make", data / "faces", "--pairs", 4, "--folds", 2, "--out", tmp_path / "ok",
                          "--csv"),
                         ("merge", tmp_path / "ok", data / "set", "--dry-run", "--matches")):
                if not place.endswith("/") or argv[0] == "pairs":
                    status, line = command(*argv, place)
                    assert status == 2 and why in line, (argv, place, line)
    for place in (f"{tmp_path}/f/out", f"{tmp_path}/f/g/out", f"{tmp_path}/{'y' * 250}"):
        for name in ("pack", "merge", "unpack", "unpack a bin", "repair"):
            status, line = command(*commands(data, type(tmp_path)(place))[name])
            assert status == 2 and ("is a file" in line or "too long" in line), (name, place, line)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "loose"]


def test_a_failure_to_write_names_the_file_that_was_given(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("common.files.fsync", full)
    with pytest.raises(OSError, match=str(tmp_path / "x.json")) as told:
        write_atomic(tmp_path / "x.json", "x")
    assert told.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    with pytest.raises(OSError, match="/dev/full"):
        write_atomic("/dev/full", "x")
    with pytest.raises(FileNotFoundError, match="other"), atomic_path(tmp_path / "x.json"):
        open(tmp_path / "other")


def test_a_file_that_goes_to_the_screen_is_there_alone(data):
    argv = [sys.executable, "-m", "recordio_tools", "pairs", "make", str(data / "faces"), "--pairs", "4", "--folds",
            "2", "--out", "/dev/null", "--csv", "/dev/stdout"]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "left,right,same,fold" and len(lines) == 5 and "4 pairs (2 same" in done.stderr


@pytest.mark.parametrize("value, read", [
    ({"a": [1.0, (float("inf"), 2)], "b": [float("nan")] * 2}, {"a": [1.0, [None, 2]], "b": None}),
    ({"Jos\u00e9 \U0001f600": "\udcff"}, {"Jos\u00e9 \U0001f600": "\udcff"})])
def test_json_is_taken_by_strict_readers(tmp_path, value, read):
    def refuse(name):
        raise AssertionError(name)

    write_json(tmp_path / "x.json", value)
    for text in ((tmp_path / "x.json").read_text("utf-8"), json_text(value, ascii_only=True).encode("ascii").decode()):
        assert json.loads(text, parse_constant=refuse) == read

"""pack: whatever stops it, the old set stays whole, nothing half made is left, and no process runs on."""
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest
from recordio_cases import command, drawn_faces, picture, write_image
from waiting import wait_until

from common import folders
from common.errors import UserError
from images import space
from recordio_tools.records.dataset import open_dataset
from recordio_tools.records.property import read_property
from recordio_tools.records.writer import SET_FILES


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def slow_list(folder, lines=20_000):
    """A list that takes minutes, of large pictures, again and again: no pack of it ends before it is stopped."""
    for number in range(4):
        write_image(folder / f"{number}.png", picture(number, 500, 500))
    (folder / "slow.lst").write_text("".join(f"1\t{line % 4}.png\t{line // 40}\n" for line in range(lines)))
    return folder / "slow.lst"


def start(*argv):
    return subprocess.Popen([sys.executable, "-m", "recordio_tools", "pack", *map(str, argv), "--overwrite"],
                            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def session(leader):
    """The processes that live in the session of `leader`."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as stream:
                fields = stream.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(name))
    return found


def half_made(folder):
    return [path for path in folder.glob(".*/.train.rec.*") if path.stat().st_size > 1 << 19]


@pytest.mark.parametrize("number, status, line", [
    (signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 130, "interrupted"), (signal.SIGHUP, 130, "interrupted"),
    (signal.SIGKILL, -9, ""), ("a worker", 1, "a worker process was killed by signal 9, perhaps out of memory")])
def test_a_pack_that_is_stopped(tmp_path, number, status, line):
    out = tmp_path / "out"
    faces = drawn_faces(tmp_path / "faces")
    assert command("pack", faces, out)[0] == 0
    before = contents(out)
    source = slow_list(tmp_path)
    with start(source, out, "--resize", "--workers", 2) as process:
        assert wait_until(lambda: half_made(out) and len(session(process.pid)) >= 4, process)
        if number == "a worker":
            os.kill(max(session(process.pid)), signal.SIGKILL)  # the last that was started
        else:
            process.send_signal(number)
        said = process.communicate(timeout=600)[1]
        assert process.returncode == status and line in said and "Traceback" not in said
        assert wait_until(lambda: not session(process.pid))
    after = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert after == before
    left = [path.name for path in out.iterdir() if path.is_dir()]
    assert len(left) == (number == signal.SIGKILL)
    assert command("pack", faces, out, "--overwrite")[0] == 0 and contents(out) == before  # clears away the rest


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path):
    source = slow_list(tmp_path)
    with start(source, tmp_path / "a/b/out", "--resize") as process:
        assert wait_until(lambda: half_made(tmp_path / "a/b"), process)
        assert not (tmp_path / "a/b/out").exists()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=600)
    assert not (tmp_path / "a").exists()
    assert command("pack", drawn_faces(tmp_path / "faces"), tmp_path / "a/b/out")[0] == 0
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == ["out"]


def test_a_machine_that_stops_between_two_renames_leaves_no_mixture(tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    command("pack", drawn_faces(tmp_path / "faces", 3, 2), old)
    command("pack", drawn_faces(tmp_path / "more", 5, 4), new)
    steps, real = [], {"replace": os.replace, "unlink": folders.Path.unlink}
    states = set()
    for limit in range(20):
        shutil.copytree(old, tmp_path / f"out{limit}")
        shutil.copytree(new, tmp_path / f"staged{limit}")
        steps.clear()

        def step(name):
            def act(*args):
                if len(steps) == limit:  # noqa: B023
                    raise InterruptedError
                steps.append(name)
                return real[name](*args)
            return act

        monkeypatch.setattr(folders.os, "replace", step("replace"))
        monkeypatch.setattr(folders.Path, "unlink", step("unlink"))
        try:
            folders._switch(tmp_path / f"staged{limit}", tmp_path / f"out{limit}", SET_FILES, True)
            whole = True
        except InterruptedError:
            whole = False
        monkeypatch.undo()
        out = tmp_path / f"out{limit}"
        dataset = open_dataset(out)  # by its .rec alone where need be
        assert (dataset.num_classes, len(dataset)) in ((3, 6), (5, 20))
        states.add(dataset.num_classes)
        others = {path.name for path in out.iterdir()} - {"train.rec"}
        source = old if dataset.num_classes == 3 else new
        assert all((out / name).read_bytes() == (source / name).read_bytes() for name in others)
        if "property" in others:
            assert read_property(out / "property").num_classes == dataset.num_classes
        if whole:
            assert contents(out) == contents(new) and limit >= 9
            break
    assert whole and states == {3, 5}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_full_disk_is_reported_and_leaves_the_old_set(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(disk)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        assert command("pack", drawn_faces(tmp_path / "faces"), disk / "out")[0] == 0
        before = contents(disk / "out")
        status, line = command("pack", drawn_faces(tmp_path / "faces", 20, 10), disk / "out", "--overwrite")
        assert status == 1 and line.endswith("the disk is full; what was there before was not touched")
        assert contents(disk / "out") == before
        status, line = command("pack", tmp_path / "faces", disk / "other")
        assert status == 1 and "the disk is full" in line and os.listdir(disk) == ["out"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_too_little_space_is_reported_before(tmp_path, monkeypatch, caplog):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert command("pack", drawn_faces(tmp_path / "faces"), tmp_path / "out")[0] == 0
    assert "kB are needed and 1.0 kB are free there; a set that is there now stays until the new one" in caplog.text
    assert [space.amount(size) for size in (0, 999, 1000, 12_345_678, 5 * 10 ** 12)] == [
        "0 bytes", "999 bytes", "1.0 kB", "12.3 MB", "5000.0 GB"]


def test_a_limit_on_the_size_of_files_is_reported(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    faces = drawn_faces(tmp_path / "faces", 10, 10)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, limits[1]))
    try:
        status, line = command("pack", faces, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert status == 1 and "cannot be written (File too large)" in line and not (tmp_path / "out").exists()


def test_the_folder_of_a_living_pack_is_left_alone(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with folders.staged_files(out, SET_FILES) as folder:
        (folder / "train.rec").write_bytes(b"x")
        other = out / f".train.rec.{folders.HOST}-{os.getpid() + 1}-0123abcd.tmp"
        elsewhere = out / f".train.rec.00000000-{os.getpid()}-0123abcd.tmp"  # of another machine, perhaps alive
        elsewhere.mkdir()
        (other / "deep").mkdir(parents=True)  # of a pack that was killed
        (out / ".train.rec.mine.tmp").mkdir()
        folders._remove_unlocked(out, "train.rec")
        assert folder.is_dir() and not other.exists() and elsewhere.is_dir()
        elsewhere.rmdir()
    assert sorted(path.name for path in out.iterdir()) == [".train.rec.mine.tmp", "train.rec"]
    with pytest.raises(UserError), folders.staged_files(out, SET_FILES) as folder:
        raise UserError("no")
    assert (out / "train.rec").read_bytes() == b"x"

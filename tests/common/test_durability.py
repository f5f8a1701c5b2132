"""What a power failure leaves: nothing gets its final name before its bytes are flushed to the disk, and then its
folder's entry is flushed too. The flushes are recorded, with what a file held at its own."""
from __future__ import annotations

import os
import subprocess
import sys

import mxnet as mx
import pytest
from repository import REPO
from state_cases import save

from common import leftovers
from common.files import write_atomic
from common.folders import new_folder, staged_files
from recordio_tools.records.writer import RecordWriter
from training.saving.checkpoint import save_checkpoint


class Disk:
    """flushed: what each file held at its last flush, by inode; entries: folders with new names that are not flushed;
    faults: names given to files that were not flushed."""

    def __init__(self, monkeypatch, root):
        self.root, self.flushed, self.entries, self.faults, self.named = root, {}, set(), [], []
        for name in ("replace", "rename", "link"):
            monkeypatch.setattr(os, name, self._naming(getattr(os, name)))
        fsync, sync = os.fsync, os.sync
        monkeypatch.setattr(os, "fsync", lambda handle: (fsync(handle), self._flush(os.fstat(handle)))[0])
        monkeypatch.setattr(os, "sync", lambda: (sync(), [self._flush(os.stat(path)) for path in root.rglob("*")])[0])

    def _flush(self, status):
        self.flushed[status.st_ino] = status.st_size, status.st_mtime_ns
        self.entries.discard(status.st_ino)

    def _naming(self, rename):
        def call(source, target):
            if not os.path.basename(target).startswith("."):  # a final name
                files = [source] if os.path.isfile(source) else [
                    os.path.join(folder, name) for folder, _, names in os.walk(source) for name in names]
                for status, path in ((os.stat(path), path) for path in files):
                    if self.flushed.get(status.st_ino) != (status.st_size, status.st_mtime_ns):
                        self.faults.append(path)
                self.named += files
                self.entries.add(os.stat(os.path.dirname(target)).st_ino)
            rename(source, target)
        return call


def by_writer(root):
    with RecordWriter(root / "a.rec") as writer:
        writer.write(0, b"content")


def by_stages(root, overwrite):
    with staged_files(root / "set", ["a", "b"], overwrite) as folder:
        (folder / "a").write_text("one")
        (folder / "b").write_text("two")


def by_new_folder(root):
    with new_folder(root / "new", overwrite=True, mark="deep/file") as folder:
        (folder / "deep").mkdir()
        (folder / "deep/file").write_text("content")


def by_checkpoint(root):
    save_checkpoint(str(root / "model"), 1, mx.sym.Variable("data") * 2, {"w": mx.nd.ones(3)}, {})


WRITERS = {"a file": (lambda root: write_atomic(root / "a.txt", "text"), 1),
           "a new file": (lambda root: write_atomic(root / "a.txt", "text", replace=False), 1),
           "records": (by_writer, 2), "a set": (lambda root: by_stages(root, False), 2),
           "a set in place": (lambda root: (by_stages(root, False), by_stages(root, True)), 4),
           "a folder": (by_new_folder, 1), "a folder in place": (lambda root: (by_new_folder(root),
                                                                               by_new_folder(root)), 2),
           "a state": (lambda root: save(root / "state", 3), 5), "a checkpoint": (by_checkpoint, 2)}


@pytest.mark.parametrize("name", WRITERS)
def test_what_has_its_name_is_on_the_disk(tmp_path, monkeypatch, name):
    disk, (write, files) = Disk(monkeypatch, tmp_path), WRITERS[name]
    write(tmp_path)
    assert len(disk.named) == files
    assert disk.faults == [] and disk.entries == set()


def test_the_old_index_is_gone_before_its_records_are_replaced(tmp_path, monkeypatch):
    """The index of another set would make a .rec unreadable; without one it is read."""
    by_writer(tmp_path)
    replace, seen = os.replace, []
    monkeypatch.setattr(os, "replace", lambda source, target: (seen.append((tmp_path / "a.idx").exists()),
                                                               replace(source, target)))
    by_writer(tmp_path)
    assert seen == [False, False] and (tmp_path / "a.idx").exists()


WRITE = """
import os, shutil, signal, sys
from pathlib import Path
from common import files, folders
def end(*rest, **more):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "folder":
    shutil.rmtree = end
    with folders.new_folder("out", overwrite=True, mark="a") as folder:
        (folder / "a").write_text("new")
with files.atomic_path("x.json") as temporary:
    temporary.write_text("of another")
    print(temporary.name, flush=True)
    end() if sys.argv[1] == "killed" else sys.stdin.read()
"""


def start_writing(folder, how):
    return subprocess.Popen([sys.executable, "-c", WRITE, how], cwd=folder, stdin=subprocess.PIPE, text=True,
                            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPO)})


def test_what_a_killed_process_left_goes_with_the_next_write_and_that_of_a_living_one_stays(tmp_path):
    with start_writing(tmp_path, "living") as living, start_writing(tmp_path, "killed") as killed:
        names = [process.stdout.readline().strip() for process in (living, killed)]
        killed.wait()
        elsewhere = names[1].replace(leftovers.MARK, "0123456789ab")  # of another machine, perhaps alive
        (tmp_path / elsewhere).write_text("of another")
        assert sorted(os.listdir(tmp_path)) == sorted([*names, elsewhere])
        write_atomic(tmp_path / "y.json", "of another name")
        assert (tmp_path / names[1]).exists()
        write_atomic(tmp_path / "x.json", "mine")
        assert sorted(os.listdir(tmp_path)) == sorted([names[0], elsewhere, "x.json", "y.json"])
        living.stdin.close()
        assert living.wait() == 0 and (tmp_path / "x.json").read_text() == "of another"
    assert sorted(os.listdir(tmp_path)) == sorted([elsewhere, "x.json", "y.json"])


def test_the_folder_that_a_killed_process_replaced_goes_with_the_next(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_text("old")
    with start_writing(tmp_path, "folder") as process:
        process.wait()
    old, = tmp_path.glob(".out.*.old")
    assert (old / "a").read_text() == "old" and (tmp_path / "out/a").read_text() == "new"
    with new_folder(tmp_path / "out", overwrite=True, mark="a") as folder:
        (folder / "a").write_text("newer")
        assert old.exists()
    assert os.listdir(tmp_path) == ["out"]

"""pack: a file that crashes the decoder is left out and named; a crash that no file explains ends the pack at last."""
import json
import os
import signal

import pytest
from recordio_cases import command, drawn_faces, picture, write_image

from recordio_tools.pack import packing
from recordio_tools.pack.batches import Preparer


class Crashing(Preparer):
    """In the place of a decoder that certain files crash: their names say how."""

    def __call__(self, entries):
        names = [os.path.basename(entry) for entry in entries if entry is not None]
        if b"together.jpg" in names:
            os.kill(os.getpid(), signal.SIGSEGV if len(names) > 1 else 0)
        if b"together-killed.jpg" in names:
            os.kill(os.getpid(), signal.SIGSEGV if len(names) > 1 else signal.SIGKILL)
        for entry in entries:
            if entry is not None and entry.endswith(b"once.jpg") and not os.path.exists(entry + b".seen"):
                open(entry + b".seen", "x").close()
                os.kill(os.getpid(), signal.SIGBUS)
        return super().__call__(entries)

    def _image(self, entry):
        name = os.path.basename(entry or b"")
        if name.startswith(b"abort"):
            os.abort()
        if name.startswith((b"segv", b"kill")):
            os.kill(os.getpid(), signal.SIGSEGV if name.startswith(b"segv") else signal.SIGKILL)
        return super()._image(entry)


@pytest.fixture
def faces(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "Preparer", Crashing)
    monkeypatch.setattr(packing, "FEW", 1)
    monkeypatch.setattr(packing, "MOST_FILES", 4)
    return drawn_faces(tmp_path / "faces", 4, 10)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in ("train.rec", "train.idx", "property", "identities.csv")}


@pytest.mark.parametrize("workers", [1, 2])
def test_files_that_crash_the_decoder_are_left_out_and_named(faces, tmp_path, caplog, workers):
    assert command("pack", faces, tmp_path / "sound", "--workers", workers)[0] == 0
    bad = [write_image(faces / name, picture(number)) for number, name in
           enumerate(("person0/segv.jpg", "person1/abort.png", "person1/segv2.jpg"))]
    (faces / "person2/cut.jpg").write_bytes((faces / "person2/0.jpg").read_bytes()[:900])
    assert command("pack", faces, tmp_path / "out", "--workers", workers)[0] == 0
    report = json.loads((tmp_path / "out/pack-report.json").read_text("utf-8"))
    crashing = [str(path) for path in bad]
    assert report["files_skipped"] == {"crashes the decoder": crashing, "truncated": [str(faces / "person2/cut.jpg")]}
    assert "a worker process was killed by signal 6; retrying its items one by one" in caplog.text
    assert f"left out, crashes the decoder: {crashing[0]}" in caplog.text
    assert contents(tmp_path / "out") == contents(tmp_path / "sound")


def test_a_crash_that_does_not_come_again_costs_nothing(faces, tmp_path, caplog):
    assert command("pack", faces, tmp_path / "sound", "--workers", 2)[0] == 0
    (faces / "person1/5.jpg").rename(faces / "person1/5once.jpg")
    assert command("pack", faces, tmp_path / "out", "--workers", 2)[0] == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "sound")
    assert "was killed by signal 7" in caplog.text and "none of its items crashes alone; retrying" in caplog.text


@pytest.mark.parametrize("name, line", [
    ("together.jpg", "worker processes crashed twice, and none of the items crashes one alone"),
    ("together-killed.jpg", "a worker process was killed by signal 9, perhaps out of memory"),
    ("kill.jpg", "a worker process was killed by signal 9, perhaps out of memory")])
def test_a_death_that_no_file_explains_ends_the_pack(faces, tmp_path, name, line):
    write_image(faces / "person2" / name, picture(9))
    status, said = command("pack", faces, tmp_path / "out", "--workers", 2)
    assert status == 1 and line in said and not (tmp_path / "out").exists()

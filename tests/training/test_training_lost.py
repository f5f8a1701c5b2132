"""Files that go away under a run are told in one line; paths may have any bytes, and streams may be closed."""
import json
import os
import shutil
import subprocess
import sys

import pytest
from overwrite_cases import fail_at
from repository import REPO
from small_runs import SIZE, flags, rows, train
from small_sets import write_training_set, write_verification_set

from common.errors import RunError

SHORT = ["--frequent", 1, "--target", "none", "--save-every", 0]
BYTES = os.fsdecode(b"d\xe9t$\xe9$")  # a name that is no UTF-8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    made = write_training_set(tmp_path_factory.mktemp("data") / "data", identities=6, images=8, size=SIZE)
    folder = made.rename(made.with_name(BYTES))
    write_verification_set(folder / "lfw.bin", pairs=20, size=SIZE)
    shutil.copy(folder / "lfw.bin", folder / f"{BYTES}.bin")
    return folder


LOST = {
    "metrics.jsonl": lambda path: path.unlink(), "log.txt": lambda path: path.unlink(),
    "metrics.jsonl is": lambda path: os.truncate(path.with_name("metrics.jsonl"), 10),
    "metrics.jsonl was": lambda path: shutil.copy(path.with_name("metrics.jsonl"), path.with_name("x"))
    and os.replace(path.with_name("x"), path.with_name("metrics.jsonl")),
    "events": lambda path: next(path.parent.glob("events*")).unlink(),
}


@pytest.mark.parametrize("name", [*LOST])
def test_a_file_that_goes_away_ends_the_run_in_one_line_that_helps(data, tmp_path, name, monkeypatch, caplog):
    caplog.set_level("INFO")
    with monkeypatch.context() as patched:
        fail_at(patched, 2, lambda: LOST[name](tmp_path / name))
        with pytest.raises(RunError, match=f"{name.split()[0]}.*state of step 0 is kept.*--resume") as caught:
            train(data, tmp_path, *SHORT, "--max-steps", 4)
    assert len(str(caught.value).splitlines()) == 1
    assert train(data, tmp_path, *SHORT, "--max-steps", 4, "--resume") == 0
    assert [row["step"] for row in rows(tmp_path, "train")] == [1, 2, 3, 4]


@pytest.mark.parametrize("frequent", [1, 100])
@pytest.mark.parametrize("gone", [shutil.rmtree, lambda folder: os.rename(folder, folder.with_name("moved"))])
def test_a_removed_folder_ends_the_run_in_one_line_and_is_not_made_again(data, tmp_path, frequent, gone,
                                                                              monkeypatch):
    fail_at(monkeypatch, 1, lambda: gone(tmp_path / "run"))
    with pytest.raises(RunError, match="was removed while the run was writing it; the state of step 0 is lost"):
        train(data, tmp_path / "run", *SHORT, "--frequent", frequent, "--max-steps", 3)
    assert not (tmp_path / "run").exists()


def test_lines_that_somebody_adds_stay(data, tmp_path, monkeypatch):
    def add():
        with open(tmp_path / "metrics.jsonl", "a") as stream:
            stream.write('{"kind": "note"}\n')
    fail_at(monkeypatch, 2, add)
    assert train(data, tmp_path, *SHORT, "--max-steps", 3) == 0
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert kinds == ["train", "train", "note", "train"]


def command(data, folder, *more, program="tests/helpers/short_run.py", env=(), **settings):
    return subprocess.run([sys.executable, str(REPO / program), *flags(data, folder, *more)], env={
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO), **dict(env)}, **settings)


def test_paths_may_have_any_bytes(data, tmp_path, capfd):
    run = tmp_path / BYTES / "run"
    flags = ["--frequent", 1, "--target", f"lfw,{BYTES}"]
    done = command(data, run, *flags, "--max-steps", 2, capture_output=True, text=True)
    assert done.returncode == 0 and "\\xe9" in done.stderr
    assert not any(word in done.stderr + done.stdout for word in ("Traceback", "Warning", "illegal"))
    assert "\\xe9" in (run / "log.txt").read_text(encoding="utf-8")
    assert train(data, run, *flags, "--max-steps", 3, "--resume") == 0
    assert train(data, tmp_path / "next", *flags, "--max-steps", 1, "--pretrained", f"{run / 'model'},1") == 0
    assert [row["step"] for row in rows(run, "train")] == [1, 2, 3]


def test_a_dry_run_shows_any_bytes_whatever_the_terminal_can(data, tmp_path):
    done = command(data, tmp_path, "--dry-run", capture_output=True, text=True, program="train_softmax.py",
                   env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 0 and "--data-dir" in done.stdout and not done.stderr.count("Traceback")


def test_closed_streams_change_nothing(data, tmp_path):
    def close():
        for number in (0, 1, 2):
            os.close(number)
    assert command(data, tmp_path, *SHORT, "--max-steps", 2, preexec_fn=close).returncode == 0
    assert [row["step"] for row in rows(tmp_path, "train")] == [1, 2]
    assert all(line[:2] == "20" or not line.strip() or line.startswith(" ")
               for line in (tmp_path / "log.txt").read_text().splitlines())

"""What --resume, --overwrite and the folder of a run refuse, and what they take for the same run."""
import json
import shutil

import pytest
from small_runs import SIZE, start, train
from small_sets import write_training_set, write_verification_set
from training_resume_cases import data, wait_for_step  # noqa: F401

from common.errors import RunError, UserError
from training.saving.state import generations


def test_other_data_is_refused(data, tmp_path):
    assert train(data, tmp_path / "run", "--max-steps", 1, "--target", "none") == 0
    other = write_training_set(tmp_path / "other", identities=6, images=9, size=SIZE)
    with pytest.raises(UserError, match="data of.*'images': 48.*'images': 54"):
        train(other, tmp_path / "run", "--max-steps", 2, "--target", "none", "--resume")
    changed = write_training_set(tmp_path / "changed", identities=6, images=8, size=SIZE, labels=[1, 0, 2, 3, 4, 5])
    with pytest.raises(UserError, match="digest"):
        train(changed, tmp_path / "run", "--max-steps", 2, "--target", "none", "--resume")


def test_the_same_devices_by_another_name_and_data_elsewhere_are_not_another_run(data, tmp_path):
    assert train(data, tmp_path / "run", "--max-steps", 1, "--target", "none") == 0
    moved = shutil.copytree(data, tmp_path / "moved")
    assert train(moved, tmp_path / "run", "--max-steps", 2, "--target", "none", "--resume", "--devices", "cpu:1",
                 "--image-size", f"{SIZE},{SIZE}") == 0


def test_best_is_reset_when_it_is_of_another_metric(data, tmp_path):
    flags = ["--max-steps", 1, "--ckpt", 1]
    assert train(data, tmp_path, *flags) == 0
    assert train(data, tmp_path, "--max-steps", 2, "--verbose", 2, "--best-metric", "eer", "--resume") == 0
    kept = json.loads((generations(tmp_path / "state")[-1] / "state.json").read_text())["progress"]
    assert kept["best_of"] == "eer of lfw" and kept["best"] <= 0 and kept["best_number"] == 2


def test_a_verification_set_that_is_gone_is_warned_of_before_the_best_checkpoint_is_replaced(data, tmp_path, caplog):
    folder = shutil.copytree(data, tmp_path / "data")  # its lfw is verified without being named
    run = tmp_path / "run"
    assert train(folder, run, "--max-steps", 1, "--ckpt", 3) == 0
    assert train(folder, run, "--max-steps", 2, "--ckpt", 3, "--resume") == 0
    assert "is the best so far" not in caplog.text
    again = shutil.copytree(run, tmp_path / "again")
    other = shutil.copytree(folder, tmp_path / "other")
    write_verification_set(other / "lfw.bin", pairs=30, first=300, size=SIZE)
    assert train(other, again, "--max-steps", 2, "--ckpt", 3, "--resume") == 0
    assert "best so far by accuracy of lfw with other pairs than it has now; from there the best" in caplog.text
    (folder / "lfw.bin").rename(folder / "agedb_30.bin")
    assert train(folder, run, "--max-steps", 2, "--ckpt", 3, "--resume") == 0
    assert ("--resume: checkpoint 1 is the best so far by accuracy of lfw; from there the best is chosen by accuracy "
            "of agedb_30, whose checkpoint replaces it") in caplog.text
    (folder / "agedb_30.bin").unlink()
    assert train(folder, run, "--max-steps", 2, "--ckpt", 1, "--resume") == 0
    assert "by accuracy of lfw; from there nothing is verified, and the end counts: to go on by the same" in caplog.text
    caplog.clear()
    assert train(folder, run, "--max-steps", 2, "--ckpt", 2, "--resume") == 0
    assert "is the best so far" not in caplog.text


def test_a_dry_run_shows_what_a_resumed_run_does_and_refuses(data, tmp_path, capsys):
    assert train(data, tmp_path, "--max-steps", 2, "--target", "none") == 0  # of 8 images each
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    more = ["--per-batch-size", 4, "--target", "none", "--dry-run"]
    assert train(data, tmp_path, *more, "--resume") == 0
    there = 2 + (36000 * 512 - 2 * 8) // 4
    text = capsys.readouterr().out
    assert f"0.002 from step {there}," in text and "resumed at step 2" in text
    assert "--resume: --per-batch-size 8 up to step 2, 4 from there" in text
    assert train(data, tmp_path, *more, "--overwrite") == 0
    text = capsys.readouterr().out
    assert f"0.002 from step {36000 * 512 // 4}," in text and f"--overwrite: discards the run in {tmp_path}\n" in text
    assert train(data, tmp_path, *more) == 0
    text = capsys.readouterr().out
    assert "another run; --resume continues it, --overwrite discards it" in text.splitlines()[-1]
    assert text.splitlines()[-1].startswith("warning: without --dry-run this is refused: --prefix ")
    with pytest.raises(UserError, match="--version-output GNAP there, GAP here"):
        train(data, tmp_path, *more, "--resume", "--version-output", "GAP")
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_two_runs_at_once_in_one_folder_are_refused_and_a_dead_one_does_not_matter(data, tmp_path, capsys):
    with start(data, tmp_path, "--max-steps", 100000, "--frequent", 1, "--target", "none") as process:
        wait_for_step(process, tmp_path, 1)
        with pytest.raises(UserError, match=f"another run uses .*process {process.pid} on"):
            train(data, tmp_path, "--resume", "--target", "none")
        assert train(data, tmp_path, "--resume", "--target", "none", "--dry-run") == 0
        assert f"(process {process.pid} on" in capsys.readouterr().out.splitlines()[-1]
    assert train(data, tmp_path, "--resume", "--max-steps", 1, "--target", "none") == 0


def test_resume_and_overwrite_exclude_each_other(data, tmp_path):
    with pytest.raises(UserError, match="give one"):
        train(data, tmp_path, "--resume", "--overwrite")


def test_checkpoints_without_a_state_are_not_written_over(data, tmp_path):
    (tmp_path / "model-0007.params").write_bytes(b"of somebody else")
    for more in ([], ["--resume"]):
        with pytest.raises(UserError, match="model-0007.params and no state"):
            train(data, tmp_path, *more)
    assert (tmp_path / "model-0007.params").read_bytes() == b"of somebody else"


def test_a_full_disk_at_the_beginning_is_one_line(data, tmp_path, monkeypatch):
    def full(path, arrays):
        raise OSError(28, "No space left on device", str(path))
    monkeypatch.setattr("training.saving.state.write_arrays", full)
    with pytest.raises(RunError, match="No space left on device.*--resume"):
        train(data, tmp_path, "--max-steps", 2)

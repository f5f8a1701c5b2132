"""A run is stopped in every way and resumed: it ends as the one that was never stopped, to the last bit."""
import contextlib
import json
import os
import signal
import time

import pytest
from small_runs import rows, start, train
from training_resume_cases import data, wait_for_step  # noqa: F401

from stress.endurance.compare import differences, events
from training.saving.state import generations

# Everything that draws random numbers, dropout among it; rows, states and verifications at steps of their own.
FLAGS = ["--version-output", "E", "--per-batch-size", 4, "--color", 2, "--cutoff", 9, "--frequent", 3, "--verbose", 5,
         "--ckpt", 2]
DEVICES = ["cpu:0", "cpu:0,cpu:1"]


@pytest.fixture(scope="module")
def wholes(data, tmp_path_factory):
    """Runs of 12 steps that nothing stopped, by their devices."""
    folders = {}
    for devices in DEVICES:
        folders[devices] = tmp_path_factory.mktemp("whole")
        assert train(data, folders[devices], *FLAGS, "--devices", devices, "--max-steps", 12) == 0
    return folders


def same(first, second):
    assert not differences(first, second)


def test_the_comparison_sees_every_difference(wholes, tmp_path):
    import shutil
    for name, change in {
        "rows of metrics.jsonl": lambda run: (run / "metrics.jsonl").write_text(
            (run / "metrics.jsonl").read_text().replace('"step": 6,', '"step": 7,', 1)),
        "events": lambda run: next(run.glob("events*")).unlink(),
        "checkpoints": lambda run: (run / "model-0002.params").unlink(),
        "arrays of the newest state": lambda run: change_one_bit(generations(run / "state")[-1] / "momentum.params"),
        "progress of the newest state": lambda run: replace_in(generations(run / "state")[-1] / "state.json",
                                                               '"saves": 3', '"saves": 4'),
    }.items():
        run = shutil.copytree(wholes["cpu:0"], tmp_path / name)
        change(run)
        found = differences(wholes["cpu:0"], run)
        assert len(found) == 1 and found[0].startswith(name)
    assert len(events(wholes["cpu:0"])) > 50
    slow = shutil.copytree(wholes["cpu:0"], tmp_path / "slow")  # as on a busy machine, where images come late
    header = generations(slow / "state")[-1] / "state.json"
    content = json.loads(header.read_text())
    content["progress"]["symptoms"]["input-bound"] = 2
    content["progress"]["warned"].append("input-bound")
    header.write_text(json.dumps(content))
    same(wholes["cpu:0"], slow)


def change_one_bit(path):
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])


def replace_in(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("devices", DEVICES)
def test_the_same_seed_is_the_same_run_whatever_the_threads_do(data, tmp_path, wholes, devices):
    assert train(data, tmp_path, *FLAGS, "--devices", devices, "--max-steps", 12, "--workers", 3) == 0
    same(wholes[devices], tmp_path)


def test_another_seed_is_another_run(data, tmp_path, wholes):
    assert train(data, tmp_path, *FLAGS, "--max-steps", 12, "--seed", 1) == 0
    assert [row["loss"] for row in rows(tmp_path, "train")] != [row["loss"] for row in rows(wholes["cpu:0"], "train")]


class Stop(BaseException):
    """What ends a run in the middle of a step, without its saving anything."""


def stop_at(monkeypatch, step, act):
    """Call `act` before the update of `step`."""
    from training import loop

    def patched(model, trainer, batch, made, *more):
        if made == step:
            act()
        return update(model, trainer, batch, made, *more)
    update = loop.update
    monkeypatch.setattr(loop, "update", patched)


def die():
    raise Stop


@pytest.mark.parametrize("devices", DEVICES)
def test_a_run_stopped_by_signals_and_kills_ends_as_the_run_that_was_never_stopped(data, tmp_path, wholes, devices,
                                                                                  monkeypatch):
    flags = [*FLAGS, "--devices", devices, "--max-steps", 12, "--save-every", 1e-9, "--resume"]
    for step, act in ((2, lambda: os.kill(os.getpid(), signal.SIGTERM)), (4, die),
                      (7, lambda: os.kill(os.getpid(), signal.SIGINT)), (11, die)):
        with monkeypatch.context() as patched:
            stop_at(patched, step, act)
            with contextlib.suppress(Stop):
                assert train(data, tmp_path, *flags) == 130
    assert train(data, tmp_path, *flags) == 0
    same(wholes[devices], tmp_path)


def test_a_kill_long_after_the_last_state_repeats_the_steps_and_doubles_nothing(data, tmp_path, wholes, monkeypatch):
    flags = [*FLAGS, "--max-steps", 12, "--resume"]
    with monkeypatch.context() as patched:
        stop_at(patched, 9, die)
        with pytest.raises(Stop):
            train(data, tmp_path, *flags)
    assert rows(tmp_path, "train")[-1]["step"] == 9 and generations(tmp_path / "state")[-1].name == "000000005"
    assert train(data, tmp_path, *flags) == 0
    same(wholes["cpu:0"], tmp_path)


@pytest.mark.parametrize("name", ["model-0002.params", "state", "metrics.jsonl"])
def test_a_kill_between_two_files_of_a_verification(data, tmp_path, wholes, name, monkeypatch):
    """At step 10 the rows, then the checkpoint, then the state are written; each time one of them is the last."""
    import common.files
    from training.saving.append_only import AppendOnlyFile
    from training.saving.state import States
    flags = [*FLAGS, "--max-steps", 12, "--resume"]
    with monkeypatch.context() as patched:
        if name == "state":
            save = States.save
            patched.setattr(States, "save", lambda states, progress, arrays:
                            die() if progress.step == 10 else save(states, progress, arrays))
        elif name == "metrics.jsonl":
            append = AppendOnlyFile.append
            patched.setattr(AppendOnlyFile, "append", lambda file, piece:
                            die() if b'"verification", "step": 10' in piece else append(file, piece))
        else:
            fsync = common.files.fsync
            patched.setattr(common.files, "fsync", lambda path: die() if name in str(path) else fsync(path))
        with pytest.raises(Stop):
            train(data, tmp_path, *flags)
    assert (tmp_path / "model-0002.params").exists() == (name == "state")
    assert train(data, tmp_path, *flags) == 0
    same(wholes["cpu:0"], tmp_path)


def test_a_damaged_newest_state_costs_steps_and_nothing_else(data, tmp_path, wholes, caplog):
    flags = [*FLAGS, "--resume", "--max-steps"]
    assert train(data, tmp_path, *flags, 12) == 0
    newest = generations(tmp_path / "state")[-1]
    (newest / "momentum.params").write_bytes((newest / "momentum.params").read_bytes()[:-100])
    assert train(data, tmp_path, *flags, 12) == 0
    assert "trying the one before it" in caplog.text
    same(wholes["cpu:0"], tmp_path)


def test_the_best_checkpoint_is_the_same_whatever_was_killed(data, tmp_path, monkeypatch):
    from training.saving.state import States
    flags = [*FLAGS, "--ckpt", 3, "--verbose", 2, "--max-steps", 6, "--resume"]
    assert train(data, tmp_path / "whole", *flags) == 0
    with monkeypatch.context() as patched:
        save = States.save  # a kill between the checkpoint and the state
        patched.setattr(States, "save", lambda states, progress, arrays:
                        die() if progress.step == 4 else save(states, progress, arrays))
        with pytest.raises(Stop):
            train(data, tmp_path / "killed", *flags)
    assert train(data, tmp_path / "killed", *flags) == 0
    same(tmp_path / "whole", tmp_path / "killed")


def test_a_row_that_a_resumed_run_completes_before_its_first_step_has_the_learning_rate_of_its_steps(
        data, tmp_path, monkeypatch):
    flags = [*FLAGS, "--frequent", 4, "--lr", 0.02, "--lr-steps", 2, "--resume", "--max-steps"]
    assert train(data, tmp_path / "whole", *flags, 6) == 0
    with monkeypatch.context() as patched:
        stop_at(patched, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(data, tmp_path / "stopped", *flags, 12) == 130
    assert train(data, tmp_path / "stopped", *flags, 6) == 0
    last = rows(tmp_path / "stopped", "train")[-1]
    assert last["step"] == 6 and last["lr"] == pytest.approx(0.002)
    same(tmp_path / "whole", tmp_path / "stopped")


def check_stopped(data, folder, number, said):
    """A run that the signal stopped saved its last step, said so, and continues."""
    assert signal.Signals(number).name in said
    assert "step 1/100000" in (folder / "log.txt").read_text()
    last = rows(folder, "train")[-1]["step"]
    assert int(generations(folder / "state")[-1].name) == last
    assert train(data, folder, "--max-steps", last + 2, "--resume", "--frequent", 1) == 0
    assert [row["step"] for row in rows(folder, "train")] == list(range(1, last + 3))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_leaves_with_130(data, tmp_path, number, monkeypatch, capfd, caplog):
    caplog.set_level("INFO")
    with monkeypatch.context() as patched:
        stop_at(patched, 2, lambda: os.kill(os.getpid(), number))
        assert train(data, tmp_path, "--max-steps", 100000, "--frequent", 1) == 130
    check_stopped(data, tmp_path, number, capfd.readouterr().err)


def test_a_signal_to_a_process(data, tmp_path):
    with start(data, tmp_path, "--max-steps", 100000, "--frequent", 1) as process:
        wait_for_step(process, tmp_path, 1)
        process.send_signal(signal.SIGHUP)
        _, stderr = process.communicate(timeout=600)
    assert process.returncode == 130 and "--resume" in stderr and "step 1/100000" in stderr, stderr
    check_stopped(data, tmp_path, signal.SIGHUP, stderr)


def test_a_signal_while_starting_ends_at_once_with_one_line(data, tmp_path):
    with start(data, tmp_path, "--max-steps", 100000) as process:
        deadline = time.monotonic() + 600
        while not (tmp_path / ".lock").exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=600)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr and ("interrupted" in stderr or "the state is saved" in stderr)


def test_a_second_signal_leaves_at_once_and_the_state_is_that_of_before(data, tmp_path, monkeypatch):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    stop_at(monkeypatch, 2, twice)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path, "--max-steps", 4)
    assert [path.name for path in generations(tmp_path / "state")] == ["000000000"]


@pytest.mark.parametrize("moment", ["verifying", "saving"])
def test_a_signal_while_verifying_or_saving(data, tmp_path, wholes, moment, monkeypatch):
    def interrupted(*arguments):
        if moment == "saving":
            patched.undo()
            os.kill(os.getpid(), signal.SIGTERM)
            return write(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        raise AssertionError("the verification went on")
    import training.saving.state
    write = training.saving.state.write_arrays
    flags = [*FLAGS, "--max-steps", 12, "--resume"]
    with monkeypatch.context() as patched:
        if moment == "saving":
            assert train(data, tmp_path, *FLAGS, "--max-steps", 4) == 0
            patched.setattr("training.saving.state.write_arrays", interrupted)
        else:
            patched.setattr("training.loop.verify", interrupted)
        assert train(data, tmp_path, *flags) == 130
    assert [row["step"] for row in rows(tmp_path, "verification")] == ([4, 5] if moment == "saving" else [])
    if moment == "verifying":
        assert train(data, tmp_path, *flags) == 0
        same(wholes["cpu:0"], tmp_path)

"""--overwrite: the old run goes only once the new one has saved; where that ends before, the old one is back."""
import builtins
import functools
import json
import os
import shutil
import signal

import mxnet as mx
import numpy as np
import pytest
from killing import Killed, killed_at
from overwrite_cases import fail_at  # noqa: F401
from run_folder_cases import everything
from small_runs import SIZE, rows, train
from small_sets import write_training_set, write_verification_set
from training_faults_cases import poison

from common.errors import RunError, UserError
from common.signals import Signals
from training.saving import overwrite as replacing
from training.saving.names import LOG_BEGINNING
from training.saving.overwrite import Replaced, recover
from training.saving.ownership import CONFIG_ENTRIES, scan_folder

SHORT = ["--frequent", 1, "--ckpt", 2, "--verbose", 2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=SIZE)
    write_verification_set(folder / "lfw.bin", pairs=20, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert train(data, folder, *SHORT, "--max-steps", 4) == 0
    return folder


@pytest.fixture
def old(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    (folder / "notes.txt").write_text("mine")
    return folder


def files(folder):
    return {name: content for name, content in everything(folder).items() if name != ".lock"}


def blow_up():
    raise RunError("the loss is nan")


def test_a_new_run_that_fails_before_it_saved_gives_the_old_one_back(data, old, monkeypatch, caplog):
    before = files(old)
    fail_at(monkeypatch, 1, blow_up)
    with pytest.raises(RunError):
        train(data, old, *SHORT, "--overwrite", "--max-steps", 4)
    assert files(old) == before and "is restored" in caplog.text
    monkeypatch.undo()
    assert train(data, old, *SHORT, "--resume", "--max-steps", 5) == 0
    assert [row["step"] for row in rows(old, "train")] == [1, 2, 3, 4, 5]


def test_what_is_advised_is_of_the_new_run(data, old, monkeypatch):
    """The old one is back, and --resume would continue that."""
    before, again = files(old), "nothing of this run is kept, the same command with a lower --lr"
    for where in ("loss", "gradient"):
        with monkeypatch.context() as patched, pytest.raises(RunError, match=again) as caught:
            poison(patched, [2], where)
            train(data, old, *SHORT, "--overwrite", "--max-steps", 4)
        assert "--resume" not in str(caught.value) and files(old) == before
    fail_at(monkeypatch, 1, lambda: open(old / "none/x"))
    with pytest.raises(RunError, match="nothing of this run is kept, so it has to start over"):
        train(data, old, *SHORT, "--overwrite", "--max-steps", 4)
    assert files(old) == before


def test_a_new_run_that_fails_after_it_saved_has_replaced_the_old_one(data, old, monkeypatch):
    fail_at(monkeypatch, 3, blow_up)
    with pytest.raises(RunError):
        train(data, old, *SHORT, "--overwrite", "--max-steps", 6)
    assert [row["step"] for row in rows(old, "train")] == [1, 2, 3]
    assert [path.name for path in old.glob("model-*.params")] == ["model-0001.params"]
    assert (old / "notes.txt").exists() and not list(old.glob(".*run*")) and len(list(old.glob("events*"))) == 1


def test_a_run_can_be_overwritten_by_one_that_begins_with_its_checkpoint(data, old, monkeypatch):
    pretrained, before = f"{old / 'model'},2", files(old)
    expected = mx.nd.load(str(old / "model-0002.params"))
    with monkeypatch.context() as patched:
        fail_at(patched, 0, blow_up)
        with pytest.raises(RunError):
            train(data, old, *SHORT, "--overwrite", "--pretrained", pretrained, "--max-steps", 2)
    assert files(old) == before
    taken = []
    from training.model import TrainingModel
    make_trainer = TrainingModel.make_trainer
    monkeypatch.setattr(TrainingModel, "make_trainer", lambda model: taken.append(model) or make_trainer(model))
    fail_at(monkeypatch, 0, lambda: taken.append(taken[0].network_arrays()[0]))
    assert train(data, old, *SHORT, "--overwrite", "--pretrained", pretrained, "--max-steps", 2) == 0
    np.testing.assert_array_equal(taken[1]["conv_1_conv2d_weight"].asnumpy(),
                                  expected["arg:conv_1_conv2d_weight"].asnumpy())
    assert [path.name for path in old.glob("model-*.params")] == ["model-0001.params"]


@pytest.mark.parametrize("more", [["--emb-size", 64, "--pretrained", "{},2"], ["--pretrained", "{},9"],
                                  ["--target", "none.bin"]])
def test_refused_arguments_leave_the_old_run(data, old, more):
    before = files(old)
    with pytest.raises(UserError):
        train(data, old, *SHORT, "--overwrite", *(str(item).format(old / "model") for item in more))
    assert files(old) == before


def test_a_signal_before_the_first_step_gives_the_old_run_back(data, old, monkeypatch):
    before = files(old)
    from training.loop import Loop
    write = Loop._write_state
    monkeypatch.setattr(Loop, "_write_state", lambda loop, *given: os.kill(os.getpid(), signal.SIGTERM)
                        or write(loop, *given))
    with pytest.raises(KeyboardInterrupt):
        train(data, old, *SHORT, "--overwrite", "--max-steps", 4)
    assert files(old) == before


def test_a_signal_between_the_first_state_and_the_first_step(data, old, monkeypatch, caplog):
    before, orderly = files(old), Signals.orderly
    monkeypatch.setattr(Signals, "orderly", lambda signals: orderly(signals) or os.kill(os.getpid(), signal.SIGTERM))
    with caplog.at_level("INFO"):
        assert train(data, old, *SHORT, "--overwrite", "--max-steps", 4) == 130
    assert files(old) == before and "stopped at step 0; nothing is saved yet" in caplog.text


CHANGES = [(os, "replace"), (os, "rename"), (os, "fsync"), (os, "unlink"), (os, "mkdir"), (os, "rmdir"),
           (builtins, "open")]


def small_run(folder, text):
    """What a run has, as far as setting it aside is concerned."""
    (folder / "state/000000003").mkdir(parents=True)
    config = {name: text for name in CONFIG_ENTRIES}
    for name, content in {"state/000000003/state.json": "", "state/000000003/net.params": text,
                          "config.json": json.dumps({**config, "prefix": "model"}),
                          "log.txt": f"2026-01-01 10:00:00,000 INFO {LOG_BEGINNING}{text}",
                          f"events.out.tfevents.{len(text):010d}.h.train_softmax": text,
                          "model-symbol.json": text, "model-0001.params": text}.items():
        (folder / name).write_text(content)


@pytest.mark.parametrize("moment", ["setting aside", "bringing back", "discarding"])
def test_a_kill_at_any_moment_leaves_the_old_run_or_the_new_one_whole(tmp_path, monkeypatch, moment):
    small_run(tmp_path / "old", "of the old run")
    (tmp_path / "old/metrics.jsonl").write_text('{"kind": "train", "step": 1')
    (tmp_path / "old/model-0002.params").write_text("old")
    small_run(tmp_path / "new", "new")
    old, new = everything(tmp_path / "old"), everything(tmp_path / "new")
    names, seen = [path.name for path in (tmp_path / "old").iterdir()], []
    folder = tmp_path / "run"
    for count in range(200):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "old", folder)
        act = functools.partial(Replaced, folder, "model", names)
        if moment != "setting aside":
            replaced = act()
            act = replaced.close if moment == "bringing back" else replaced.keep_new
            small_run(folder, "new")
        if not within(monkeypatch, count, act):
            for limit in (2, 5, 200):  # a kill while the next start mends it, and another, and then none
                within(monkeypatch, limit, functools.partial(recover, folder))
        elif moment == "setting aside":
            break
        left = everything(folder)
        assert left in (old, new), (count, sorted(left))
        assert not list(folder.glob(".*"))
        seen.append(left == new)
        if count > 60:
            break
    assert count > 10 and seen == sorted(seen) and seen[0] is False and seen[-1] is (moment == "discarding")


def within(monkeypatch, count, act):
    """Whether `act` ends before the `count`th change of the disk, from which on it is as if it had been killed."""
    with monkeypatch.context() as patched:
        killed_at(patched, count, CHANGES)
        try:
            act()
            return True
        except Killed:
            return False


@pytest.mark.parametrize("content", [None, "", "[]", '{"prefix": "model", "files": ["../thesis.txt"]}',
                                     '{"prefix": "../x", "files": []}', '{"prefix": "model", "files": ["thesis.txt"]}',
                                     '{"prefix": "model", "files": 5}', '{"prefix": "model", "files": [5]}'])
def test_a_forged_set_aside_run_is_refused(data, tmp_path, content):
    (tmp_path / "thesis.txt").write_text("mine")
    folder = tmp_path / "run"
    (folder / replacing.ASIDE).mkdir(parents=True)
    (folder / replacing.ASIDE / "thesis.txt").write_text("other")
    if content is not None:
        (folder / replacing.ASIDE / replacing.MANIFEST).write_text(content)
    before = files(tmp_path)
    with pytest.raises(UserError, match=replacing.ASIDE):
        train(data, folder, "--max-steps", 1)
    assert {name: value for name, value in files(tmp_path).items() if not name.endswith(".lock")} == before


@pytest.mark.parametrize("name, content", [("log.txt", "my own log"), ("config.json", "{}"), ("metrics.jsonl", "1\n"),
                                           ("model-symbol.json", "{}"), ("model-0001.params", "mine"),
                                           ("state/machine.py", "mine"), ("state/000000001/state.json", "[1]")])
@pytest.mark.parametrize("aside", [True, False])
def test_a_forged_set_aside_run_replaces_nothing_that_no_run_wrote(data, tmp_path, name, content, aside):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    (tmp_path / replacing.ASIDE).mkdir()
    if aside and "/" not in name:
        (tmp_path / replacing.ASIDE / name).write_text("another's")
    names = [name.split("/")[0]] if aside else []
    (tmp_path / replacing.ASIDE / replacing.MANIFEST).write_text(json.dumps({"prefix": "model", "files": names}))
    if aside and "/" in name:
        (tmp_path / replacing.ASIDE / "state/000000009").mkdir(parents=True)
    before = files(tmp_path)
    for more in ([], ["--overwrite"], ["--resume"]):
        with pytest.raises(UserError, match=f"{replacing.ASIDE}.*{name}; move them away") as caught:
            train(data, tmp_path, "--max-steps", 1, *more)
        assert files(tmp_path) == before and len(str(caught.value).splitlines()) == 1
    (tmp_path / name).rename(tmp_path.with_name(f"{tmp_path.name}-away"))  # as the message says
    if "/" in name:
        shutil.rmtree(tmp_path / "state")
    recover(tmp_path)
    assert not (tmp_path / replacing.ASIDE).exists()


def test_rows_without_a_state_are_not_written_over(data, old):
    shutil.rmtree(old / "state")
    for path in old.glob("model-*"):
        path.unlink()
    for more in ([], ["--resume"]):
        with pytest.raises(UserError, match="rows of another run.*--overwrite"):
            train(data, old, *SHORT, "--max-steps", 1, *more)
    assert train(data, old, *SHORT, "--max-steps", 1, "--overwrite") == 0
    assert [row["step"] for row in rows(old, "train")] == [1]
    assert json.loads((old / "config.json").read_text())["max_steps"] == 1 and not scan_folder(old, "model").foreign

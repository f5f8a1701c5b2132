"""What a run accepted can be resumed; what cannot be read or verified now loses nothing, and says what to do."""
from __future__ import annotations

import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from small_runs import SIZE, rows, train
from small_sets import write_training_set, write_verification_set

import inference.param_file
import training.saving.state
from common.errors import RunError, UserError
from training.arguments import parse_config
from training.saving.overwrite import Replaced
from training.saving.ownership import scan_folder
from training.saving.prefix import check_prefix
from training.saving.run_folder import bring_back
from training.saving.state import generations
from training.schedule import Clock, resolve_schedule
from training.specs import ScheduleSpec

PLAIN = ("--target", "none", "--frequent", 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_training_set(tmp_path_factory.mktemp("data"), identities=16, images=3, size=SIZE)
    write_verification_set(folder / "lfw.bin", pairs=20, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("done")
    assert train(data, folder, *PLAIN, "--max-steps", 2) == 0
    return folder


def test_steps_of_the_schedule_are_kept_as_they_are_read(data, tmp_path):
    assert parse_config(["--data-dir", "x", "--lr-steps", "3,\n5,\u00a07"]).lr_steps == "3,5,7"
    assert train(data, tmp_path, *PLAIN, "--max-steps", 1, "--lr-steps", "3,\n5") == 0
    assert train(data, tmp_path, *PLAIN, "--max-steps", 2, "--lr-steps", "3,5", "--resume") == 0


def test_more_text_than_a_state_holds_is_refused_before_training():
    with pytest.raises(UserError, match="--target a/a/a.*longer than the 8192 characters"):
        parse_config(["--data-dir", "x", "--target", "a/" * 5000])


def test_a_set_that_cannot_be_verified_costs_no_step(data, tmp_path):
    from small_sets import draw, jpeg
    images = [bytearray(jpeg(draw(100 + number // 2, number, SIZE))) for number in range(40)]
    whole = [bytes(image) for image in images]
    table = images[5].index(b"\xff\xc4") + 5  # Huffman codes: headers and end are whole, and it does not decode
    images[5][table:table + 16] = b"\xff" * 16
    for name, chosen in (("bad", images), ("good", whole)):
        (tmp_path / f"{name}.bin").write_bytes(pickle.dumps(([bytes(one) for one in chosen], [True, False] * 10)))
    flags = ["--max-steps", 4, "--verbose", 2, "--save-every", 0, "--frequent", 1, "--target", tmp_path / "bad.bin"]
    run = tmp_path / "run"
    with pytest.raises(RunError, match="step 2 cannot be verified: .*bad.bin: image 5 .*the state of step 2 is kept"):
        train(data, run, *flags)
    assert [path.name for path in generations(run / "state")][-1] == "000000002"
    with pytest.raises(RunError, match="step 2 cannot be verified"):
        train(data, run, *flags, "--resume")
    shutil.copy(tmp_path / "good.bin", tmp_path / "bad.bin")
    assert train(data, run, *flags, "--resume") == 0
    assert [row["step"] for row in rows(run, "train")] == [1, 2, 3, 4]
    assert [row["step"] for row in rows(run, "verification")] == [2, 4]


def test_another_loss_without_momentum(data, done, tmp_path):
    run = shutil.copytree(done, tmp_path / "run")
    assert train(data, run, *PLAIN, "--max-steps", 3, "--resume", "--loss-type", 0, "--mom", 0) == 0
    assert train(data, run, *PLAIN, "--max-steps", 4, "--resume", "--loss-type", 0) == 0


def test_memory_that_is_short_now_is_no_damage(data, done, tmp_path, monkeypatch):
    run = shutil.copytree(done, tmp_path / "run")
    before = [path.name for path in generations(run / "state")]
    with monkeypatch.context() as patched:
        patched.setattr(inference.param_file, "free_memory", lambda: 1000)
        with pytest.raises(RunError, match="cannot be read now: its arrays take .*the same command continues"):
            train(data, run, *PLAIN, "--max-steps", 3, "--resume")
    with monkeypatch.context() as patched:
        def fails(path):
            raise OSError(5, "Input/output error", str(path))
        patched.setattr(training.saving.state, "read_header", fails)
        with pytest.raises(RunError, match="cannot be read now: Input/output error; it stays as it is"):
            train(data, run, *PLAIN, "--max-steps", 3, "--resume")
    assert [path.name for path in generations(run / "state")] == before
    assert train(data, run, *PLAIN, "--max-steps", 3, "--resume") == 0


def test_a_warm_up_that_is_over_is_not_checked():
    spec = ScheduleSpec(lr_steps=(20000, 28000), warmup=500, total_steps=32000,
                        stretched=frozenset({"lr_steps", "total_steps"}))
    found = resolve_schedule(spec, 490000, Clock(512, 3000, 3000 * 4096))  # of which the first 3000 steps had 4096
    assert found.warmup == 500 and found.milestones[0] < 500  # the learning rate fell long ago
    with pytest.raises(UserError, match="must end before"):
        resolve_schedule(spec, 490000, Clock(512, 300, 3000 * 4096))
    assert resolve_schedule(spec, 490000, Clock(512, 300, 3000 * 4096), check=False).warmup == 500


def test_the_state_of_another_prefix_in_the_folder_is_not_taken(data, done, tmp_path):
    run = shutil.copytree(done, tmp_path / "run")
    from small_runs import flags

    from training.run import run as start
    words = [str(run / "other") if word == str(run / "model") else word
             for word in flags(data, run, *PLAIN, "--max-steps", 3, "--resume")]
    with pytest.raises(UserError, match=f"whose checkpoints are model-NNNN.params; continue it with `?-?-?prefix`? "
                                        f"{run / 'model'}, or"):
        start(parse_config(words))
    assert train(data, run, *PLAIN, "--max-steps", 3, "--resume") == 0  # as the message says


def test_the_end_is_kept_by_the_flags_of_the_resumed_run(data, tmp_path):
    flags = ["--target", "lfw", "--verbose", 1, "--max-steps", 2]
    assert train(data, tmp_path, *flags, "--ckpt", 0) == 0 and not list(tmp_path.glob("*.params"))
    assert train(data, tmp_path, *flags, "--ckpt", 2, "--resume") == 0
    assert [path.name for path in tmp_path.glob("*.params")] == ["model-0001.params"]
    assert [row["step"] for row in rows(tmp_path, "verification")] == [1, 2]  # and the second of them is verified again
    other = write_verification_set(tmp_path / "other.bin", pairs=20, first=200, size=SIZE)
    assert train(data, tmp_path, *flags, "--ckpt", 3, "--target", f"lfw,{other}", "--resume") == 0
    assert [(row["step"], row["target"]) for row in rows(tmp_path, "verification")] == [
        (1, "lfw"), (2, "lfw"), (2, "other")]


@pytest.mark.parametrize("then", [1, 2, 3])
def test_a_run_that_is_resumed_to_end_where_it_was_verified_keeps_its_end(data, tmp_path, monkeypatch, then):
    """As after a kill: the newest state is then of a verification, whose step `ckpt` 1 kept only if it was the best."""
    def score(*_):
        return [SimpleNamespace(name="lfw", pairs=40, accuracy=next(accuracies), accuracy_std=0, tpr=0, eer=0, auc=0,
                                threshold=0, xnorm=1, fpr_target=0.001, seconds=1, scores=None,
                                roc=(np.array([0.0, 1.0]), np.array([0.0, 1.0])), embeddings=np.ones((4, 8)))]
    accuracies = iter([0.8, 0.7, 0.6, 0.7])
    monkeypatch.setattr("training.loop.verify", score)
    flags, saved = ["--target", "lfw", "--verbose", 1], lambda: sorted(path.name for path in tmp_path.glob("*.params"))
    assert train(data, tmp_path, *flags, "--max-steps", 3, "--ckpt", 1) == 0
    shutil.rmtree(tmp_path / "state" / "000000003")
    (tmp_path / "model-0002.params").unlink()
    for _ in range(2):  # and the second time there is nothing left to do
        assert train(data, tmp_path, *flags, "--max-steps", 2, "--ckpt", then, "--resume") == 0
        assert saved() == ["model-0001.params", *(["model-0002.params"] if then < 3 else [])]


def test_a_best_that_was_not_kept_is_none(data, tmp_path):
    flags = ["--target", "lfw", "--verbose", 1]
    assert train(data, tmp_path, *flags, "--ckpt", 0, "--max-steps", 2) == 0
    assert train(data, tmp_path, *flags, "--ckpt", 3, "--max-steps", 3, "--resume", "--lr", 1e-9) == 0
    assert [path.name for path in tmp_path.glob("*.params")] == ["model-0001.params"]


def test_a_prefix_in_the_place_of_the_states_is_refused(tmp_path):
    with pytest.raises(UserError, match="is where the run keeps its states; give another name"):
        check_prefix(str(tmp_path / "state"))


def test_a_replaced_run_is_brought_back_through_a_link(data, done, tmp_path):
    run = shutil.copytree(done, tmp_path / "run")
    (tmp_path / "link").symlink_to(run)
    before = sorted(path.name for path in run.iterdir())
    Replaced(tmp_path / "link", "model", scan_folder(tmp_path / "link", "model").own)  # and killed
    assert sorted(path.name for path in run.iterdir()) != before
    bring_back(str(tmp_path / "link" / "model"))
    assert [path.name for path in sorted(run.iterdir()) if path.name != ".lock"] == [
        name for name in before if name != ".lock"]

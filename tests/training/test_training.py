"""Whole runs of train_softmax.py on small sets: files, rows, checkpoints, several devices, refusals."""
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest
from repository import REPO
from small_runs import SIZE, flags, rows, start, train
from small_sets import write_training_set, write_verification_set

import train_softmax
from common import cli
from common.errors import UserError
from training.saving.kept_checkpoints import KeptCheckpoints
from training.saving.progress import Progress
from training.specs import SavingSpec, VerificationSpec
from training.validation import open_targets


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=SIZE)
    write_verification_set(folder / "lfw.bin", size=SIZE)
    write_verification_set(folder / "other.bin", pairs=20, first=200, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of 12 steps on one device, verified every 5."""
    folder = tmp_path_factory.mktemp("run")
    assert train(data, folder, "--max-steps", 12, "--verbose", 5, "--ckpt", 2) == 0
    return folder


def test_the_rows_of_a_run(finished):
    training, verification = rows(finished, "train"), rows(finished, "verification")
    assert [row["step"] for row in training] == [2, 4, 5, 6, 8, 10, 12]
    assert set(training[0]) == {"kind", "step", "epoch", "loss", "accuracy", "cosine", "lr", "samples_per_s",
                                "data_wait", "time"}
    assert training[-1]["epoch"] == pytest.approx(12 * 8 / 48)
    assert all(0 <= row["data_wait"] <= 1 and row["samples_per_s"] > 0 and -1 <= row["cosine"] <= 1 for row in training)
    assert [(row["step"], row["target"]) for row in verification] == [(5, "lfw"), (10, "lfw"), (12, "lfw")]
    assert set(verification[0]) == {"kind", "step", "target", "pairs", "accuracy", "accuracy_std", "tpr", "fpr_target",
                                    "eer", "auc", "threshold", "xnorm", "seconds", "false_accepts", "interval"}
    for row in verification:  # 20 different pairs: at FPR 0.1% no false accept is allowed
        assert row["false_accepts"] == 0 and set(row["interval"]) == {"eer", "auc", "accuracy"}
        assert all(low <= row[name] <= high for name, (low, high) in row["interval"].items())
    assert verification[0]["pairs"] == 40 and verification[0]["fpr_target"] == 0.001


def test_a_run_learns(data, tmp_path):
    assert train(data, tmp_path, "--max-steps", 40, "--frequent", 10, "--target", "none",
                 "--fc7-lr-mult", 1, "--margin-m", 0.2, "--margin-s", 16) == 0
    first, *_, last = rows(tmp_path, "train")
    assert last["loss"] < first["loss"] * 0.6
    assert last["cosine"] > first["cosine"] + 0.2


def test_the_files_of_a_run(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"model-symbol.json", "model-0001.params", "model-0002.params", "model-0003.params", "state", "config.json",
            "metrics.jsonl", "log.txt"} <= names
    assert "model-0004.params" not in names
    assert any(name.startswith("events.out.tfevents.") for name in names)
    config = json.loads((finished / "config.json").read_text())
    assert config["preset"] == "mobilefacenet++" and config["network"] == "y1" and config["lr"] == 0.02
    assert config["versions"]["mxnet"] == mx.__version__ and config["resolved"]["num_classes"] == 6
    assert config["resolved"]["devices"] == ["cpu:0"]
    head = subprocess.run("git rev-parse HEAD", shell=True, cwd=REPO, capture_output=True, text=True)  # without git 127
    commit = head.stdout.strip()
    assert config["git_commit"] in ((commit, f"{commit}+") if head.returncode == 0 else (None,))
    assert not list(finished.rglob("*.tmp"))


def test_the_checkpoint_is_the_plain_embedding_with_fixed_gammas_at_1(finished):
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(finished / "model"), 3)
    assert symbol.list_outputs() == ["fc1_output"]
    assert not any(name.startswith("fc7") for name in arguments)
    for name in ("bn6f_gamma", "bn6w_gamma", "fc1_gamma"):
        assert (arguments[name].asnumpy() == 1).all()
    executor = symbol.simple_bind(mx.cpu(), data=(2, 3, SIZE, SIZE), grad_req="null")
    executor.copy_params_from(arguments, auxiliary)
    embedding = executor.forward(data=mx.nd.random.uniform(0, 255, (2, 3, SIZE, SIZE)))[0].asnumpy()
    assert embedding.shape == (2, 128) and np.isfinite(embedding).all()


def test_another_run_is_not_written_over(data, finished):
    with pytest.raises(UserError, match="--resume continues it"):
        train(data, finished, "--max-steps", 12)


def test_resuming_a_finished_run_does_nothing(data, finished):
    before = (finished / "metrics.jsonl").read_bytes()
    assert train(data, finished, "--max-steps", 12, "--verbose", 5, "--ckpt", 2, "--resume") == 0
    assert (finished / "metrics.jsonl").read_bytes() == before
    assert not (finished / "model-0004.params").exists()


@pytest.mark.parametrize("ckpt, numbers", [(0, []), (1, [1, 2]), (2, [1, 2, 3]), (3, [1])])
def test_which_checkpoints_are_kept(data, tmp_path, ckpt, numbers, monkeypatch):
    accuracies = iter([0.8, 0.7, 0.75])

    def score(*_):
        class Result:
            name, pairs, accuracy_std, tpr, eer, auc, threshold, xnorm, seconds = "lfw", 40, 0, 0, 0, 0, 0, 1, 1
            fpr_target = 0.001
            roc, embeddings = (np.array([0.0, 1.0]), np.array([0.0, 1.0])), np.ones((4, 8))
            accuracy = next(accuracies)
        return [Result]
    monkeypatch.setattr("training.loop.verify", score)
    assert train(data, tmp_path, "--max-steps", 3, "--verbose", 1, "--ckpt", ckpt) == 0
    saved = sorted(int(path.name[6:10]) for path in tmp_path.glob("model-*.params"))
    assert saved == numbers
    progress = json.loads((tmp_path / "state" / "000000003" / "state.json").read_text())["progress"]
    assert progress["saves"] == len(numbers) and progress["best_number"] == (1 if ckpt else 0)


@pytest.mark.parametrize("metric", ["accuracy", "eer"])
def test_the_best_is_that_of_the_last_target_alone(metric):
    def results(*goodness):
        return [SimpleNamespace(name=name, **{metric: 1 - value if metric == "eer" else value})
                for name, value in zip(("lfw", "cfp_fp"), goodness)]
    progress = Progress(best_number=1)
    kept = KeptCheckpoints(SavingSpec("model", ckpt=1, best_metric=metric), progress, None)
    targets = [SimpleNamespace(name=name, digest_of_pairs=name) for name in ("lfw", "cfp_fp")]
    better = [kept.is_best(results(*goodness), targets)
              for goodness in ((0.9, 0.5), (1.0, 0.4), (0.6, 0.5), (0.1, 0.6))]
    assert better == [True, False, False, True]


@pytest.mark.parametrize("seconds, states", [(100, {"000000000", "000000002"}), (400, {"000000001", "000000002"})])
def test_a_state_is_saved_every_ten_minutes(data, tmp_path, monkeypatch, seconds, states):
    clock = iter(range(0, 10 ** 6, seconds))  # as it is looked at: at the start, at a saved state, and at each step
    monkeypatch.setattr("training.loop.time", SimpleNamespace(monotonic=lambda: next(clock),
                                                              perf_counter=time.perf_counter))
    assert train(data, tmp_path, "--max-steps", 2, "--target", "none") == 0
    assert {path.name for path in (tmp_path / "state").iterdir()} == states  # the newest two


def test_only_the_best_is_kept_as_number_1(data, tmp_path):
    assert train(data, tmp_path / "two", "--max-steps", 4, "--verbose", 1, "--ckpt", 2) == 0
    assert train(data, tmp_path / "three", "--max-steps", 2, "--verbose", 1, "--ckpt", 3) == 0
    assert train(data, tmp_path / "three", "--max-steps", 4, "--verbose", 1, "--ckpt", 3, "--resume") == 0
    accuracies = [row["accuracy"] for row in rows(tmp_path / "two", "verification")]
    best = accuracies.index(max(accuracies)) + 1
    assert [path.name for path in (tmp_path / "three").glob("*.params")] == ["model-0001.params"]
    expected, got = (mx.nd.load(str(tmp_path / name)) for name in (f"two/model-{best:04d}.params",
                                                                   "three/model-0001.params"))
    assert all((got[name].asnumpy() == value.asnumpy()).all() for name, value in expected.items())


@pytest.mark.parametrize("ckpt, saved", [(0, []), (1, ["model-0001.params"]), (3, ["model-0001.params"])])
def test_the_end_is_saved_without_a_target(data, tmp_path, ckpt, saved):
    assert train(data, tmp_path, "--max-steps", 2, "--verbose", 1, "--ckpt", ckpt, "--target", "none") == 0
    assert [path.name for path in tmp_path.glob("*.params")] == saved


def test_two_devices_take_half_of_the_batch_each(data, tmp_path):
    assert train(data, tmp_path, "--devices", "cpu:0,cpu:1", "--per-batch-size", 4, "--max-steps", 6,
                 "--verbose", 0) == 0
    training = rows(tmp_path, "train")
    assert training[-1]["step"] == 6 and training[-1]["epoch"] == pytest.approx(1.0)
    assert [row["step"] for row in rows(tmp_path, "verification")] == [6]
    state = mx.nd.load(str(tmp_path / "state" / "000000006" / "net.params"))
    running = [name for name in state if name.endswith("@0")]
    assert running and all((state[name].asnumpy() != state[f"{name[:-1]}1"].asnumpy()).any() for name in running)
    _, _, auxiliary = mx.model.load_checkpoint(str(tmp_path / "model"), 1)
    for name, value in auxiliary.items():  # each device keeps its own running statistics; the checkpoint has their mean
        mean = (state[f"{name}@0"].asnumpy() + state[f"{name}@1"].asnumpy()) / 2
        np.testing.assert_allclose(value.asnumpy(), mean, rtol=1e-6, err_msg=name)


def test_pretrained_takes_what_fits_and_lists_the_rest(data, finished, tmp_path, caplog):
    caplog.set_level("INFO")
    assert train(data, tmp_path, "--pretrained", f"{finished / 'model'},3", "--version-output", "GAP", "--max-steps", 1,
                 "--target", "none") == 0
    assert "bn6f_gamma" in caplog.text and "bn1_gamma" in caplog.text
    assert "bn6f_gamma" in (tmp_path / "log.txt").read_text()


def test_an_embedding_size_the_checkpoint_does_not_have(data, finished, tmp_path):
    with pytest.raises(UserError, match="--emb-size 256.*has 128"):
        train(data, tmp_path, "--pretrained", f"{finished / 'model'},3", "--emb-size", 256)


def test_targets_by_name_and_by_path(data, tmp_path):
    assert train(data, tmp_path, "--max-steps", 1, "--target", f"lfw,{data / 'other.bin'}") == 0
    assert [row["target"] for row in rows(tmp_path, "verification")] == ["lfw", "other"]


def targets(data_dir, text):
    return [target.name for target in open_targets(VerificationSpec(str(data_dir), text), (SIZE, SIZE))]


@pytest.mark.parametrize("text, names", [
    ("", ["lfw"]), (" ", ["lfw"]), ("none", []), (" none ", []), ("lfw, other", ["lfw", "other"]),
    (" other ,lfw,", ["other", "lfw"]), ("lfw,lfw", ["lfw"]), ("lfw,lfw.bin", ["lfw"]), ("other.bin", ["other"])])
@pytest.mark.parametrize("inside", [".", "train.rec"])
def test_what_target_may_say(data, text, names, inside):
    assert targets(data / inside, text) == names


def test_a_path_that_target_names_may_have_commas(data, tmp_path):
    folder = tmp_path / "faces, aligned"
    folder.mkdir()
    (folder / "a,b.bin").write_bytes((data / "other.bin").read_bytes())
    assert targets(data, f" lfw, {folder}/a,b.bin,other") == ["lfw", "a,b", "other"]
    assert targets(folder, "a,b") == ["a,b"]
    with pytest.raises(UserError, match=f"`target` gone: there is no {data}/gone.bin; {data} holds lfw, other"):
        targets(data, "lfw,gone,other")


def test_two_sets_of_one_name_are_distinguished(data, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_verification_set(tmp_path / name / "lfw.bin", pairs=20, first=200, size=SIZE)
    flags = ["--target", f"lfw,{tmp_path / 'a' / 'lfw.bin'},{tmp_path / 'b' / 'lfw.bin'}", "--verbose", 1]
    assert train(data, tmp_path / "run", "--max-steps", 1, *flags) == 0
    assert [row["target"] for row in rows(tmp_path / "run", "verification")] == [f"{data.name}/lfw", "a/lfw", "b/lfw"]


@pytest.mark.parametrize("text, words", [("cfp_fp", "`target` cfp_fp: .*holds lfw, other"), (",", "names no set"),
                                         ("lfw,none", "`target` none"), ("no/where.bin", "no/where.bin")])
def test_a_target_that_does_not_exist_is_named(data, text, words):
    with pytest.raises(UserError, match=words):
        targets(data, text)


def test_the_records_themselves_may_be_named_as_the_data(data, tmp_path):
    assert train(data / "train.rec", tmp_path, "--max-steps", 1) == 0
    assert [row["target"] for row in rows(tmp_path, "verification")] == ["lfw"]


def test_dry_run_says_what_would_be_done_and_leaves_nothing(tmp_path, capsys):
    data = write_training_set(tmp_path / "data", identities=6, images=2)
    write_verification_set(data / "lfw.bin")
    assert train(data, tmp_path / "run", "--dry-run", "--preset", "lresnet18e") == 0
    text = capsys.readouterr().out
    assert "6 identities" in text and "lfw (40 pairs)" in text and "24.0" in text and "GFLOPs" in text
    assert not (tmp_path / "run").exists()


BAD = {
    "no folder": (["--data-dir", "nowhere"], "nowhere"),
    "no target": (["--target", "cfp_fp"], "cfp_fp"),
    "no preset": (["--preset", "mobilefacenet+++"], "did you mean mobilefacenet++"),
    "no device": (["--devices", "gpu:7"], "gpu"),
    "no checkpoint": (["--pretrained", "nowhere/model,1"], "nowhere/model-0001.params"),
    "no network": (["--network", "r19"], "r19"),
    "a head too large for the map": (["--version-output", "GDC"], "y1 makes one of 2x2 of the 32x32 images"),
    "no place to write": (["--prefix", "/proc/nowhere/model"], "/proc/nowhere"),
    "another size": (["--image-size", "96,96"], "96,96"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_2(data, tmp_path, monkeypatch, capfd, name):
    more, words = BAD[name]
    monkeypatch.setattr(sys, "argv", ["train_softmax.py", *flags(data, tmp_path / "run", *more)])
    with pytest.raises(SystemExit) as ended:
        cli.run(train_softmax.main, "train_softmax.py")
    told = capfd.readouterr().err
    assert ended.value.code == 2, told
    assert len(told.strip().splitlines()) == 1 and words in told
    assert not (tmp_path / "run").exists()


def test_bad_input_to_a_process_is_one_line_and_2(data, tmp_path):
    with start(data, tmp_path / "run", *BAD["another size"][0], program="train_softmax.py") as process:
        told = process.communicate()[1]
    assert process.returncode == 2 and len(told.strip().splitlines()) == 1 and "96,96" in told, told
    assert not (tmp_path / "run").exists()


def test_a_label_outside_the_classes_names_its_record(tmp_path):
    folder = write_training_set(tmp_path / "data", identities=3, images=3, labels=[0, 1, 9], size=SIZE)
    with pytest.raises(UserError, match="record 7.*9"):
        train(folder, tmp_path / "run")

"""That steps are read later changes no number, and a fault is told of its own step."""
import json

import mxnet as mx
import numpy as np
import pytest
from small_runs import SIZE, rows, train
from small_sets import write_training_set
from training_faults_cases import poison

import training.pending
from common.errors import RunError
from training.saving.state import ARRAYS, generations

FLAGS = ["--target", "none", "--frequent", 3, "--version-output", "E", "--per-batch-size", 4]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=SIZE)


def end(folder):
    newest = generations(folder / "state")[-1]
    progress = json.loads((newest / "state.json").read_text())["progress"]
    numbers = [[row[name] for name in ("step", "loss", "cosine", "accuracy", "lr")] for row in rows(folder, "train")]
    window = {name: value for name, value in progress.pop("window").items() if name not in ("waited", "seconds")}
    progress.pop("lengths")
    return progress, window, numbers, {(part, name): value.asnumpy() for part in ARRAYS
                                       for name, value in mx.nd.load(str(newest / f"{part}.params")).items()}


def same(one, other):
    for got, expected in zip(one[:3], other[:3]):
        np.testing.assert_equal(got, expected)  # NaN is the same as NaN
    assert one[3].keys() == other[3].keys()
    for name, value in one[3].items():
        np.testing.assert_array_equal(value, other[3][name], err_msg=str(name))


@pytest.mark.parametrize("where, faults, flags", [
    ("loss", [2, 3, 5], []),
    ("gradient", [1, 5], ["--devices", "cpu:0,cpu:1", "--fc7-parallel", "--partial-fc", 0.5])], ids=["whole", "shards"])
def test_a_run_that_reads_steps_later_is_the_run_that_reads_each_at_once(data, tmp_path, monkeypatch, where, faults,
                                                                        flags, caplog):
    told = []
    for ahead in (0, 1):
        with monkeypatch.context() as patched:
            patched.setattr(training.pending, "AHEAD", ahead)
            poison(patched, faults, where)
            caplog.clear()
            assert train(data, tmp_path / str(ahead), *FLAGS, "--on-nan", "skip", *flags, "--max-steps", 5) == 0
        told.append([record.getMessage() for record in caplog.records if "is skipped, " in record.getMessage()])
    same(end(tmp_path / "0"), end(tmp_path / "1"))
    assert told[0] == told[1] and len(told[0]) == len(faults)
    assert all(f"at step {step}, " in line for step, line in zip(faults, told[0]))


@pytest.mark.parametrize("where, words", [("loss", "the loss is inf"), ("gradient", "the gradient is not finite")])
def test_a_fault_that_is_read_late_is_reported_its_own_step_and_nothing_of_it_is_saved(data, tmp_path, monkeypatch,
                                                                                     where, words):
    with monkeypatch.context() as patched:
        batches = poison(patched, [5], where)
        with pytest.raises(RunError, match=f"{words} at step 5, ") as caught:
            train(data, tmp_path / "run", *FLAGS, "--max-steps", 8)
    assert len(batches) == 6  # the next one had been begun
    assert all(str(key) in str(caught.value).split("records")[1] for key in batches[4].keys)
    assert [row["step"] for row in rows(tmp_path / "run", "train")] == [3]
    assert [path.name for path in generations(tmp_path / "run/state")] == ["000000000"]

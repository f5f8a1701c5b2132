"""Numbers that are not finite, records that do not decode, disks that are full: told in one line, nothing good lost."""
import contextlib
import errno
import json
import os
import subprocess

import mxnet as mx
import numpy as np
import pytest
from small_runs import SIZE, rows, start, train
from small_sets import draw, jpeg, write_training_set, write_verification_set
from training_faults_cases import poison  # noqa: F401
from waiting import HANG, wait_until

from common.errors import RunError
from training.saving.state import generations


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=SIZE)
    write_verification_set(folder / "lfw.bin", pairs=20, size=SIZE)
    return folder


def net(folder, part="net"):
    return {name: value.asnumpy() for name, value in
            mx.nd.load(str(generations(folder / "state")[-1] / f"{part}.params")).items()}


FLAGS = ["--target", "none", "--frequent", 1, "--save-every", 1e-9, "--version-output", "E"]


@pytest.mark.parametrize("where, words", [("loss", "the loss is inf"), ("gradient", "the gradient is not finite")])
def test_a_step_that_is_not_finite_stops_the_run_and_is_named(data, tmp_path, monkeypatch, where, words):
    with monkeypatch.context() as patched:
        batches = poison(patched, [3], where)
        with pytest.raises(RunError, match=f"{words} at step 3, learning rate 0.02, largest cosine 0") as caught:
            train(data, tmp_path, *FLAGS, "--max-steps", 6)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and "last good state is kept" in message and "--on-nan skip" in message
    assert all(str(key) in message.split("records")[1] for key in batches[2].keys)
    assert int(generations(tmp_path / "state")[-1].name) == 2
    assert all(np.isfinite(value).all() for value in net(tmp_path).values())
    assert train(data, tmp_path, *FLAGS, "--max-steps", 6, "--resume") == 0
    assert [row["step"] for row in rows(tmp_path, "train")] == [1, 2, 3, 4, 5, 6]


def test_parameters_that_are_not_finite_are_never_saved(data, tmp_path, monkeypatch):
    from training import loop
    update = loop.update

    def spoil(model, *more):
        result = update(model, *more)
        model.net_parameters["pre_fc1_weight"].list_data()[0][0, 0] = np.nan
        return result
    monkeypatch.setattr(loop, "update", spoil)
    for more, left in (([], "the last good state is kept: --resume with"),
                       (["--save-every", 0], "nothing of this run is kept")):  # a state, and a checkpoint
        with pytest.raises(RunError, match=f"pre_fc1_weight is not finite after step 1.*{left}.* a lower --lr"):
            train(data, tmp_path, *FLAGS, "--max-steps", 1, "--overwrite", *more)
        assert [path.name for path in generations(tmp_path / "state")] == ["000000000"]
        assert not list(tmp_path.glob("model-*.params"))


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_network_whose_embeddings_are_not_finite_is_not_saved(data, tmp_path, monkeypatch):
    from training import loop
    update = loop.update

    def spoil(model, *more):
        result = update(model, *more)
        model.net_parameters["pre_fc1_weight"].list_data()[0][:] = 3e38  # finite
        return result
    monkeypatch.setattr(loop, "update", spoil)
    with pytest.raises(RunError, match="step 1 cannot be verified: the embedding of image 0 .* is not finite.*"
                                       "the last good state is kept: --resume with a lower --lr"):
        train(data, tmp_path, "--max-steps", 1, "--version-output", "E")
    assert [path.name for path in generations(tmp_path / "state")] == ["000000000"]


@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("devices", ["cpu:0", "cpu:0,cpu:1"])
def test_a_skipped_step_changes_nothing_and_is_counted(data, tmp_path, monkeypatch, where, devices, caplog):
    flags = [*FLAGS, "--on-nan", "skip", "--devices", devices, "--per-batch-size", 4]
    assert train(data, tmp_path, *flags, "--max-steps", 2) == 0
    before = {part: net(tmp_path, part) for part in ("net", "head", "momentum")}
    with monkeypatch.context() as patched:
        poison(patched, [1], where)
        assert train(data, tmp_path, *flags, "--max-steps", 3, "--resume") == 0
    for part, values in before.items():
        for name, value in net(tmp_path, part).items():
            np.testing.assert_array_equal(value, values[name], err_msg=name)
    assert "at step 3" in caplog.text and "the step is skipped, 1 so far" in caplog.text
    assert train(data, tmp_path, *flags, "--max-steps", 4, "--resume") == 0
    assert "1 steps were skipped" in caplog.text
    got = rows(tmp_path, "train")
    assert [row["step"] for row in got] == [1, 2, 3, 4] and got[2]["loss"] is None and got[3]["loss"] > 0
    assert any((net(tmp_path)[name] != value).any() for name, value in before["net"].items())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_in_many_arrays_is_found(value):
    from training.sum_of_squares import LARGE, MOST_AT_ONCE, SumOfSquares
    squares = SumOfSquares()
    arrays = [mx.nd.ones((3, 5)) for _ in range(MOST_AT_ONCE + 9)] + [mx.nd.ones((LARGE // 4, 5))]
    assert np.isfinite(squares(arrays).asscalar())
    for place in (0, MOST_AT_ONCE, len(arrays) - 1):
        arrays[place][2, 4] = value
        assert not np.isfinite(squares(arrays).asscalar())
        arrays[place][2, 4] = 1


def test_skipping_ten_steps_in_a_row_stops(data, tmp_path, monkeypatch):
    poison(monkeypatch, range(2, 100), "loss")
    with pytest.raises(RunError, match="step 11.*10 steps in a row"):
        train(data, tmp_path, *FLAGS, "--on-nan", "skip", "--max-steps", 50, "--save-every", 0)


def test_nothing_is_different_where_no_step_is_skipped(data, tmp_path):
    for folder, more in (("stop", []), ("skip", ["--on-nan", "skip"])):
        assert train(data, tmp_path / folder, *FLAGS, "--max-steps", 3, *more) == 0
    for name, value in net(tmp_path / "stop").items():
        np.testing.assert_array_equal(value, net(tmp_path / "skip")[name])


def test_records_that_do_not_decode_are_counted_over_a_resume_and_named_once(tmp_path, caplog):
    folder = write_training_set(tmp_path / "data", identities=4, images=6, size=SIZE)
    content = (folder / "train.rec").read_bytes()
    for identity, index in ((0, 3), (2, 1)):
        picture = jpeg(draw(identity, index, SIZE))
        content = content.replace(picture, b"\0" * len(picture))
    (folder / "train.rec").write_bytes(content)
    flags = ["--target", "none", "--max-steps"]
    assert train(folder, tmp_path / "run", *flags, 3) == 0  # one epoch
    kept = json.loads((generations(tmp_path / "run/state")[-1] / "state.json").read_text())["progress"]
    assert sorted(kept["bad"]) == [4, 14]
    assert caplog.text.count("record 4 of") == caplog.text.count("record 14 of") == 1
    assert train(folder, tmp_path / "run", *flags, 6, "--resume") == 0
    assert caplog.text.count("record 4 of") == caplog.text.count("record 14 of") == 1
    assert caplog.text.count("2 records that do not decode were left out") == 2


@contextlib.contextmanager
def small_disk(folder, size):
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
                      capture_output=True).returncode:
        pytest.skip("mounting a memory disk of a few MiB needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path):
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as stream:
        while True:
            stream.write(b"\0" * 4096)


def test_a_disk_that_fills_up_is_one_line_and_the_run_continues_when_there_is_room(data, tmp_path):
    with small_disk(tmp_path / "disk", "12m") as disk:
        flags = ["--frequent", 1, "--target", "none", "--save-every", 0.05]
        with start(data, disk / "run", *flags, "--max-steps", 100000) as process:
            wait_until(lambda: generations(disk / "run/state"), process)
            fill(disk / "filler")
            told = process.communicate(timeout=HANG)[1]
        assert process.returncode == 1 and "Traceback" not in told
        assert "No space left on device" in told.splitlines()[-1] and "is kept" in told.splitlines()[-1]
        assert not list((disk / "run/state").glob(".*")) and generations(disk / "run/state")
        lines = (disk / "run/metrics.jsonl").read_text().splitlines()
        assert all(json.loads(line)["kind"] == "train" for line in lines)  # no half of a row
        os.unlink(disk / "filler")
        step = int(generations(disk / "run/state")[-1].name[:9])
        assert train(data, disk / "run", *flags, "--max-steps", step + 2, "--resume") == 0
        assert [row["step"] for row in rows(disk / "run", "train")] == list(range(1, step + 3))


class Full:
    """Makes the disk full for one file: where it can be, by the device that never has room."""

    def __init__(self, monkeypatch, folder):
        self.monkeypatch, self.folder = monkeypatch, folder

    def for_log(self):
        def full(handler):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.monkeypatch.setattr("training.reporting.logfile.LogFile.flush", full)

    def for_checkpoint(self):
        from training.saving.checkpoint import write_arrays
        self.monkeypatch.setattr("training.saving.checkpoint.write_arrays",
                                 lambda path, arrays: write_arrays("/dev/full", arrays))

    def for_state_arrays(self):
        from training.saving.state import write_arrays
        self.monkeypatch.setattr("training.saving.state.write_arrays",
                                 lambda path, arrays: write_arrays("/dev/full", arrays))

    def for_state_header(self):
        from pathlib import Path
        self.monkeypatch.setattr("training.saving.state.write_atomic",
                                 lambda path, text: Path("/dev/full").write_text(text))

    def for_rows(self, name="metrics.jsonl"):
        write = os.write

        def full(handle, piece):
            return write(os.open("/dev/full", os.O_WRONLY) if name in os.readlink(f"/proc/self/fd/{handle}")
                         else handle, piece)
        self.monkeypatch.setattr(os, "write", full)

    def for_events(self):
        self.for_rows("events.out")


@pytest.mark.parametrize("what", [name for name in vars(Full) if name.startswith("for_")])
def test_every_file_may_find_the_disk_full(data, tmp_path, what, monkeypatch, caplog):
    caplog.set_level("INFO")  # as the command does, so that there are lines for log.txt
    flags = ["--frequent", 1, "--verbose", 1, "--ckpt", 2]
    assert train(data, tmp_path, *flags, "--max-steps", 1) == 0
    checkpoint = (tmp_path / "model-0001.params").read_bytes()
    with monkeypatch.context() as patched:
        getattr(Full(patched, tmp_path), what)()
        with pytest.raises((RunError, OSError), match="No space left on device"):
            train(data, tmp_path, *flags, "--max-steps", 3, "--resume")
    assert (tmp_path / "model-0001.params").read_bytes() == checkpoint
    assert [path.name for path in generations(tmp_path / "state")][-1] == "000000001"
    assert train(data, tmp_path, *flags, "--max-steps", 3, "--resume") == 0
    assert [row["step"] for row in rows(tmp_path, "verification")] == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.glob("*model-*")) == [
        "model-0001.params", "model-0002.params", "model-0003.params", "model-symbol.json"]

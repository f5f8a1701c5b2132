"""What goes wrong at one of two workers: all of them skip, stop or go on alike; and float16 over workers."""
import json

import numpy as np
import pytest
from launched_runs import Launched, flags, rows, state
from small_sets import write_training_set, write_verification_set

FAULTY = "tests/helpers/faulty_worker.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six steps of eight images an epoch; one record of them does not decode."""
    folder = write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=32)
    write_verification_set(folder / "lfw.bin", pairs=10, size=32)
    content = (folder / "train.rec").read_bytes()
    start = content.index(b"\xff\xd8", len(content) // 2)
    (folder / "train.rec").write_bytes(content[:start] + b"no" + content[start + 2:])
    return folder


def progress(folder, step):
    return json.loads((folder / "state" / f"{step:09d}" / "state.json").read_text())["progress"]


@pytest.mark.slow
@pytest.mark.whole_network
def test_a_skipped_step_a_bad_record_and_a_kill_leave_what_one_process_leaves(data, tmp_path):
    """By dist_device_sync, resumed after worker 1 was killed: the same to the last bit."""
    more = ["--on-nan", "skip", "--max-steps", 12, "--verbose", 6]
    status, said = Launched(flags(data, tmp_path / "one", *more, "--devices", "cpu:0,cpu:1"), start=[], program=FAULTY,
                            FAULT="0/3/nan-gradient").finish()  # with as many threads as a worker has
    assert status == 0, said
    command = flags(data, tmp_path / "two", *more, "--kvstore", "dist_device_sync")
    killed = Launched(command, program=FAULTY, FAULT="1/3/nan-gradient,1/8/kill")
    status, said = killed.finish()
    assert status == 137 and "[launch] worker 1 was killed by SIGKILL (status 137); ending the others" in said
    assert killed.all_gone()
    for worker in range(2):
        assert f"[worker {worker}] the gradient is not finite at step 4" in said
    assert said.count("is left out") == 1
    status, said = Launched([*command, "--resume"], program=FAULTY).finish()  # of the same network
    assert status == 0 and "[worker 0] resumed at step 6" in said, said
    expected, got = state(tmp_path / "one", 12), state(tmp_path / "two", 12)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    for name in ("step", "position", "skipped", "saves", "best"):
        assert progress(tmp_path / "two", 12)[name] == progress(tmp_path / "one", 12)[name], name
    assert [row["step"] for row in rows(tmp_path / "two", "train")] == [2, 4, 6, 8, 10, 12]


@pytest.mark.slow
@pytest.mark.whole_network
def test_float16_in_micro_batches_over_workers_does_what_two_devices_do(data, tmp_path):
    """The first step overflows, the second moves the weights; only the order of sums differs."""
    more = ["--dtype", "float16", "--accumulate", 2, "--max-steps", 2, "--target", "none", "--lr", 0.01]
    status, said = Launched(flags(data, tmp_path / "one", *more, "--devices", "cpu:0,cpu:1"), start=[],
                            program=FAULTY).finish()
    assert status == 0, said
    status, said = Launched(flags(data, tmp_path / "two", *more, "--kvstore", "dist_sync"), program=FAULTY).finish()
    assert status == 0, said
    expected, got = state(tmp_path / "one", 2), state(tmp_path / "two", 2)
    for result in (expected, got):
        assert result["net/loss_scale"].tolist() == [256, 1, 1]
    for name, value in expected.items():
        if "moving" not in name:
            np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-6, err_msg=name)

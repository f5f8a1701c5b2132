"""Whole runs over several workers against one process on the same global batch, and a stop and a resume between.

What is compared: two workers with one device each and one process with two devices see the same images in the same
places, and batch statistics are of each device in both, so that everything must be equal to the last bit: weights,
running statistics, momentum (two summands add up the same in either order). With two devices each, the order of four
summands differs, so there the weights agree to a tolerance.
"""
import os
import shutil
import signal
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from launched_runs import Launched, flags, rows, state
from small_sets import write_training_set, write_verification_set
from waiting import wait_until

from training.arguments import parse_config
from training.run import run

FAULTY = "tests/helpers/faulty_worker.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=32)
    write_verification_set(folder / "lfw.bin", size=32)
    return folder


def test_two_workers_stopped_and_resumed_end_as_one_process_on_two_devices(data, tmp_path):
    one = flags(data, tmp_path / "one", "--devices", "cpu:0,cpu:1", "--max-steps", 8, "--verbose", 4)
    if os.environ["OMP_NUM_THREADS"] == "1":
        assert run(parse_config(one)) == 0
    else:  # in a process of its own, since gradients depend in their last bits on the number of threads
        status, said = Launched(one, start=[], program=FAULTY).finish()
        assert status == 0, said
    command = flags(data, tmp_path / "two", "--kvstore", "dist_sync", "--max-steps", 8, "--verbose", 4)
    first = Launched(command, program=FAULTY, FAULT="0/5/signal", FAULT_NOTE=str(tmp_path / "waits"))
    assert wait_until((tmp_path / "waits").exists, first.process), first.finish()
    first.process.send_signal(signal.SIGINT)
    status, said = first.finish()
    assert status == 130 and "stopped at step 6; the state is saved, --resume continues from there" in said, said
    assert first.all_gone()

    second = Launched([*command, "--resume"], program=FAULTY)
    status, said = second.finish()
    assert status == 0 and "[worker 0] resumed at step 6" in said, said
    assert second.all_gone()
    assert "at each of 2 workers, 8 per step" in said
    expected, got = state(tmp_path / "one", 8), state(tmp_path / "two", 8)
    assert expected.keys() == got.keys() and any(name.endswith("moving_var@1") for name in got)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    np.testing.assert_array_equal(*(mx.nd.load(str(tmp_path / which / "model-0002.params"))["aux:fc1_moving_mean"]
                                    .asnumpy() for which in ("one", "two")))
    for kind, names in (("train", ("step", "epoch", "loss", "accuracy", "cosine", "lr")),
                        ("verification", ("step", "target", "accuracy", "auc", "threshold"))):
        theirs, ours = rows(tmp_path / "one", kind), rows(tmp_path / "two", kind)
        assert len(theirs) == len(ours)
        for their, our in zip(theirs, ours):
            assert [our[name] for name in names] == pytest.approx([their[name] for name in names], rel=1e-5)


def test_devices_shards_and_samples_within_workers_do_what_micro_batches_do(data, tmp_path):
    """And a NaN at one worker, in the step after it, stops all."""
    assert run(parse_config(flags(data, tmp_path / "zero", "--max-steps", 1, "--target", "none"))) == 0
    # With --resume there is no state yet, which only the first worker can see.
    more = ["--devices", "cpu:0,cpu:1", "--fc7-parallel", "--partial-fc", 0.5, "--lr", 1e-3, "--target", "none",
            "--pretrained", f"{tmp_path / 'zero' / 'model'},1", "--resume"]
    assert run(parse_config(flags(data, tmp_path / "one", *more, "--max-steps", 1, "--accumulate", 2))) == 0
    launched = Launched(flags(data, tmp_path / "two", *more, "--max-steps", 1000, "--save-every", 1e-9, "--kvstore",
                              "dist_sync"), program=FAULTY, FAULT="1/1/nan-loss")
    status, said = launched.finish()
    assert status == 1 and launched.all_gone(), said
    assert "[worker 1] train_softmax.py: the loss is nan at step 2, learning rate 0.001" in said
    assert "the last good state is kept" in said
    assert sorted(path.name for path in (tmp_path / "two/state").iterdir()) == ["000000000", "000000001"]
    expected, got = state(tmp_path / "one", 1), state(tmp_path / "two", 1)
    assert {"head/fc7_weight", "head/fc7_weight@momentum", "momentum/conv_1_conv2d_weight"} <= expected.keys()
    for name in (name for name in expected if "moving" not in name):
        # Biases in front of a BatchNorm have a gradient of 0, so what they hold is rounding: the absolute tolerance.
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert sum(name.startswith("net/fc1_moving_var@") for name in got) == 4


def test_two_workers_by_horovod_do_what_two_devices_do(data, tmp_path):
    pytest.importorskip("horovod.mxnet", reason="horovod is not installed (requirements-horovod.txt)")
    horovodrun = shutil.which("horovodrun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    more = ["--max-steps", 10, "--verbose", 5]
    assert run(parse_config(flags(data, tmp_path / "one", *more, "--devices", "cpu:0,cpu:1"))) == 0
    launched = Launched(flags(data, tmp_path / "two", *more, "--kvstore", "horovod"),
                        [horovodrun, "-np", "2", "--gloo"])
    status, said = launched.finish()
    assert status == 0, said
    expected, got = state(tmp_path / "one", 10), state(tmp_path / "two", 10)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)

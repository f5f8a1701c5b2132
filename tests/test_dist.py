"""Whole runs over several workers against one process on the same global batch, and what happens when one is killed.

What is compared: two workers with one device each and one process with two devices see the same images in the same
places, and batch statistics are of each device in both, so that everything must be equal to the last bit: weights,
running statistics, momentum (two summands add up the same in either order). With two devices each, the order of four
summands differs, so there the weights agree to a tolerance.
"""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from small_sets import write_training_set, write_verification_set

from training.arguments import parse_config
from training.run import run

REPO = Path(__file__).resolve().parent.parent
SMALL = ["--preset", "mobilefacenet++", "--emb-size", "32", "--per-batch-size", "4", "--lr", "0.02", "--frequent", "2",
         "--workers", "1", "--devices", "cpu:0", "--ckpt", "2"]
LAUNCH = [sys.executable, "-m", "training.launch", "-n", "2", "--"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=32)
    write_verification_set(folder / "lfw.bin", size=32)
    return folder


def flags(data, folder, *more):
    return [*SMALL, "--data-dir", str(data), "--prefix", str(folder / "model"), *map(str, more)]


class Launched:
    """A run over two workers; every process of it carries a mark in its environment."""

    def __init__(self, command, start=LAUNCH):
        self.mark = f"DIST_TEST={uuid.uuid4()}".encode()
        name, _, value = self.mark.decode().partition("=")
        environment = {**os.environ, name: value, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen([*start, sys.executable, "train_softmax.py", *command], cwd=REPO, text=True,
                                        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self):
        stdout, stderr = self.process.communicate(timeout=120)
        return self.process.returncode, stdout + stderr

    def wait_for_rows(self, folder, count):
        deadline = time.monotonic() + 120
        metrics = folder / "metrics.jsonl"
        while not metrics.exists() or metrics.read_bytes().count(b"\n") < count:
            assert self.process.poll() is None and time.monotonic() < deadline, self.finish()
            time.sleep(0.05)

    def processes(self):
        """Command line and environment of every process with the mark that still runs."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (folder / "environ").read_bytes().split(b"\0")
                if self.mark in environment:
                    found[int(folder.name)] = ((folder / "cmdline").read_bytes(), environment)
        return found

    def worker(self, number):
        """The process that trains as worker `number`."""
        wanted = f"DMLC_WORKER_ID={number}".encode()
        return next(pid for pid, (command, environment) in self.processes().items()
                    if wanted in environment and b"train_softmax" in command and not command.startswith(b"sh"))


def rows(folder, kind):
    return [row for row in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if row["kind"] == kind]


def state(folder, step):
    return {f"{part}/{name}": value.asnumpy() for part in ("net", "head", "momentum")
            for name, value in mx.nd.load(str(folder / "state" / f"{step:09d}" / f"{part}.params")).items()}


def test_two_workers_stopped_and_resumed_end_as_one_process_on_two_devices(data, tmp_path):
    assert run(parse_config(flags(data, tmp_path / "one", "--devices", "cpu:0,cpu:1", "--max-steps", 60, "--verbose",
                                  30))) == 0
    command = flags(data, tmp_path / "two", "--kvstore", "dist_sync", "--max-steps", 60, "--verbose", 30)
    first = Launched(command)
    first.wait_for_rows(tmp_path / "two", 3)
    first.process.send_signal(signal.SIGINT)
    status, said = first.finish()
    assert status == 130 and "--resume goes on from there" in said and not first.processes()
    stopped = max(int(path.name) for path in (tmp_path / "two" / "state").iterdir())
    assert 6 <= stopped < 60

    second = Launched([*command, "--resume"])
    status, said = second.finish()
    assert status == 0 and f"[worker 0] resumed at step {stopped}" in said, said
    assert not second.processes()
    assert "at each of 2 workers, 8 a step" in said
    expected, got = state(tmp_path / "one", 60), state(tmp_path / "two", 60)
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
    more = ["--devices", "cpu:0,cpu:1", "--fc7-parallel", "--partial-fc", 0.5, "--lr", 1e-3, "--target", "none"]
    assert run(parse_config(flags(data, tmp_path / "one", *more, "--max-steps", 1, "--accumulate", 2))) == 0
    launched = Launched(flags(data, tmp_path / "two", *more, "--max-steps", 1, "--kvstore", "dist_sync"))
    status, said = launched.finish()
    assert status == 0, said
    expected, got = state(tmp_path / "one", 1), state(tmp_path / "two", 1)
    assert {"head/fc7_weight", "head/fc7_weight@momentum", "momentum/conv_1_conv2d_weight"} <= expected.keys()
    for name in (name for name in expected if "moving" not in name):
        # Biases in front of a BatchNorm have a gradient of 0, so what they hold is rounding: the absolute tolerance.
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert sum(name.startswith("net/fc1_moving_var@") for name in got) == 4


def test_killing_a_worker_ends_everything_with_an_error(data, tmp_path):
    launched = Launched(flags(data, tmp_path, "--kvstore", "dist_sync", "--max-steps", 100000))
    launched.wait_for_rows(tmp_path, 2)
    os.kill(launched.worker(1), signal.SIGKILL)
    status, said = launched.finish()
    assert status == 137 and "[launch] worker 1 was killed by SIGKILL (status 137); ending the others" in said
    assert not launched.processes()


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

"""Training waits for no device in an ordinary step: every call by which Python waits for MXNet's engine is counted.

The devices are cpu:1 and cpu:2, so that arrays in host memory are told from theirs.
"""
import ctypes

import mxnet as mx
import numpy as np
import pytest
from mxnet.base import _LIB
from small_models import make_batch, make_model
from small_runs import SIZE, train
from small_sets import write_training_set

import training.loop
import training.step
from training.device_images import DeviceImages
from training.step import update

WAITS = ("MXNDArrayWaitToRead", "MXNDArrayWaitToWrite", "MXNDArraySyncCopyToCPU", "MXNDArrayWaitAll")
FROM_HOST = "MXNDArraySyncCopyFromCPU"  # waits where it writes to a GPU, not for a new array in host memory


def address(handle):
    return getattr(handle, "value", handle)


def in_host_memory(handle):
    kind, number = ctypes.c_int(), ctypes.c_int()
    assert _LIB.MXNDArrayGetContext(handle, ctypes.byref(kind), ctypes.byref(number)) == 0
    return number.value == 0


@pytest.fixture
def waits(monkeypatch):
    """(name, address of the array) of the calls so far."""
    seen = []

    def counted(name):
        call = getattr(_LIB, name)

        def count(*arguments):
            if name != FROM_HOST or not in_host_memory(arguments[0]):
                seen.append((name, address(arguments[0]) if arguments else None))
            return call(*arguments)
        monkeypatch.setattr(_LIB, name, count)
    for name in (*WAITS, FROM_HOST):
        counted(name)
    return seen


def test_each_way_to_wait_is_seen(waits):
    value, there = mx.nd.ones((1,)), mx.nd.ones((1,), ctx=mx.cpu(1))

    def write():
        there[:] = np.zeros(1)
    for wait in (value.asnumpy, value.asscalar, value.wait_to_read, mx.nd.waitall, write,
                 lambda: mx.nd.array([1.0], ctx=mx.cpu(1))):
        waits.clear()
        wait()
        assert waits


SPLITS = [dict(), dict(devices=2), dict(devices=2, accumulate=2), dict(fc7_parallel=True), dict(loss_type=0),
          dict(devices=2, fc7_parallel=True), dict(devices=2, fc7_parallel=True, partial_fc=0.5, loss_type=0),
          dict(partial_fc=0.5), dict(classes=1200), dict(mirror_memory=True)]


@pytest.mark.parametrize("may_skip", [False, True], ids=["stop", "skip"])
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_an_ordinary_update_never_waits(monkeypatch, waits, split, may_skip):
    _, model, trainer = make_model(monkeypatch, first=1, **split)
    for step in range(2):  # the first one plans memory and moves parameters
        update(model, trainer, make_batch(12, step), step, may_skip)
    waits.clear()
    result = update(model, trainer, make_batch(12, 2), 2, may_skip)
    assert waits == []
    result.read()
    assert len(waits) == len(result.numbers) <= split.get("devices", 1) * split.get("accumulate", 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_training_set(tmp_path_factory.mktemp("data"), identities=6, images=8, size=SIZE)


@pytest.mark.parametrize("flags", [[], ["--on-nan", "skip"], ["--fc7-parallel", "--partial-fc", 0.5]], ids=str)
def test_a_run_reads_of_a_step_only_when_the_next_one_is_queued(data, tmp_path, monkeypatch, waits, flags):
    """And the images of that next one are on their way to the devices by then, each share in one copy."""
    events, owner = [], {}

    def watched(model, trainer, batch, step, *more):
        events.extend(waits)
        waits.clear()
        events.append(("begin", step))
        result = update(model, trainer, batch, step, *more)
        events.extend(waits)
        waits.clear()
        events.append(("end", step))
        assert all(in_host_memory(array.handle) for array in (*result.numbers, result.finite))
        owner.update({address(array.handle): (step, result) for array in (*result.numbers, result.finite)})
        return result

    def put(images, values, device):
        events.append(("images", len(values), str(device)))
        return original(images, values, device)
    original = DeviceImages.put
    monkeypatch.setattr(training.loop, "update", watched)
    monkeypatch.setattr(DeviceImages, "put", put)
    steps = 6
    assert train(data, tmp_path, "--target", "none", "--frequent", 100, "--version-output", "E", "--devices",
                 "cpu:1,cpu:2", "--per-batch-size", 4, *flags, "--max-steps", steps) == 0
    for step in range(2, steps):
        begin, end = events.index(("begin", step)), events.index(("end", step))
        assert events[begin + 1:end] == [("images", 4, "cpu(1)"), ("images", 4, "cpu(2)")]
        after = events[end + 1:events.index(("begin", step + 1))] if step + 1 < steps else []
        assert all(owner[array][0] == step - 1 for _, array in after) and len(after) <= 3, after
    assert after == []


def test_the_shares_of_a_batch_are_those_of_numpy():
    for images in range(1, 30):
        for count in range(1, images + 1):
            parts = np.array_split(np.arange(images), count)
            assert [list(range(images))[share] for share in training.step._shares(images, count)] == [
                part.tolist() for part in parts]

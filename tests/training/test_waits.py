"""An update waits for no device: every call by which Python waits for MXNet's engine is counted."""
import mxnet as mx
import pytest
from mxnet.base import _LIB
from small_models import make_batch, make_model

from training.step import update

WAITS = ("MXNDArrayWaitToRead", "MXNDArrayWaitToWrite", "MXNDArraySyncCopyToCPU", "MXNDArrayWaitAll")


@pytest.fixture
def waits(monkeypatch):
    """The names of the calls so far."""
    seen = []

    def counted(name):
        call = getattr(_LIB, name)

        def count(*arguments):
            seen.append(name)
            return call(*arguments)
        monkeypatch.setattr(_LIB, name, count)
    for name in WAITS:
        counted(name)
    return seen


def test_each_way_to_wait_is_seen(waits):
    value = mx.nd.ones((1,))
    for wait in (value.asnumpy, value.asscalar, value.wait_to_read, mx.nd.waitall):
        waits.clear()
        wait()
        assert waits


@pytest.mark.parametrize("split", [dict(), dict(devices=2), dict(devices=2, accumulate=2), dict(fc7_parallel=True),
                                   dict(devices=2, fc7_parallel=True)], ids=str)
def test_an_ordinary_update_never_waits(monkeypatch, waits, split):
    _, model, trainer = make_model(monkeypatch, **split)
    for step in range(2):  # the first one plans memory and moves parameters
        update(model, trainer, make_batch(12, step), step)
    waits.clear()
    result = update(model, trainer, make_batch(12, 2), 2)
    assert waits == []
    result.read()
    devices = split.get("devices", 1) * split.get("accumulate", 1)
    assert len(waits) <= 3 * devices  # losses, cosines and correctness of each share

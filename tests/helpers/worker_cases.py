"""What the processes of tests/training/test_dist_workers.py run, by name: each of two workers checks what it gets."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from common.cli import run
from common.environment import load_mxnet
from common.errors import UserError


def exchange(communicator):
    """Every way to exchange something, against what numpy says it must be."""
    import mxnet as mx
    me, both = communicator.rank, np.arange(2)
    random = np.random.RandomState(3)
    values = random.normal(size=(2, 3, 5)).astype(np.float32)
    np.testing.assert_array_equal(communicator.sum("a", values[me]), values[0] + values[1])
    np.testing.assert_array_equal(communicator.allgather("b", values[me]), values)
    np.testing.assert_array_equal(communicator.allgather("b", values[me] * 2), values * 2)  # the same key again
    assert communicator.any(me == 0, me == 1, False) == (True, True, False)
    assert communicator.any(False) == (False,)
    for device_count, shape, dtype in [(1, (7,), "float32"), (2, (2, 300001), "float32"), (1, (4, 4), "float16")]:
        arrays = [mx.nd.full(shape, 1 + me + 10 * device, ctx=mx.cpu(device), dtype=dtype)
                  for device in range(device_count)]
        communicator.allreduce("c", arrays)
        for device, array in enumerate(arrays):
            assert (array.asnumpy() == (1 + both + 10 * device).sum()).all() and array.dtype == np.dtype(dtype).type
    for size in (0, 1, 2, 9001, 300001):
        data = random.bytes(size)
        assert communicator.broadcast_bytes(data if me == 0 else b"mine") == data
    assert communicator.broadcast({"x": [1, None, "é"]} if me == 0 else None) == {"x": [1, None, "é"]}
    communicator.check_same({"lr": 0.1, "size": (1, 2)})
    try:
        communicator.check_same({"--lr": [0.1, 0.2][me], "--mom": 0.9})
    except UserError as error:
        print(error)


def fail(communicator):
    """Worker 1 raises while worker 0 waits for its sum."""
    if communicator.rank == 1:
        raise OSError("the disk has gone")
    communicator.sum("never", np.zeros(1))


def meet(communicator):
    """Meet, wait until somebody makes the file GO, and meet again."""
    from waiting import wait_until
    communicator.any(False)
    (Path(os.environ["MET"]) / str(communicator.rank)).touch()
    wait_until(Path(os.environ["GO"]).exists)
    assert communicator.any(communicator.rank == 1) == (True,)


def strange(communicator):
    """A command to the servers that would run code where MXNet's own server unpickles it; and the sums go on."""
    if communicator.rank == 0:
        for command in (0, 0):
            communicator.store._send_command_to_servers(command, f"cos\nsystem\n(S'touch {os.environ['HARM']}'\ntR.")
    exchange(communicator)


def main(argv):
    from training.cluster.serve import role, serve
    if role():
        return serve(role())
    load_mxnet()
    from training.cluster.create import create_communicator
    with create_communicator(argv[1]) as communicator:
        return globals()[argv[0]](communicator)


if __name__ == "__main__":
    run(main, "case")

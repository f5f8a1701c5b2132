"""The kvstore of Horovod's workers, with a Horovod whose other worker has the same arrays times ten."""
from types import SimpleNamespace

import mxnet as mx
import numpy as np

from training.cluster.allreduce import AllreduceStore


def horovod(called):
    def allreduce_(array, average, name, priority=0):
        assert not average
        called.append(name)
        array *= 11

    def broadcast(array, root_rank, name, priority=0):
        assert root_rank == 0
        return array * 10

    return SimpleNamespace(allreduce_=allreduce_, broadcast=broadcast, rank=lambda: 1, size=lambda: 2)


def test_gradients_are_summed_over_devices_and_workers_and_come_back_to_each():
    called, gradients = [], [mx.nd.full((2, 3), value, ctx=mx.cpu(number)) for number, value in enumerate((1, 2, 4))]
    store = AllreduceStore(horovod(called))
    assert (store.rank, store.num_workers, store.is_capable("optimizer")) == (1, 2, False)
    store.pushpull(5, gradients)
    assert all((array.asnumpy() == 77).all() for array in gradients) and len(called) == 1
    one, results = mx.nd.full((2,), 3), [mx.nd.zeros(2), mx.nd.zeros(2, ctx=mx.cpu(1))]
    store.pushpull(6, one, out=results)
    assert all((array.asnumpy() == 33).all() for array in results)


def test_every_device_begins_with_worker_0s_weights():
    copies = [mx.nd.zeros(4, ctx=mx.cpu(number)) for number in range(2)]
    AllreduceStore(horovod([])).broadcast(0, mx.nd.arange(4), copies)
    for array in copies:
        np.testing.assert_array_equal(array.asnumpy(), 10 * np.arange(4))

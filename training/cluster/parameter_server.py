"""The communicator of workers with MXNet's parameter server (`kvstore` dist_sync, dist_device_sync).

The server only adds: it is given no optimizer, so momentum and the schedule are at the workers, where the state of a
run is saved. dist_async, where a worker updates the weights without waiting for the others, would make a result depend
on the speed of machines, and is not offered.
"""
from __future__ import annotations

import os
import signal

import mxnet as mx
import numpy as np

from common import mxnet_compat
from common.errors import UserError
from common.signals import handled
from training.cluster import heartbeat, variables
from training.cluster.communicator import Communicator

FIRST_KEY = 1 << 20  # gluon.Trainer takes 0, 1, 2 ... for its parameters


class ParameterServer(Communicator):
    """One of DMLC_NUM_WORKER workers.

    rank: DMLC_WORKER_ID, which the launcher sets, or where it is not set the number that the scheduler gives, whose
    order nobody knows before.
    """

    def __init__(self, kvstore: str) -> None:
        os.environ.setdefault("DMLC_ROLE", "worker")
        variables.prepare()
        wanted = _rank()
        # Ctrl-C and SIGTERM end the process while MXNet waits for the others, where no Python handler would run.
        with handled(signal.SIG_DFL, (signal.SIGINT, signal.SIGTERM)):
            super().__init__(mx.kv.create(kvstore))
        self._keys: dict[tuple, int] = {}
        self._heartbeat = heartbeat.Heartbeat(
            self.store, mxnet_compat.SCHEDULER,
            f"worker {wanted or 0}: the scheduler has exited, as it does when a server or another worker fails")
        self.size = self.store.num_workers
        self.rank = self.store.rank if wanted is None else wanted
        taken = self.sum("ranks", np.eye(self.size)[self.rank])
        if (taken != 1).any():
            self.leave(failed=True)
            raise UserError(f"DMLC_WORKER_ID must be 0 to {self.size - 1}, another one for each worker; "
                            f"{int(taken.argmax())} is there {int(taken.max())} times")

    def allreduce(self, name: str, arrays: list[mx.nd.NDArray]) -> None:
        """Communicator.allreduce."""
        for number, array in enumerate(arrays):
            what = (name, number, array.shape, array.dtype)
            if what not in self._keys:  # a key's shape is fixed
                self._keys[what] = FIRST_KEY + len(self._keys)
                self.store.init(self._keys[what], mx.nd.zeros(array.shape, ctx=mx.cpu(), dtype=array.dtype))
            self.store.pushpull(self._keys[what], array, out=array)

    def leave(self, failed: bool) -> None:
        """Communicator.leave."""
        if failed:  # else the exit of the process would wait for the others to exit as well
            mxnet_compat.leave_alone(self.store)
        super().leave(failed)
        self._heartbeat.close()



def _rank() -> int | None:
    text, count = os.environ.get("DMLC_WORKER_ID", ""), int(os.environ["DMLC_NUM_WORKER"])
    if not text:
        return None
    if int(text) >= count:
        raise UserError(f"DMLC_WORKER_ID={text}: must be 0 to {count - 1}, since DMLC_NUM_WORKER is {count}")
    return int(text)

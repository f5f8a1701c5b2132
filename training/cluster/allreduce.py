"""The communicator of workers started by Horovod (`kvstore` horovod)."""
from __future__ import annotations

from typing import Any, Union

import mxnet as mx
from mxnet.kvstore import KVStoreBase

from common.errors import UserError
from training.cluster.communicator import Communicator

Arrays = Union[mx.nd.NDArray, "list[mx.nd.NDArray]"]


class Horovod(Communicator):
    """A worker of `horovodrun -np N`; UserError where Horovod is not installed."""

    def __init__(self) -> None:
        try:
            import horovod.mxnet as hvd
        except ImportError as error:
            raise UserError("`kvstore` horovod: Horovod with its MXNet part is not installed "
                            f"({' '.join(str(error).split())[:100]}); requirements-horovod.txt says how to build it, "
                            "in 4 minutes") from None
        hvd.init()
        self._hvd = hvd
        super().__init__(AllreduceStore(hvd))
        self.rank, self.size = hvd.rank(), hvd.size()

    def allreduce(self, name: str, arrays: list[mx.nd.NDArray]) -> None:
        """Communicator.allreduce."""
        for number, array in enumerate(arrays):
            self._hvd.allreduce_(array, average=False, name=f"{name} {number} {array.shape} {array.dtype.__name__}")


class AllreduceStore(KVStoreBase):
    """A kvstore for gluon.Trainer on Horovod: the sum over the local devices, then over the workers."""

    type = "horovod"

    def __init__(self, hvd: Any) -> None:
        self._hvd = hvd

    @property
    def rank(self) -> int:
        """This worker's rank."""
        return self._hvd.rank()

    @property
    def num_workers(self) -> int:
        """The number of workers."""
        return self._hvd.size()

    @staticmethod
    def is_capable(capability: str) -> bool:
        """It has no optimizer: the workers update the weights."""
        return False

    def broadcast(self, key: int, value: Arrays, out: Arrays, priority: int = 0) -> None:
        """Broadcast worker 0's `value` to all of `out`."""
        first = _list(value)[0]
        received = self._hvd.broadcast(first, root_rank=0, name=f"broadcast {key}", priority=priority)
        for target in _list(out):
            received.copyto(target)

    def pushpull(self, key: int, value: Arrays, out: Arrays | None = None, priority: int = 0) -> None:
        """The sum of `value` over devices and workers, to all of `out` (or of `value`)."""
        first, *others = _list(value)
        for other in others:
            first += other.as_in_context(first.context)
        self._hvd.allreduce_(first, average=False, name=f"pushpull {key}", priority=priority)
        for target in _list(value if out is None else out):
            if target is not first:
                first.copyto(target)


def _list(arrays: Arrays) -> list[mx.nd.NDArray]:
    return list(arrays) if isinstance(arrays, (list, tuple)) else [arrays]

"""The communicator of a distributed training: rank, size and collective operations.

Each worker takes an equal part of every batch, computes its gradients, and updates its own copy of the weights with
their sum over all workers; so the weights stay the same everywhere. The only exchange is a sum over the workers
(allreduce), on which everything here is built: a broadcast is a sum with the others' zeros.
"""
from __future__ import annotations

import json
import signal
from typing import Any, Mapping

import mxnet as mx
import numpy as np

from common.errors import UserError
from common.signals import left_to_system

PIECES = (1 << 12, 1 << 20)  # 16-bit values in one message
EXIT_SECONDS = 15  # after which a failed worker exits, whatever MXNet still waits for


class Communicator:
    """The group of workers; this class is the communicator of a single worker.

    rank: 0 to size - 1; worker 0 writes the run folder and verifies. store: the kvstore for gluon.Trainer.
    Every collective method must be called by all workers, in the same order and with the same shapes.
    """

    rank, size = 0, 1

    def __init__(self, store: Any = "device") -> None:
        self.store = store

    def allreduce(self, name: str, arrays: list[mx.nd.NDArray]) -> None:
        """Replace each of `arrays` (floating point, on any devices) by its sum over the workers. Asynchronous."""

    def sum(self, name: str, values: np.ndarray) -> np.ndarray:
        """The sum of `values` over the workers, of their shape; float32, in which MXNet's server adds everything."""
        if self.size == 1:
            return np.array(values)
        total = mx.nd.array(values, ctx=mx.cpu(), dtype="float32")
        self.allreduce(name, [total])
        return total.asnumpy()

    def allgather(self, name: str, values: np.ndarray) -> np.ndarray:
        """The `values` of every worker, (size, *shape), float32."""
        own = np.zeros((self.size, *np.shape(values)), np.asarray(values).dtype)
        own[self.rank] = values
        return self.sum(name, own)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is set at any worker."""
        return tuple(bool(total) for total in self.sum(f"{len(flags)} flags", np.array(flags, np.float32)))

    def broadcast(self, content: Any = None) -> Any:
        """Broadcast worker 0's `content`, JSON, to every worker."""
        return json.loads(self.broadcast_bytes(json.dumps(content).encode("utf-8")))

    def broadcast_bytes(self, data: bytes = b"") -> bytes:
        """Broadcast worker 0's `data` to every worker."""
        if self.size == 1:
            return data
        high, low = self.sum("length", np.array(divmod(len(data), PIECES[1]) if self.rank == 0 else (0, 0)))
        length = int(high) * PIECES[1] + int(low)
        sent = np.frombuffer(data + b"\0" * (len(data) % 2), "<u2") if self.rank == 0 else None
        received = np.zeros((length + 1) // 2, "<u2")
        start = 0
        while start < len(received):
            size = PIECES[len(received) - start > PIECES[0] * 8]
            # float32 represents all 16-bit values exactly, and adding zeros changes none
            piece = mx.nd.zeros((size,), ctx=mx.cpu())
            if sent is not None:
                piece[:len(sent[start:start + size])] = sent[start:start + size].astype(np.float32)
            self.allreduce(f"piece of {size}", [piece])
            part = received[start:start + size]
            part[:] = piece.asnumpy()[:len(part)]
            start += size
        return received.tobytes()[:length]

    def check_same(self, mine: Mapping[str, Any]) -> None:
        """UserError at all workers, naming the difference at the worker that has it, unless `mine` equals worker
        0's."""
        mine = json.loads(json.dumps(mine))
        theirs = self.broadcast(mine)
        different = [f"{name} {theirs.get(name)} there, {mine.get(name)} here" for name in {**theirs, **mine}
                     if theirs.get(name) != mine.get(name)]
        others = np.flatnonzero(self.allgather("different", np.array(bool(different))))
        if different:
            raise UserError(f"worker {self.rank} differs from worker 0: {'; '.join(different)}")
        if len(others):
            raise UserError(f"worker {', '.join(map(str, others))} differs from worker 0; see its own message")

    def leave(self, failed: bool) -> None:
        """Leave the group: together with the others, or at once where something `failed` here."""
        if not failed:
            self.any(False)
        elif self.size > 1:
            # MXNet may wait for ever, at its end, for what the others will not send.
            left_to_system((signal.SIGALRM,))
            signal.alarm(EXIT_SECONDS)

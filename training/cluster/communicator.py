"""What a worker of a training over several processes knows of the others.

Each worker takes an equal share of every batch, computes its gradients, and moves its own copy of the weights along
their sum over all workers; so the weights stay the same everywhere. All that is ever exchanged is a sum over the
workers, and everything here is made of it: what one worker knows reaches the others as a sum with their zeros.
"""
from __future__ import annotations

import json
import signal
from typing import Any, Mapping

import mxnet as mx
import numpy as np

from common.errors import UserError
from common.signals import left_to_system

PIECES = (1 << 12, 1 << 20)  # values of two bytes that go in one message
EXIT_SECONDS = 15  # in which a worker that failed is gone, whatever MXNet still waits for


class Communicator:
    """All workers, as one of them sees them; this class is the communicator of a worker that is alone.

    rank: 0 to size - 1; worker 0 writes the run folder and verifies. store: what gluon.Trainer takes as its kvstore.
    Every method that exchanges something must be called by all workers, in the same order and with the same shapes.
    """

    rank, size = 0, 1

    def __init__(self, store: Any = "device") -> None:
        self.store = store

    def allreduce(self, name: str, arrays: list[mx.nd.NDArray]) -> None:
        """Replace each of `arrays` (floating point, on any devices) by its sum over the workers. Does not wait."""

    def sum(self, name: str, values: np.ndarray) -> np.ndarray:
        """The sum of `values` over the workers, of their shape; float32, as which MXNet's server adds everything."""
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
        """For each flag, whether it is set at one worker or more."""
        return tuple(bool(total) for total in self.sum(f"{len(flags)} flags", np.array(flags, np.float32)))

    def broadcast(self, content: Any = None) -> Any:
        """Worker 0's `content`, what JSON can hold, at every worker."""
        return json.loads(self.broadcast_bytes(json.dumps(content).encode("utf-8")))

    def broadcast_bytes(self, data: bytes = b"") -> bytes:
        """Worker 0's `data` at every worker."""
        if self.size == 1:
            return data
        high, low = self.sum("length", np.array(divmod(len(data), PIECES[1]) if self.rank == 0 else (0, 0)))
        length = int(high) * PIECES[1] + int(low)
        sent = np.frombuffer(data + b"\0" * (len(data) % 2), "<u2") if self.rank == 0 else None
        received = np.zeros((length + 1) // 2, "<u2")
        start = 0
        while start < len(received):
            size = PIECES[len(received) - start > PIECES[0] * 8]
            piece = mx.nd.zeros((size,), ctx=mx.cpu())  # float32 holds all numbers of two bytes, and zeros change none
            if sent is not None:
                piece[:len(sent[start:start + size])] = sent[start:start + size].astype(np.float32)
            self.allreduce(f"piece of {size}", [piece])
            part = received[start:start + size]
            part[:] = piece.asnumpy()[:len(part)]
            start += size
        return received.tobytes()[:length]

    def check_same(self, mine: Mapping[str, Any]) -> None:
        """UserError at all workers, naming what differs at the worker where it does, unless `mine` is worker 0's."""
        mine = json.loads(json.dumps(mine))
        theirs = self.broadcast(mine)
        different = [f"{name} {theirs.get(name)} there, {mine.get(name)} here" for name in {**theirs, **mine}
                     if theirs.get(name) != mine.get(name)]
        others = np.flatnonzero(self.allgather("different", np.array(bool(different))))
        if different:
            raise UserError(f"worker {self.rank} is not like worker 0: {'; '.join(different)}")
        if len(others):
            raise UserError(f"worker {', '.join(map(str, others))} is not like worker 0; its own message says how")

    def leave(self, failed: bool) -> None:
        """Part from the others: together with them, or at once where something `failed` here."""
        if not failed:
            self.any(False)
        elif self.size > 1:
            # MXNet may wait for ever, at its end, for what the others will not send.
            left_to_system((signal.SIGALRM,))
            signal.alarm(EXIT_SECONDS)

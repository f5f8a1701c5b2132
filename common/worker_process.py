"""A worker process: it runs tasks in order and ends with its parent; arrays are returned in shared memory.

The data of a result's arrays is in memory that both processes share: through a pipe it would be copied twice more.
"""
from __future__ import annotations

import collections
import contextlib
import mmap
import multiprocessing
import os
import pickle
import queue
import signal
import tempfile
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.reduction import DupFd
from typing import Any, Callable, Generic, Protocol, TypeVar

from common.errors import RunError
from common.signals import left_to_system

AHEAD = 3  # tasks that a worker has been sent and whose results were not yet requested
PRELOAD = ["cv2", "numpy"]  # by the one process that all workers are forked from
SLOT = 1 << 21  # bytes of a result's arrays; those of a larger one go through the pipe
LINE = 64  # alignment of the arrays, in bytes
Result = TypeVar("Result")


class SentHandle(Protocol):
    """What multiprocessing makes of a file's number, to give it to another process."""

    def detach(self) -> int:
        """The number of the file in this process."""


class Slots:
    """One end of the channel: a pipe, and a file that both ends map; result i is in slot i mod `slots`.

    A slot is free again once `slots` later results were requested: the sender must not be further ahead. Pickled while
    a process is started, it is the same file there.
    """

    def __init__(self, pipe: Connection, handle: int, slots: int) -> None:
        self._pipe, self._file, self._slots, self._count = pipe, open(handle, "r+b", buffering=0), slots, 0
        self._memory = memoryview(mmap.mmap(handle, slots * SLOT))

    def __reduce__(self) -> tuple:
        return _far_end, (self._pipe, DupFd(self._file.fileno()), self._slots)

    def close(self) -> None:
        """Close pipe and file; the memory stays mapped while an array uses it."""
        self._pipe.close()
        self._file.close()

    def _next(self) -> memoryview:
        first = self._count % self._slots * SLOT
        self._count += 1
        return self._memory[first:first + SLOT]

    def send(self, value: object) -> None:
        """Send as a pickle, with the arrays' contents in the slot or after the pickle."""
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
        sizes, slot = [view.nbytes for view in views], self._next()
        places = _places(sizes)
        fits = places[-1] <= SLOT
        if fits:
            for view, place in zip(views, places):
                slot[place:place + view.nbytes] = view
        self._pipe.send((pickled, sizes, fits))
        for view in views if not fits else ():
            while view.nbytes:
                view = view[os.write(self._pipe.fileno(), view):]

    def receive(self) -> Any:
        """The next value; EOFError where the sender is gone."""
        pickled, sizes, fits = self._pipe.recv()
        slot = self._next()
        if fits:
            buffers = [slot[place:place + size] for place, size in zip(_places(sizes), sizes)]
        else:
            buffers = [memoryview(bytearray(size)) for size in sizes]
            for view in buffers:
                while view.nbytes:
                    read = os.readv(self._pipe.fileno(), [view])
                    if not read:
                        raise EOFError
                    view = view[read:]
        return pickle.loads(pickled, buffers=buffers)


def both_ends(context: BaseContext, slots: int) -> tuple[Slots, Slots]:
    """(receiving, sending) ends of a new channel, for `slots` results at a time; in memory where possible."""
    receiver, sender = context.Pipe(duplex=False)
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("results")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, slots * SLOT)
    return Slots(receiver, handle, slots), Slots(sender, os.dup(handle), slots)


def _far_end(pipe: Connection, handle: SentHandle, slots: int) -> Slots:
    return Slots(pipe, handle.detach(), slots)


def _places(sizes: list[int]) -> list[int]:
    """The offset of each array in a slot, and the end of the last."""
    places = [0]
    for size in sizes:
        places.append(places[-1] + -(-size // LINE) * LINE)
    return places


class Death(Exception):
    """The end of a worker; signal: what killed it, or 0."""

    def __init__(self, status: int | None) -> None:
        self.signal = -min(status or 0, 0)
        super().__init__(f"was killed by signal {self.signal}" if self.signal else f"ended with status {status}")

    def error(self) -> RunError:
        """The error to raise."""
        return RunError(f"a worker process {self}, perhaps out of memory; fewer `workers` need less")


class Worker(Generic[Result]):
    """One process with a pipe to it and a pipe back; `given`: its tasks without a result so far."""

    def __init__(self, function: Callable[..., Result], number: int) -> None:
        self._function, self._name = function, f"worker-{number}"
        self.given: collections.deque = collections.deque()
        self._start()

    def _start(self) -> None:
        # Forked from a small server process: quick, without this process's memory, threads and open files.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*PRELOAD, *filter(None, [self._function.__module__])])
        tasks, self._tasks = context.Pipe(duplex=False)
        self._results, results = both_ends(context, AHEAD)
        self._process = context.Process(target=_work, args=(self._function, tasks, results), name=self._name,
                                        daemon=True)
        self._process.start()
        tasks.close()
        results.close()

    def start_again(self, first: object) -> None:
        """With `first` in place of the first of its tasks."""
        self.stop()
        tasks, self.given = [first, *list(self.given)[1:]], collections.deque()
        self._start()
        for task in tasks:
            self.give(task)

    def give(self, task: object) -> None:
        self.given.append(task)
        with contextlib.suppress(OSError):  # the pipe is broken: `result` reports it
            self._tasks.send(task)

    def result(self) -> Result:
        """The result of the first of its tasks; Death where the process has ended."""
        try:
            value, error = self._results.receive()
        except (EOFError, OSError):
            self._process.join(2)
            raise Death(self._process.exitcode) from None
        self.given.popleft()
        if error is not None:
            raise error
        return value

    def stop(self) -> None:
        self._tasks.close()  # tells the worker to end
        self._results.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(function: Callable, tasks: Connection, results: Slots) -> None:
    """A worker's main loop: tasks in, results out, until either side closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    left_to_system((signal.SIGTERM,))
    import cv2
    cv2.setNumThreads(1)  # the processes are the parallelism
    given: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(tasks, given), daemon=True).start()
    try:
        while True:
            results.send(_done(function, given.get()))
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)


def _receive(tasks: Connection, given: queue.SimpleQueue) -> None:
    """Drain the pipe, so that the parent never blocks on sending a task; end with the parent."""
    try:
        while True:
            given.put(tasks.recv())
    except (EOFError, OSError):
        os._exit(0)


def _done(function: Callable, task: object) -> tuple[object, Exception | None]:
    try:
        return function(task), None
    except Exception as error:
        return None, error

"""Work shared out to processes, in order and in bounded memory; none of them outlives the one that started them."""
from __future__ import annotations

import collections
import contextlib
import logging
import multiprocessing
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection
from typing import Callable, Iterable, Iterator, TypeVar

from common.errors import RunError
from recordio_tools.pack.transport import Slots, both_ends

log = logging.getLogger(__name__)
Task = TypeVar("Task")
Result = TypeVar("Result")
AHEAD = 3  # tasks that a worker has been given and not yet been asked for
CRASHES = frozenset([signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL])
PRELOAD = ["cv2", "numpy"]  # by the one process that all workers are forked from


def process_map(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, mend: bool = False
                ) -> Iterator[Result]:
    """Yield function(task) in the order of `tasks`; `function`, tasks and results must pickle.

    Task i goes to worker i mod `workers`, so the order needs no bookkeeping, and each worker is AHEAD tasks ahead at
    most. What the arrays of a result hold is there until the next result is asked for. An exception of `function` is
    raised at its task's turn. RunError where a worker dies. When the generator is closed, or this process ends in
    whatever way, the workers end at once.

    mend: tasks are lists; one that crashes its worker is done again, with None in place of each item that crashes a
    process when it is the only one of its task. RunError where a crash that no item explains comes a second time.
    """
    pool = [_Worker(function, number) for number in range(workers)]
    mender = _Mender(function) if mend else None
    try:
        waiting: collections.deque = collections.deque()
        number = 0
        for task in tasks:
            worker = pool[number % workers]
            if len(waiting) == AHEAD * workers:
                yield _result(waiting.popleft(), mender)  # the same worker's: so many tasks are between its own
            worker.give(task)
            waiting.append(worker)
            number += 1
        while waiting:
            yield _result(waiting.popleft(), mender)
    finally:
        for worker in pool:
            worker.stop()


def _result(worker: _Worker, mender: _Mender | None) -> object:
    while True:
        try:
            return worker.result()
        except _Death as death:
            if mender is None or death.signal not in CRASHES:
                raise death.error() from None
            log.warning("a worker process %s; trying what it worked on one by one", death)
            worker.start_again(mender.mend(worker.given[0]))


class _Death(Exception):
    """The end of a worker; signal: what killed it, or 0."""

    def __init__(self, status: int | None) -> None:
        self.signal = -min(status or 0, 0)
        super().__init__(f"was killed by signal {self.signal}" if self.signal else f"ended with status {status}")

    def error(self) -> RunError:
        """What ends the work."""
        return RunError(f"a worker process {self}, perhaps for want of memory; fewer --workers need less")


class _Mender:
    """Finds what crashes workers."""

    def __init__(self, function: Callable) -> None:
        self._function, self._unexplained = function, False

    def mend(self, task: list) -> list:
        """The task without the items that crash a process."""
        mended = [None if crashes else item for item, crashes in zip(task, self._try_alone(task))]
        if mended == task:
            if self._unexplained:
                raise RunError("worker processes crashed twice, on nothing that crashes one alone; is the machine's "
                               "memory sound, and is OpenCV the version of requirements.txt?")
            self._unexplained = True
            log.warning("nothing of it crashes alone; doing it again")
        return mended

    def _try_alone(self, task: list) -> Iterator[bool]:
        worker = None
        try:
            for item in task:
                worker = worker or _Worker(self._function, 0)
                worker.give([item])
                try:
                    worker.result()
                except _Death as death:
                    if death.signal not in CRASHES:
                        raise death.error() from None
                    worker.stop()
                    worker = None
                except Exception as error:
                    log.debug("%s", error)  # it is raised again at its task's turn
                yield worker is None
        finally:
            if worker is not None:
                worker.stop()


class _Worker:
    """One process with a pipe to it and a pipe back; `given`: its tasks without a result so far."""

    def __init__(self, function: Callable, number: int) -> None:
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
        with contextlib.suppress(OSError):  # the pipe is broken: `result` tells
            self._tasks.send(task)

    def result(self) -> object:
        """That of the first of its tasks; _Death where the process is no more."""
        try:
            value, error = self._results.receive()
        except (EOFError, OSError):
            self._process.join(2)
            raise _Death(self._process.exitcode) from None
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
    """A worker's life: tasks in, results out, until the pipe closes, from whichever side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
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
    """Empty the pipe at once, so that the parent never waits to hand a task over; end with the parent."""
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

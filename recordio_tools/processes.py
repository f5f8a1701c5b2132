"""Work shared out to processes, in order and in bounded memory; none of them outlives the one that started them."""
from __future__ import annotations

import collections
import multiprocessing
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection
from typing import Callable, Iterable, Iterator, TypeVar

from common.errors import RunError
from recordio_tools.transport import Slots, both_ends

Task = TypeVar("Task")
Result = TypeVar("Result")
AHEAD = 3  # tasks that a worker has been given and not yet been asked for
PRELOAD = ["cv2", "numpy"]  # by the one process that all workers are forked from


def process_map(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Yield function(task) in the order of `tasks`; `function`, tasks and results must pickle.

    Task i goes to worker i mod `workers`, so the order needs no bookkeeping, and each worker is AHEAD tasks ahead at
    most. What the arrays of a result hold is there until the next result is asked for. An exception of `function` is
    raised at its task's turn. RunError where a worker dies. When the generator is closed, or this process ends in
    whatever way, the workers end at once.
    """
    pool = [_Worker(function, number) for number in range(workers)]
    try:
        waiting: collections.deque = collections.deque()
        number = 0
        for task in tasks:
            worker = pool[number % workers]
            if len(waiting) == AHEAD * workers:
                yield waiting.popleft().result()  # the same worker's: there are as many tasks between its own
            worker.give(task)
            waiting.append(worker)
            number += 1
        while waiting:
            yield waiting.popleft().result()
    finally:
        for worker in pool:
            worker.stop()


class _Worker:
    """One process with a pipe to it and a pipe back."""

    def __init__(self, function: Callable, number: int) -> None:
        # Forked from a small server process: quick, without this process's memory, threads and open files.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*PRELOAD, *filter(None, [function.__module__])])
        tasks, self._tasks = context.Pipe(duplex=False)
        self._results, results = both_ends(context, AHEAD)
        self._process = context.Process(target=_work, args=(function, tasks, results), name=f"worker-{number}",
                                        daemon=True)
        self._process.start()
        tasks.close()
        results.close()

    def give(self, task: object) -> None:
        try:
            self._tasks.send(task)
        except OSError:  # the pipe is broken
            self._died()

    def result(self) -> object:
        try:
            value, error = self._results.receive()
        except (EOFError, OSError):
            self._died()
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

    def _died(self) -> None:
        self._process.join(2)
        status = self._process.exitcode
        how = f"was killed by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
        raise RunError(f"a worker process {how}, perhaps for want of memory; fewer --workers need less") from None


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
            results.send(_result(function, given.get()))
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)


def _receive(tasks: Connection, given: queue.SimpleQueue) -> None:
    """Empty the pipe at once, so that the parent never waits to hand a task over; end with the parent."""
    try:
        while True:
            given.put(tasks.recv())
    except (EOFError, OSError):
        os._exit(0)


def _result(function: Callable, task: object) -> tuple[object, Exception | None]:
    try:
        return function(task), None
    except Exception as error:
        return None, error

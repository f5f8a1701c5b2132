"""Pool of workers: an ordered map in bounded memory, by threads or by processes.

Threads suffice where the work is decoding, which releases the GIL, and take any function. Processes pay off where it is
mostly Python, and survive a decoder that crashes.
"""
from __future__ import annotations

import collections
import concurrent.futures
import itertools
import logging
import signal
from typing import Callable, Generator, Iterable, Iterator, TypeVar

from common.errors import RunError
from common.worker_process import AHEAD, Death, Worker

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Task = TypeVar("Task")
Result = TypeVar("Result")
CHUNK = 16  # items that a thread takes at a time, so that handing them over costs little
CRASHES = frozenset([signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL])


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int,
                chunk: int = CHUNK) -> Generator[Result, None, None]:
    """Yield function(item) in the order of `items`, computed by `workers` threads a few chunks ahead.

    chunk: items that a thread takes at a time.
    An exception of `function` is raised at its item's position, whatever the number of workers.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    source = iter(items)
    chunks = iter(lambda: list(itertools.islice(source, chunk)), [])
    pending: collections.deque = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            pending.extend(pool.submit(_apply, function, chunk) for chunk in itertools.islice(chunks, 3 * workers))
            while pending:
                results, error = pending.popleft().result()
                pending.extend(pool.submit(_apply, function, chunk) for chunk in itertools.islice(chunks, 1))
                yield from results
                if error is not None:
                    raise error
        finally:
            for future in pending:
                future.cancel()


def _apply(function: Callable[[Item], Result], chunk: list[Item]) -> tuple[list[Result], Exception | None]:
    results = []
    for item in chunk:
        try:
            results.append(function(item))
        except Exception as error:  # passed on, so that results before it come out first
            return results, error
    return results, None


def process_map(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, find_crashes: bool = False
                ) -> Generator[Result, None, None]:
    """Yield function(task) in the order of `tasks`; `function`, tasks and results must pickle.

    Task i goes to worker i mod `workers`, so the order needs no bookkeeping, and each worker is AHEAD tasks ahead at
    most. The arrays of a result are valid until the next result is requested. An exception of `function` is raised at
    its task's position. RunError where a worker dies. When the generator is closed, or this process ends in any way,
    the workers end at once.

    find_crashes: tasks are lists; one that crashes its worker is done again, with None in place of each item that
    crashes a process when it is the only one of its task. RunError where an unexplained crash occurs twice.
    """
    pool = [Worker(function, number) for number in range(workers)]
    finder = _CrashFinder(function) if find_crashes else None
    try:
        waiting: collections.deque = collections.deque()
        number = 0
        for task in tasks:
            worker = pool[number % workers]
            if len(waiting) == AHEAD * workers:
                yield _result(waiting.popleft(), finder)  # the same worker's: so many tasks are between its own
            worker.give(task)
            waiting.append(worker)
            number += 1
        while waiting:
            yield _result(waiting.popleft(), finder)
    finally:
        for worker in pool:
            worker.stop()


def _result(worker: Worker[Result], finder: _CrashFinder | None) -> Result:
    while True:
        try:
            return worker.result()
        except Death as death:
            if finder is None or death.signal not in CRASHES:
                raise death.error() from None
            log.warning("a worker process %s; retrying its items one by one", death)
            worker.start_again(finder.without_crashing(worker.given[0]))


class _CrashFinder:
    """Finds what crashes workers."""

    def __init__(self, function: Callable) -> None:
        self._function, self._unexplained = function, False

    def without_crashing(self, task: list) -> list:
        """The task without the items that crash a process."""
        rest = [None if crashes else item for item, crashes in zip(task, self._try_alone(task))]
        if rest == task:
            if self._unexplained:
                raise RunError("worker processes crashed twice, and none of the items crashes one alone; "
                               "is the machine's memory faulty, or OpenCV not the version of requirements.txt?")
            self._unexplained = True
            log.warning("none of its items crashes alone; retrying")
        return rest

    def _try_alone(self, task: list) -> Iterator[bool]:
        worker = None
        try:
            for item in task:
                worker = worker or Worker(self._function, 0)
                worker.give([item])
                try:
                    worker.result()
                except Death as death:
                    if death.signal not in CRASHES:
                        raise death.error() from None
                    worker.stop()
                    worker = None
                except Exception as error:
                    log.debug("%s", error)  # raised again at its task's position
                yield worker is None
        finally:
            if worker is not None:
                worker.stop()

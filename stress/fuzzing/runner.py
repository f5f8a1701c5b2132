"""Runs cases in separate processes, so that crashes, hangs and memory are detected and attributed to a case."""
from __future__ import annotations

import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Callable, Generator, Iterable, Iterator, Tuple

import cv2

from common.own_memory import own_peak_memory
from common.signals import ended_with_parent
from stress.fuzzing.cases import Case, Corpus, make_case, write_sound
from stress.fuzzing.pickles import CANARY
from stress.fuzzing.readers import READERS, quiet, run

MEBIBYTE = 1 << 20
Ticket = Tuple[str, int, int]  # kind, seed and number of a case


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of a case: seconds, and mebibytes above the process's memory before its first."""

    seconds: float = 20.0
    memory: int = 1024


@dataclasses.dataclass
class Outcome:
    """The outcome of a case: its readers' results ('read', 'refused'), and each failure as (what, details)."""

    ticket: Ticket
    ends: dict[str, str] = dataclasses.field(default_factory=dict)
    failures: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    memory: int = 0


def run_case(case: Case, folder: Path) -> Outcome:
    """Put the files into `folder`, which must not exist, go there, and run every reader over them."""
    outcome = Outcome(("", 0, 0))
    for name, data in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    os.chdir(folder)
    began = time.perf_counter()
    for name, reader in READERS[case.reader](folder):
        try:
            outcome.ends[name] = run(name, reader)
        except BaseException as error:
            outcome.failures.append((f"{name}: {type(error).__name__}", traceback.format_exc()))
        if os.path.lexists(CANARY):
            outcome.failures.append((f"{name}: a pickle was executed", ""))
            shutil.rmtree(CANARY, ignore_errors=True)
            Path(CANARY).unlink(missing_ok=True)
    outcome.seconds = time.perf_counter() - began
    return outcome


def run_all(corpus: Corpus, tickets: Iterable[Ticket], scratch: Path, workers: int, limits: Limits,
            make: Callable[[Ticket], Case] | None = None) -> Generator[Outcome, None, None]:
    """The outcomes of all cases, as they end; `make` gives the case of a ticket (default: cases.make_case)."""
    write_sound(corpus, scratch)
    cv2.setNumThreads(1)  # ends OpenCV's threads, for which a fork would wait for ever
    make = make or (lambda ticket: make_case(corpus, *ticket))
    source = iter(tickets)
    running: dict[Connection, _Worker] = {}
    try:
        for number in range(workers):
            _begin(_Worker(scratch / str(number), make, limits), source, running)
        while running:
            ready = multiprocessing.connection.wait(list(running), timeout=0.2)
            for connection in [connection for connection in running if connection in ready]:
                worker = running.pop(connection)
                outcome = worker.result()
                yield outcome
                if outcome.failures:  # its leftovers in the process must not count for the next
                    worker.end()
                    worker = _Worker(worker.folder, make, limits)
                _begin(worker, source, running)
            for connection, worker in list(running.items()):
                if time.monotonic() - worker.began > limits.seconds:
                    del running[connection]
                    worker.end()
                    yield Outcome(worker.ticket, failures=[("hang", f"more than {limits.seconds:g} s")],
                                  seconds=limits.seconds)
                    _begin(_Worker(worker.folder, make, limits), source, running)
    finally:
        for worker in running.values():
            worker.end()


def _begin(worker: _Worker, source: Iterator[Ticket], running: dict[Connection, _Worker]) -> None:
    ticket = next(source, None)
    if ticket is None:
        worker.end()
    else:
        worker.start(ticket)
        running[worker.connection] = worker


class _Worker:
    def __init__(self, folder: Path, make: Callable[[Ticket], Case], limits: Limits) -> None:
        self.folder = folder
        self.ticket, self.began = ("", 0, 0), 0.0
        context = multiprocessing.get_context("fork")
        self.connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, folder, make, limits), daemon=True)
        self._process.start()
        other.close()

    def start(self, ticket: Ticket) -> None:
        self.ticket, self.began = ticket, time.monotonic()
        self.connection.send(ticket)

    def result(self) -> Outcome:
        try:
            outcome = self.connection.recv()
            return dataclasses.replace(outcome, ticket=self.ticket)
        except (EOFError, ConnectionError):
            self._process.join(5)
            code = self._process.exitcode
            name = signal.Signals(-code).name if code and code < 0 else f"exit {code}"
            return Outcome(self.ticket, failures=[(f"crash: {name}", "the process ended")])

    def end(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()


def _work(connection: multiprocessing.connection.Connection, folder: Path,
          make: Callable[[Ticket], Case], limits: Limits) -> None:
    """Run cases until the other end closes; more memory than allowed is a MemoryError, or is seen in the peak."""
    ended_with_parent(signal.SIGKILL)
    quiet()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # decoders write there
        os.dup2(nothing, stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if os.path.exists(
        "/proc/self/statm") else 0
    if size:
        bound = size + 3 * limits.memory * MEBIBYTE  # address space, of which threads and arenas reserve much
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            ticket = connection.recv()
        except (EOFError, OSError):
            return
        shutil.rmtree(folder, ignore_errors=True)
        case = make(ticket)
        base = _restart_peak()
        outcome = run_case(case, folder)
        outcome.memory = own_peak_memory() // MEBIBYTE - base
        if outcome.memory > limits.memory:
            outcome.failures.append(("memory", f"{outcome.memory} MiB"))
        os.chdir("/")
        connection.send(outcome)


def _restart_peak() -> int:
    """Reset the peak memory of this process where possible (Linux), and return it in MiB.

    Without that a process that once held more, or whose parent did, could take up as much again unseen.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    return own_peak_memory() // MEBIBYTE

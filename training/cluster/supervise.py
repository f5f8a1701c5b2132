"""Runs the processes of a distributed training, and ends them all when the first fails."""
from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import BinaryIO, cast

from common.signals import handled
from training.cluster.roles import Role
from training.cluster.variables import TAKEN, PortTaken

log = logging.getLogger(__name__)
STOPPED = 130  # exit status of a worker after a signal, its state saved
BY_SIGNAL = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # of one that the signal ended
LOOK_EVERY = 0.05
FAREWELL = 3.0  # seconds from SIGTERM to SIGKILL for those that are ended
LINGER = 15.0  # seconds in which scheduler and servers end by themselves after the workers
KINDS = ("worker", "server", "scheduler")  # where several have ended at once, whose status is reported


class Process:
    """A running role: its output is prefixed, and signals go to its process group."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.threads: list[threading.Thread] = []
        self._process = subprocess.Popen(role.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, start_new_session=True)
        self._orders = cast(BinaryIO, self._process.stdin)

    def pass_output_on(self, lock: threading.Lock) -> None:
        """Start the threads that write its lines to this process's own output."""
        for source, sink in ((self._process.stdout, sys.stdout), (self._process.stderr, sys.stderr)):
            thread = threading.Thread(target=_pass_on, args=(source, sink.buffer, self.role.name, lock), daemon=True)
            thread.start()
            self.threads.append(thread)

    def status(self) -> int | None:
        """None while it runs; the exit status, 128 + N where signal N ended it."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def send(self, name: str) -> None:
        """Send the signal `name` (INT, TERM, KILL) to the group."""
        with contextlib.suppress(OSError, ValueError):  # it has just ended
            self._orders.write(name.encode() + b"\n")
            self._orders.flush()

    def bury(self) -> None:
        """Ensure that no process of the group is left on this machine."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError, ValueError):
            self._orders.close()  # through ssh, this ends the group


def _pass_on(source: BinaryIO, sink: BinaryIO, name: str, lock: threading.Lock) -> None:
    for line in source:
        with lock, contextlib.suppress(OSError, ValueError):  # a closed pipe does not matter
            sink.write(f"[{name}] ".encode() + line.rstrip(b"\r\n") + b"\n")
            sink.flush()


class _Signals:
    """Counts the signals that ask this process to stop."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def note(self, number: int, frame: object) -> None:
        self.names.append("INT" if number == signal.SIGINT else "TERM")


def supervise(roles: list[Role], grace: float) -> int:
    """Start the roles and supervise them to their end; the overall exit status.

    0 where all workers ended with 0. The status of the first role that failed, after a line that names it. 130 where a
    signal came: it goes to the workers, which have `grace` seconds to save and leave; a second one ends all at once.
    PortTaken where that is why the scheduler ended. No process that was started here is left running.
    """
    signals, lock = _Signals(), threading.Lock()
    processes: list[Process] = []
    with handled(signals.note):
        try:
            for role in roles:  # all of them before the first thread, since starting a process forks this one
                processes.append(Process(role))
            for process in processes:
                process.pass_output_on(lock)
            return _watch(processes, signals, grace)
        finally:
            _end(processes)


def _watch(processes: list[Process], signals: _Signals, grace: float) -> int:
    workers = [process for process in processes if process.role.kind == "worker"]
    deadline = early = None
    while True:
        now = [(process, process.status()) for process in processes]
        # The signal may have reached a worker before it could handle it, or while it waits for others.
        ended = {process: STOPPED if signals.names and status in BY_SIGNAL else status
                 for process, status in now if status is not None}
        failed = [process for process, status in ended.items() if status not in (0, STOPPED)]
        if any(process.role.kind == "scheduler" and ended[process] == TAKEN for process in failed):
            raise PortTaken("the scheduler's port is taken; `port` names another")
        if failed:
            first = min(failed, key=lambda process: KINDS.index(process.role.kind))
            log.error("[launch] %s%s %s; ending the others", first.role.name, first.role.place,
                      describe_failure(ended[first], first.role.kind))
            return ended[first]
        if all(worker in ended for worker in workers):
            _wait(processes, LINGER)
            return max(ended[worker] for worker in workers)
        if deadline is None and (signals.names or STOPPED in ended.values()):
            deadline = time.monotonic() + grace
            name = signals.names[0] if signals.names else "TERM"
            log.warning("[launch] SIG%s: the workers finish this step and save; once more to end them at once", name)
            for worker in workers:
                worker.send(name)
        if deadline is not None and (len(signals.names) > 1 or time.monotonic() > deadline):
            why = "once more" if len(signals.names) > 1 else f"{grace:g} seconds have passed"
            log.error("[launch] %s: ending %s without waiting", why,
                      ", ".join(worker.role.name for worker in workers if worker not in ended))
            return STOPPED
        if any(process not in workers for process in ended):
            early = early or time.monotonic() + LINGER
            if time.monotonic() > early:
                first = next(process for process in ended if process not in workers)
                log.error("[launch] %s%s ended before the workers; ending them", first.role.name, first.role.place)
                return 1
        time.sleep(LOOK_EVERY)


def describe_failure(status: int, kind: str = "worker") -> str:
    """How a role of this kind that ended with `status` failed."""
    if status > 128:
        with contextlib.suppress(ValueError):
            name = signal.Signals(status - 128).name
            unreadable = name == "SIGABRT" and kind != "worker"
            why = ", as it is by a message that MXNet cannot read" if unreadable else ""
            return f"was killed by {name} (status {status}){why}"
    return f"failed with exit status {status}"


def _wait(processes: list[Process], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(process.status() is None for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY)
    return True


def _end(processes: list[Process]) -> None:
    for name in ("TERM", "KILL"):
        left = [process for process in processes if process.status() is None]
        for process in left:
            process.send(name)
        if _wait(left, FAREWELL):
            break
    for process in processes:
        process.bury()
    for thread in (thread for process in processes for thread in process.threads):
        thread.join(1.0)  # the last lines

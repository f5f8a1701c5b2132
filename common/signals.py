"""Ctrl-C, SIGTERM and SIGHUP: all end a command as Ctrl-C does; a training first finishes its step and saves."""
from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Callable, Collection, Iterator, NoReturn, Union

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LIBC, PR_SET_PDEATHSIG = ctypes.CDLL(None), 1
Handler = Union[Callable[[int, Any], Any], int, None]


@contextlib.contextmanager
def handled(handler: Handler, numbers: Collection[signal.Signals] = STOPS) -> Iterator[None]:
    """Inside the block `handler` handles these signals, except a SIGHUP that is ignored, as under nohup.

    The previous handlers are restored afterwards. It has no effect in threads other than the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number, there in before.items() if number != signal.SIGHUP or there is not signal.SIG_IGN]
    try:
        for number in taken:
            signal.signal(number, handler)
        yield
    finally:
        for number in taken:
            there = before[number]
            signal.signal(number, signal.SIG_DFL if there is None else there)


def left_to_system(numbers: Collection[signal.Signals]) -> None:
    """From now on the system ends this process at these signals: a handler of Python's waits for C++ code to return."""
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)


def ended_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """From now on this process is sent the signal when the thread that started it ends, however that was killed; on
    Linux, which knows this."""
    with contextlib.suppress(AttributeError):  # prctl
        LIBC.prctl(ctypes.c_int(PR_SET_PDEATHSIG), ctypes.c_ulong(number))


def stoppable() -> contextlib.AbstractContextManager[None]:
    """Inside the block SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does, so that partial output is
    removed."""
    return handled(_interrupt, (signal.SIGTERM, signal.SIGHUP))


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Inside the block signals that stop a process are deferred until its end. Their handlers are replaced: a signal
    that only the main thread blocked would reach another one, as that of a progress bar, and Python's handler would
    run in the main thread all the same."""
    came: list[int] = []
    try:
        with handled(lambda number, frame: came.append(number)):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


class Stopped(Exception):
    """A signal came within `Signals.interruptible`."""


class Signals:
    """Handles the signals that end a process while it is entered: the first may request an orderly end.

    asked: one of them came. Until `orderly` is called (a run that is starting has nothing to save) the first one raises
    KeyboardInterrupt, and so does the second in any case.
    """

    def __init__(self) -> None:
        self.asked = False
        self._orderly = self._interruptible = False
        self._handled = handled(self._take)

    def orderly(self) -> None:
        """From now on the first signal only sets `asked`."""
        self._orderly = True

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Work that may be abandoned when a signal comes: it then raises Stopped."""
        self._interruptible = True
        try:
            if self.asked:  # the signal came just before
                raise Stopped
            yield
        finally:
            self._interruptible = False

    def _take(self, number: int, frame: FrameType | None) -> None:
        first, self.asked = not self.asked, True
        if not (first and self._orderly):
            raise KeyboardInterrupt
        # Not by logging: the signal may have come in the middle of a write to the same stream.
        with contextlib.suppress(OSError):
            os.write(2, f"{signal.Signals(number).name}: finishing this step and saving; once more to leave at once\n"
                     .encode())
        if self._interruptible:
            raise Stopped

    def __enter__(self) -> Signals:
        self._handled.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._handled.__exit__(None, None, None)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt

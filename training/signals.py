"""Ctrl-C, SIGTERM and SIGHUP: the first asks for an orderly end, the second ends at once."""
from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Iterator

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """A signal came within `Signals.interruptible`."""


class Signals:
    """Takes the signals that end a process while it is entered; the handlers that were there come back after it.

    asked: one of them came. Until `orderly` is called (a run that is starting has nothing to save) the first one raises
    KeyboardInterrupt, and so does the second in any case.
    """

    def __init__(self) -> None:
        self.asked = False
        self._orderly = self._interruptible = False

    def orderly(self) -> None:
        """From now on the first signal only sets `asked`."""
        self._orderly = True

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Work that may be given up when a signal comes: it then raises Stopped."""
        self._interruptible = True
        try:
            if self.asked:  # it came just before
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
        self._before = {number: signal.getsignal(number) for number in NUMBERS}
        for number, handler in self._before.items():
            if number != signal.SIGHUP or handler is not signal.SIG_IGN:  # nohup ignores it, and goes on
                signal.signal(number, self._take)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

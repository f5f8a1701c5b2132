"""Writes states in the background during training: one at a time, by a thread of its own."""
from __future__ import annotations

import threading
from typing import Callable


class GivenUp(BaseException):
    """The write was cancelled; its partial output is removed."""


class BackgroundWriter:
    """Runs one write at a time in parallel with training.

    Any exception of a write is raised once by the next `check`, `wait` or `begin`.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._given_up = threading.Event()

    def begin(self, write: Callable[[], object]) -> None:
        """Start `write` once the one before has ended."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(write,), name="state")
        self._thread.start()

    def check(self) -> None:
        """Raise what a write that has ended raised. Does not wait."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Wait for the write to end, and raise what it raised."""
        self._join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self, give_up: bool = False) -> None:
        """Wait for the write to end, or cancel it where possible; its exceptions are dropped."""
        if give_up:
            self._given_up.set()
        self._join()
        self._error = None

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def may_go_on(self) -> None:
        """For a write to call where it may be cancelled; raises GivenUp where it is."""
        if self._given_up.is_set():
            raise GivenUp

    def _run(self, write: Callable[[], object]) -> None:
        try:
            write()
        except BaseException as error:  # passed to the training thread, which raises it
            self._error = error

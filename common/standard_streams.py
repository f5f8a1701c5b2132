"""Makes the standard streams usable, however the command was started."""
from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Iterable, Iterator, TextIO

from common.files import open_number
from common.foreign import ShownStream


def open_missing_streams() -> None:
    """Open closed ones, so that no file gets their descriptors; what a stream cannot encode is backslash-escaped.

    Libraries write to descriptor 2 whatever lies behind it, and a path may have bytes that are not valid text.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stderr, Unfailing):
        sys.stderr = Unfailing(sys.stderr)
    if not isinstance(sys.stdout, ShownStream):  # stderr has the log and the errors, and a progress bar that moves
        sys.stdout = ShownStream(sys.stdout)


class Unfailing:
    """stderr that loses what cannot be written, as on a full disk or to a reader that is gone: no work ends for that.

    All else is the stream's own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write; the length of the text that was given."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: closed
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what waits."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def text_apart(arguments: Iterable[Any]) -> Iterator[None]:
    """Inside the block, where one of a command's arguments names the standard output as a file to write, what is
    printed goes to stderr, so that the file alone arrives where standard output goes."""
    names = (os.fspath(value) for value in arguments if isinstance(value, (str, os.PathLike)))
    if not any(isinstance(name, str) and open_number(name) == 1 for name in names):
        yield
        return
    before = sys.stdout
    sys.stdout = _OnStderr(before)
    try:
        yield
    finally:
        sys.stdout = before


class _OnStderr(ShownStream):
    """Text for stderr, by a stream whose descriptor is that of standard output."""

    def __init__(self, stdout: TextIO) -> None:
        super().__init__(sys.stderr)
        self._stdout = stdout

    def fileno(self) -> int:
        """Of standard output, where a file of that name is written."""
        return self._stdout.fileno()

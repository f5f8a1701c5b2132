"""Keeping what C++ libraries say of no account from the user's screen."""
from __future__ import annotations

import contextlib
import os
import sys
from typing import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside the block nothing that the process writes to stderr arrives, by whatever library; errors are raised still.

    It holds for all threads, so only short calls belong inside.
    """
    with contextlib.suppress(AttributeError, ValueError):  # no stderr, or a closed one
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # closed: nothing would arrive
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def silence_libraries() -> None:
    """From now on what C and C++ libraries write to stderr goes nowhere; Python's own stderr is as before.

    For commands: decoders complain of damaged files there, of which the commands tell themselves.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        sys.stderr.flush()
        if sys.stderr.fileno() != 2:
            return
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no stderr, or a closed one
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = open(kept, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")

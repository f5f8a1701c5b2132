"""Suppresses irrelevant output of C++ libraries."""
from __future__ import annotations

import contextlib
import os
import sys
from typing import Iterator

from common.standard_streams import Unfailing


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside the block the process's stderr is discarded, whichever library writes to it; errors are still raised.

    It affects all threads, so only short calls belong inside.
    """
    with contextlib.suppress(AttributeError, ValueError):  # no stderr, or a closed one
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # closed: nothing would be shown
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
    """From now on what C and C++ libraries write to stderr is discarded; Python's own stderr is unchanged.

    For commands: decoders write about damaged files there, which the commands report themselves.
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
    sys.stderr = Unfailing(open(kept, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace"))

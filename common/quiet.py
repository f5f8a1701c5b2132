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

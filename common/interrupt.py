"""Ctrl-C while a command still imports its packages, before `common.cli.run` can catch it."""
from __future__ import annotations

import sys
from types import TracebackType


def end_quietly() -> None:
    """From now on an interrupt that nothing catches ends this process as it ends a command: one word, status 130.

    For a command alone, before its other imports: a program that imports these packages keeps its own ways.
    """
    before = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, error, trace)
            return
        try:
            sys.stderr.write("interrupted\n")
        except (AttributeError, OSError, ValueError):  # there is no stderr, or no one who reads it
            pass
        raise SystemExit(130)

    sys.excepthook = tell

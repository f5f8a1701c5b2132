"""Standard streams as a command needs them, whatever it was started with."""
from __future__ import annotations

import os
import sys

from common.foreign import ShownStream


def mend_streams() -> None:
    """Open what was closed, so that no file of ours takes its number; what a stream cannot encode gets backslashes.

    Libraries write to descriptor 2 whatever lies behind it, and a path may have bytes that are no text.
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
        if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stdout, ShownStream):  # stderr has the log and the errors, and a progress bar that moves
        sys.stdout = ShownStream(sys.stdout)

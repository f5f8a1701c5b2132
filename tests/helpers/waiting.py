"""Waiting for what other processes do, without a guess at how long that takes: the bound is for a hang alone."""
from __future__ import annotations

import time
from pathlib import Path

HANG = 600  # seconds


def wait_until(what, process=None):
    """Wait for `what()` to be true; False where `process` has ended before. A hang is an error."""
    deadline = time.monotonic() + HANG
    while not what():
        if process is not None and process.poll() is not None:
            return bool(what())
        assert time.monotonic() < deadline, "a hang"
        time.sleep(0.02)
    return True


def alive(pid):
    """Whether the process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def read_until(stream, words):
    """The lines of a text stream up to the first with `words` in it."""
    lines = []
    for line in stream:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"{words!r} is not in {lines}")

"""Fault injection: signals at chosen moments, and a full disk."""
from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, Iterator

POLL = 0.002
WAIT = 60.0  # for a moment that may not come, as at the end of a run


class Disk:
    """Makes the disk of a run full, and frees it again.

    With root it is a small memory disk, filled by a file; else the system refuses the process any longer file
    (`setrlimit`), which ends in an error (EFBIG, not ENOSPC) of the same calls.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.filler = folder, folder / "filler"
        folder.mkdir(parents=True, exist_ok=True)
        self.mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)],
                                      capture_output=True).returncode == 0

    def fill(self, process: subprocess.Popen) -> None:
        """From now on every write of the process fails for lack of space."""
        if not self.mounted:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return
        with contextlib.suppress(OSError), open(self.filler, "wb", buffering=0) as stream:
            while True:
                stream.write(b"\0" * (1 << 16))

    def free(self) -> None:
        """Free the space again."""
        self.filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount the memory disk."""
        if self.mounted:
            subprocess.run(["umount", str(self.folder)], check=True)


def until(process: subprocess.Popen, come: Callable[[], bool]) -> None:
    """Wait until `come()`, the process ends, or it takes too long."""
    end = time.monotonic() + WAIT
    while process.poll() is None and time.monotonic() < end and not come():
        time.sleep(POLL)


def a_state_is_written(run: Path) -> bool:
    """Whether a partial state exists."""
    return any((run / "state").glob(".*.tmp"))


def a_checkpoint_is_written(run: Path) -> bool:
    """Whether a partial checkpoint exists."""
    return any(run.glob(".model-*.tmp"))


def until_held(process: subprocess.Popen) -> None:
    """Wait until the process stops itself (SIGSTOP), or ends."""
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def release(process: subprocess.Popen) -> None:
    """Continue a process that stopped itself (SIGCONT)."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)


def end_by(process: subprocess.Popen, numbers: list[signal.Signals], pause: float = 0.05) -> None:
    """Send the signals one after the other, and wait for the end."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        release(process)
        time.sleep(pause if len(numbers) > 1 else 0)
    process.wait()


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """A Disk, as a context."""
    made = Disk(folder)
    try:
        yield made
    finally:
        made.close()

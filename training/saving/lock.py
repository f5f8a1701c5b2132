"""One run per folder: a lock that the system releases with its process, however that ends."""
from __future__ import annotations

import fcntl
import os
import re
import socket
from pathlib import Path
from types import TracebackType

from common.errors import UserError
from training.saving.names import LOCK
from training.saving.plain_files import kind, open_plain

HOLDER = re.compile(rb"(process \d+ on [^\n]*\n?)?\Z")


class RunLock:
    """Holds `folder` for this process until it is closed; UserError where another one holds it.

    The file remains; whether the lock is held is known to the system (flock), so that a killed run leaves nothing to
    clean up. On file systems without locks, runs are not kept from each other.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = _open(folder, os.O_RDWR | os.O_CREAT)
        try:
            if not _lock(self._handle, folder, fcntl.LOCK_EX):
                return
        except UserError:
            os.close(self._handle)
            raise
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def close(self) -> None:
        """Release the folder."""
        os.close(self._handle)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def check_lock(folder: Path) -> None:
    """UserError where RunLock(folder) would raise it; nothing is made or kept."""
    if kind(folder / LOCK):
        handle = _open(folder, os.O_RDWR)
        try:
            _lock(handle, folder, fcntl.LOCK_SH)
        finally:
            os.close(handle)


def _open(folder: Path, flags: int) -> int:
    try:
        handle = open_plain(folder / LOCK, flags, only_name=True)
        if not HOLDER.match(os.pread(handle, 400, 0)):
            os.close(handle)
            raise ValueError("no run here wrote it")
        return handle
    except ValueError as error:
        raise UserError(f"`prefix`: {folder / LOCK} is in the place of a run's lock ({error}); move it away, "
                        "or give this run a folder of its own") from None
    except OSError as error:
        raise UserError(f"`prefix`: {folder / LOCK} cannot be written ({error.strerror})") from None


def _lock(handle: int, folder: Path, how: int) -> bool:
    """Lock the handle; False on a file system without locks. UserError where another process holds it."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
        raise UserError(f"`prefix`: another run uses {folder} ({holder}); wait until it ends, or stop it, or give "
                        "this one a folder of its own") from None
    except OSError:
        return False

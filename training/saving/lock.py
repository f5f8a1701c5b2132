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
from training.saving.plain_files import open_plain

HOLDER = re.compile(rb"(process \d+ on [^\n]*\n?)?\Z")


class RunLock:
    """Holds `folder` for this process until it is closed; UserError where another one holds it.

    The file remains; whether the lock is held is known to the system (flock), so that a killed run leaves nothing to
    clean up. On file systems without locks, runs are not kept from each other.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._handle = open_plain(folder / LOCK, os.O_RDWR | os.O_CREAT, only_name=True)
            if not HOLDER.match(os.pread(self._handle, 400, 0)):
                os.close(self._handle)
                raise ValueError("no run here wrote it")
        except ValueError as error:
            raise UserError(f"`prefix`: {folder / LOCK} is in the place of a run's lock ({error}); move it away, "
                            "or give this run a folder of its own") from None
        except OSError as error:
            raise UserError(f"`prefix`: {folder / LOCK} cannot be written ({error.strerror})") from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
            os.close(self._handle)
            raise UserError(f"`prefix`: another run uses {folder} ({holder}); wait until it ends, or stop it, or give "
                            "this one a folder of its own") from None
        except OSError:
            return
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

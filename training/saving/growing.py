"""A file that only grows, by whole pieces: rows of metrics.jsonl, TensorBoard's events."""
from __future__ import annotations

import contextlib
import os
from pathlib import Path


class GrowingFile:
    """Appends to `path`, unbuffered, so that a kill loses nothing that was written.

    A piece that does not fit on the disk is taken back, and its OSError names the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o644)
        self.size = os.fstat(self._handle).st_size

    def append(self, piece: bytes) -> None:
        """Write `piece` behind what is there, all of it or nothing."""
        written = 0
        try:
            while written < len(piece):
                written += os.write(self._handle, piece[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self.size)
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        self.size += len(piece)

    def sync(self) -> int:
        """Flush to the disk; the length."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        return self.size

    def close(self) -> None:
        """Close; what was appended is there already."""
        os.close(self._handle)


def cut(path: Path, length: int) -> bool:
    """Shorten `path` to `length`, or remove it for 0; False where it is shorter than that, or not there."""
    try:
        size = path.stat().st_size
        if not length:
            path.unlink()
        elif size > length:
            os.truncate(path, length)
        return size >= length
    except FileNotFoundError:
        return not length

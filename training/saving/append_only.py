"""Append-only files, written in whole pieces: rows of metrics.jsonl, TensorBoard events."""
from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from common.errors import UserError
from training.saving.plain_files import open_plain


class AppendOnlyFile:
    """Appends to `path`, unbuffered, so that a kill loses nothing that was written.

    new: the file must not exist yet. A piece that does not fit on the disk is removed again. Every OSError names the
    file, also that of a file which somebody removed, replaced or shortened meanwhile: what is written to it would be
    lost, and was.
    """

    def __init__(self, path: Path, new: bool = False) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_EXCL if new else 0)
        self._handle = _open(path, flags)
        self.size = os.fstat(self._handle).st_size

    def append(self, piece: bytes) -> None:
        """Append `piece`, all of it or nothing."""
        self.check()
        written = 0
        try:
            while written < len(piece):
                written += os.write(self._handle, piece[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self.size)
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        self.size += len(piece)

    def check(self) -> None:
        """OSError where the file at `path` is not the one written so far."""
        mine = os.fstat(self._handle)
        try:
            there = os.lstat(self.path)
        except OSError:
            raise OSError(errno.ENOENT, "was removed while the run was writing it", str(self.path)) from None
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            raise OSError(errno.ESTALE, "was replaced while the run was writing it", str(self.path))
        if mine.st_size < self.size:
            raise OSError(errno.EIO, f"has {mine.st_size} bytes instead of the {self.size} that the run wrote",
                          str(self.path))
        self.size = mine.st_size  # what something else added stays

    def length(self) -> int:
        """The file's length; OSError as by `check`."""
        self.check()
        return self.size

    def flush(self) -> None:
        """Flush to the disk what was appended before; another thread may append meanwhile."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def close(self) -> None:
        """Close; what was appended is already written."""
        os.close(self._handle)


def truncate(path: Path, length: int) -> bool:
    """Shorten `path` to `length`, or remove it for 0; False where it is shorter than that, or not there.

    UserError where it is not a regular file.
    """
    try:
        handle = _open(path, os.O_WRONLY)
    except FileNotFoundError:
        return not length
    try:
        size = os.fstat(handle).st_size
        if not length:
            path.unlink()
        elif size > length:
            os.ftruncate(handle, length)
        return size >= length
    finally:
        os.close(handle)


def _open(path: Path, flags: int) -> int:
    try:
        return open_plain(path, flags, only_name=True)
    except ValueError as error:
        raise UserError(f"{path} {error}: a run does not write there; move it away") from None

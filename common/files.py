"""Files that are either whole or not there."""
from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import BinaryIO, Iterator, Union

PathLike = Union[str, "os.PathLike[str]"]


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to the disk and rename it into place.

    When the block raises, the temporary file is removed and what stood at `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        fsync(temporary)
        os.replace(temporary, path)
        fsync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_atomic(path: PathLike, content: str | bytes) -> None:
    """Write text (UTF-8) or bytes to `path` so that a reader never sees half of it."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def fsync(path: PathLike) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_regular(path: PathLike) -> BinaryIO:
    """`path`, or what it links to, opened for reading where it is a regular file.

    ValueError, without the path, where it is a pipe, a device or a folder, which may have no end; OSError where it
    cannot be opened.
    """
    handle = -1
    if stat.S_ISREG(os.stat(path).st_mode):  # before it is opened, which some devices take for an order
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if handle < 0 or not stat.S_ISREG(os.fstat(handle).st_mode):
        if handle >= 0:
            os.close(handle)
        raise ValueError("is no regular file")
    return os.fdopen(handle, "rb")


def read_regular(path: PathLike, most: int) -> bytes:
    """What is in the regular file `path`; ValueError where it is none or holds more than `most` bytes."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise ValueError(f"holds {size} bytes, more than the {most} that such a file can need")
        return stream.read(size)  # and no more: files of /proc have a size of 0 and may have no end

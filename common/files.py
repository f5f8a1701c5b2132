"""Atomic files: complete or absent, and never over another process's."""
from __future__ import annotations

import contextlib
import errno
import functools
import json
import math
import os
import re
import shutil
import stat
import sys
import tempfile
from io import BufferedReader
from pathlib import Path
from typing import Any, Iterator

from common.errors import UserError
from common.leftovers import aside, remove_leftovers
from common.writable import PathLike, check_writable, is_stream

LONGEST = 100  # bytes of a file's name in that of its temporary file
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)  # of file systems without hard links
OPEN_FILE = re.compile(r"/dev/(?:(stdin|stdout|stderr)|fd/(\d+))|/proc/(?:self|thread-self)/fd/(\d+)")
STREAMS = ("stdin", "stdout", "stderr")


@contextlib.contextmanager
def atomic_path(path: PathLike, replace: bool = True, named: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to the disk and rename it into place.

    When the block raises, the temporary file is removed and what stood at `path` stays as it was; that of a process
    which was killed is removed by the next write of the same file. What is replaced keeps its permissions.
    replace: otherwise UserError where a file is there already, or is when the work is done.
    named: the user gave this path, so a link stays a link and its target is written, and a device, a pipe or an open
    stream (/dev/stdout) is written into; else, as in a folder that others may write to, these are replaced themselves.
    An OSError while writing names `path`, not the temporary file.
    """
    given, path = path, Path(path)
    if named and is_stream(path):
        with _naming(given), _into_stream(path) as temporary:
            yield temporary
        return
    _check_free(given, replace)
    path = Path(os.path.realpath(path)) if named else Path(os.path.realpath(path.parent)) / path.name
    with _naming(given, any_file=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path, ".tmp", _beginning(path.name))
        temporary = aside(path, ".tmp", _beginning(path.name))
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with _naming(given, temporary), _replacing(temporary, path, replace):
        os.chmod(temporary, _mode(path))
        yield temporary


def _beginning(name: str) -> str:
    return os.fsencode(name)[:LONGEST].decode("utf-8", "ignore")


@contextlib.contextmanager
def _replacing(temporary: Path, path: Path, replace: bool) -> Iterator[None]:
    """When the block is done, flush `temporary` to the disk and give it the name `path`; in any case it is removed."""
    try:
        yield
        fsync(temporary)
        if replace:
            os.replace(temporary, path)
        else:
            move_new(temporary, path)
        fsync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def _naming(path: PathLike, temporary: PathLike = "", any_file: bool = False) -> Iterator[None]:
    """An OSError in the block that names no file, or `temporary`, or where that can be, `any_file`, names `path`."""
    try:
        yield
    except OSError as error:
        ours = any_file or error.filename is None or os.fspath(error.filename) == os.fspath(temporary)
        if error.errno is None or not ours:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def check_new_file(path: PathLike, replace: bool) -> None:
    """Before the work: UserError where `path` is a folder, or, unless it may be replaced, a file that is there, or
    where no file can be written at all."""
    _check_free(path, replace)
    check_writable(path)


def _check_free(path: PathLike, replace: bool) -> None:
    if os.path.isdir(path):
        raise UserError(f"{path}: is a folder; expected a file to write")
    if not replace and os.path.exists(path) and not is_stream(Path(path)):
        raise UserError(f"{path}: already exists; name another file, or `overwrite` replaces it")


def move_new(source: PathLike, target: PathLike) -> None:
    """Rename a file to a name that must be free; UserError where something has come to be there meanwhile."""
    try:
        os.link(source, target)  # which, other than a rename, replaces nothing
    except FileExistsError:
        raise UserError(f"{target}: something else was written there meanwhile; name another file, or `overwrite` "
                        "replaces it") from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(target):
            raise UserError(f"{target}: something else was written there meanwhile") from None
        os.rename(source, target)
        return
    os.unlink(source)


def write_atomic(path: PathLike, content: str | bytes, replace: bool = True, named: bool = True) -> None:
    """Write text (UTF-8) or bytes to `path` so that a reader never sees half of it; the rest as for atomic_path.

    Bytes of file names that are not valid UTF-8 become escapes, which JSON reads back unchanged.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with atomic_path(path, replace, named) as temporary:
        temporary.write_bytes(data)


def write_json(path: PathLike, value: Any, named: bool = True) -> None:
    """Write a report or results as JSON, for readers and programs; the rest as for atomic_path."""
    write_atomic(path, json_text(value), named=named)


def json_text(value: Any, ascii_only: bool = False) -> str:
    """`value` as the text of a JSON file that strict readers take: a float that is not finite, and an interval of such,
    is null. ascii_only: other letters are escaped, for streams of any encoding."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=ascii_only, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """`value` with null for each float that is not finite, and for a list of nothing else."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        made = [_finite(one) for one in value]
        return None if made and all(map(_unknown, value)) else made
    return None if _unknown(value) else value


def _unknown(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


@contextlib.contextmanager
def _into_stream(path: Path) -> Iterator[Path]:
    """Yield a temporary file elsewhere; on success its content is written to what is at `path`, after what the stream
    of that name was given before."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "content"
        yield temporary
        with contextlib.suppress(AttributeError, ValueError):
            sys.stdout.flush()
        with open(temporary, "rb") as content, open(_handle(path), "wb") as stream:
            shutil.copyfileobj(content, stream)


def _handle(path: Path) -> int:
    """A descriptor to write to: an open stream's own, which shares its position, so that nothing is overwritten."""
    number = open_number(path)
    if number is None:
        return os.open(path, os.O_WRONLY | os.O_APPEND)
    handle: int = number
    with contextlib.suppress(AttributeError, IndexError, OSError, ValueError):
        handle = getattr(sys, STREAMS[number]).fileno()  # Python's own may have moved away from 1 and 2
    return os.dup(handle)


def open_number(path: PathLike) -> int | None:
    """The descriptor that `path` names, as /dev/stdout, /dev/fd/1 and /proc/self/fd/1 do; None of any other path."""
    found = OPEN_FILE.fullmatch(os.path.abspath(path))
    if found is None:
        return None
    name, *numbers = found.groups()
    return STREAMS.index(name) if name else int(next(filter(None, numbers)))


def _mode(path: Path) -> int:
    """The permissions of what is there, or those of a new file."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return new_mode()


@functools.lru_cache(maxsize=None)
def new_mode() -> int:
    """The permissions of a new file; asked for once, since reading the umask means setting it for all threads."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def fsync(path: PathLike) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_regular(path: PathLike) -> BufferedReader:
    """`path`, or what it links to, opened for reading where it is a regular file.

    ValueError, without the path, where it is a pipe, a device or a folder, which may have no end; OSError where it
    cannot be opened.
    """
    handle = -1
    if stat.S_ISREG(os.stat(path).st_mode):  # before it is opened, which on some devices has an effect
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if handle < 0 or not stat.S_ISREG(os.fstat(handle).st_mode):
        if handle >= 0:
            os.close(handle)
        raise ValueError("is not a regular file")
    return os.fdopen(handle, "rb")


def read_regular(path: PathLike, most: int = 1 << 40) -> bytes:
    """What is in the regular file `path`; ValueError where it is not one or holds more than `most` bytes."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise ValueError(f"holds {size} bytes, more than the {most} that such a file can need")
        return stream.read(size)  # and no more: files of /proc have a size of 0 and may have no end

"""Opens files of an untrusted folder, only where they are plain files.

A link could lead outside of the folder, and a pipe or a device has no end.
"""
from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

GUARDED = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
KINDS = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
         stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFREG: "a file"}


def kind(path: Path) -> str:
    """The kind of `path`, in a few words; empty where it does not exist. Links are never followed."""
    try:
        return KINDS.get(stat.S_IFMT(os.lstat(path).st_mode), "no file")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder, not a link to one."""
    return kind(path) == "a folder"


def open_plain(path: Path, flags: int = os.O_RDONLY, only_name: bool = False) -> int:
    """A descriptor of `path`.

    flags: of os.open. only_name: refuse a file that has other names as well (hard links), as what is changed in place
    must. ValueError, without the path, where it is not a plain file; OSError where it cannot be opened.
    """
    there = kind(path)
    if there not in ("", "a file"):
        raise ValueError(f"is {there}, not a plain file")
    try:
        handle = os.open(path, flags | GUARDED, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("is a link, not a plain file") from None
        raise
    status = os.fstat(handle)
    what = ("is not a plain file" if not stat.S_ISREG(status.st_mode) else
            "has a second name (a hard link); a copy has only one" if only_name and status.st_nlink > 1 else "")
    if what:
        os.close(handle)
        raise ValueError(what)
    return handle


def read_plain(path: Path, most: int) -> bytes:
    """What is in `path`; ValueError where it is not a plain file or holds more than `most` bytes."""
    with os.fdopen(open_plain(path), "rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"holds more than {most} bytes")
    return content


def read_beginning(path: Path, most: int) -> bytes:
    """The first `most` bytes of `path`; ValueError where it is not a plain file."""
    with os.fdopen(open_plain(path), "rb") as stream:
        return stream.read(most)

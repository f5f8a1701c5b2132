"""Crop files: written atomically, validated and removed."""
from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from common.files import new_mode, read_regular
from images.formats import is_cut_off, read_header
from images.prepare import Unusable

NAME_FAULTS = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


def is_crop(path: str, height: int, width: int) -> bool:
    """Whether a complete JPEG of the wanted size is there: a truncated one, and another size, is made again."""
    try:
        data = read_regular(path)
    except (OSError, ValueError):
        return False
    header = read_header(data)
    return not is_cut_off(data) and (header.height, header.width) == (height, width)


def write_crop(path: str, data: bytes) -> None:
    """Write a file atomically, without fsync: `is_crop` detects what a power failure damaged, and a million waits for
    the disk are saved."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(".tmp", ".align-", folder)
        try:
            with open(handle, "wb") as stream:
                stream.write(data)
            os.chmod(temporary, new_mode())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
    except OSError as error:
        if error.errno not in NAME_FAULTS:
            raise
        raise Unusable(f"crop cannot be written ({error.strerror})") from None


def remove_crop(path: str) -> None:
    """Remove it where it exists and is a file."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        os.unlink(path)


def remove_leftovers(out: Path) -> None:
    """Remove temporary files that a killed run left behind."""
    for path in out.rglob(".align-*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()

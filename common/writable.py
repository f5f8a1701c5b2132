"""Checks before the work whether a file or a folder can be written at a path."""
from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Union

from common.errors import UserError

PathLike = Union[str, "os.PathLike[str]"]
STREAM = re.compile(r"/dev/(std(in|out|err)$|fd/)|/proc/[^/]+/fd/")  # of this process or of another
LONGEST_PATH = 4095
BESIDE = 40  # letters that the temporary name of a folder may have more than its own


def check_writable(path: PathLike, folder: bool = False) -> None:
    """UserError where no file, or no `folder`, can be at `path`: for its name, for what lies above it, for permissions.

    An existing file is left to the caller.
    """
    text = os.fspath(path)
    why = _obstacle(text, folder)
    if why:
        raise UserError(f"{text}: cannot be written ({why}); name another place to write to")


def is_stream(path: PathLike) -> bool:
    """Whether `path` is written in place: not a regular file, or the name of an open stream."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or bool(STREAM.match(os.path.abspath(path)))


def _obstacle(text: str, folder: bool) -> str:
    """Why nothing can be written there, or ""."""
    if "\0" in text:
        return "it holds a zero byte, which no name may have"
    if text == "-" and not folder:
        return "a dash does not stand for standard output here, /dev/stdout does"
    if text.endswith(os.sep) and not folder:
        return "it ends in a slash, as a folder does; a file is expected"
    real = os.path.realpath(text)  # of a link to nothing, too, what it names is written
    parent, name = os.path.split(real)
    try:
        longest = os.path.join(parent, name + "x" * (BESIDE if folder else 0))
        if len(os.fsencode(longest)) > LONGEST_PATH:
            return "it is too long for the file system"
        os.lstat(longest)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return "it is too long for the file system"
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            return error.strerror
    above = next(part for part in Path(real).parents if os.path.lexists(part))
    if not above.is_dir():
        return f"{above} is a file, not a folder"
    if is_stream(text):
        return "" if os.access(text, os.W_OK) else "no permission"
    if not os.access(above, os.W_OK | os.X_OK):
        return f"nothing can be made in the folder {above}"
    return ""

"""Errors that end a command with one line on the screen and a documented exit status."""
from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import Iterator


class UserError(Exception):
    """Unusable arguments or data, found before any work is done: a command ends with exit status 2.

    The message is one line that names the file or the setting, and how to fix it. Code below the commands names
    settings in backquotes, which a command shows as its flags (`common.settings`).
    """

    exit_status = 2


class RunError(Exception):
    """A failure at run time: a command ends with exit status 1."""

    exit_status = 1


class DataError(UserError):
    """Unusable data; the message names the file and, for a record, its key and the byte where it begins."""


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """RunError for an OSError in the block, which writes `out` whole or not at all."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else f"cannot be written ({error.strerror})"
        raise RunError(f"{out}: {why}; what was there before was not touched") from None

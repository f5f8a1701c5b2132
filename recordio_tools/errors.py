"""What the readers raise, and the writers of whole folders."""
from __future__ import annotations

import errno
from pathlib import Path

from common.errors import RunError, UserError


class DataError(UserError):
    """Unusable data; the message names the file and, for a record, its key and the byte where it begins."""


def unwritten(out: Path, error: OSError) -> RunError:
    """The error to raise where a folder could not be written, and what was in it is as it was."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    why = "the disk is full" if full else f"cannot be written ({error.strerror})"
    return RunError(f"{out}: {why}; what was there before was not touched")

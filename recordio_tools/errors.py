"""What the readers raise, and the writers of whole folders."""
from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import Iterator

from common.errors import RunError, UserError


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

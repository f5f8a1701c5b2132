"""log.txt: what the log says, with times, in the run's folder."""
from __future__ import annotations

import errno
import io
import logging
import os
import sys
from pathlib import Path

from common.errors import UserError
from common.foreign import ShownFormatter
from training.saving.names import LOG_BEGINNING
from training.saving.plain_files import open_plain


class LogFile(logging.FileHandler):
    """Appends to `path`. A full disk, or a file that was taken away, is an OSError for who logs, not a traceback.

    Text that no UTF-8 can hold, as of a path with other bytes, is written with backslashes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8")
        self.setFormatter(ShownFormatter("%(asctime)s %(levelname)s %(message)s"))
        # Whatever the level: by this line a later run knows the file as one of a run.
        self.handle(logging.LogRecord(__name__, logging.INFO, __file__, 0, "%sprocess %d", (LOG_BEGINNING, os.getpid()),
                                      None))

    def _open(self) -> io.TextIOWrapper:
        try:
            handle = open_plain(Path(self.baseFilename), os.O_WRONLY | os.O_CREAT | os.O_APPEND, only_name=True)
        except ValueError as error:
            raise UserError(f"{self.baseFilename} {error}: a run does not write there; move it away") from None
        return os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            if not os.path.samestat(os.fstat(self.stream.fileno()), os.lstat(self.baseFilename)):
                raise OSError(errno.ESTALE, "was replaced while the run was writing it")
        except FileNotFoundError:
            raise OSError(errno.ENOENT, "was removed while the run was writing it", self.baseFilename) from None
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.baseFilename) from None
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """What `emit` met: raised where it is the disk's."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, self.baseFilename) from None
        super().handleError(record)

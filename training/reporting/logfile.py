"""log.txt: the log with times, in the run's folder."""
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
    """Appends to `path`. A full disk, or a removed file, is an OSError for the caller, not a traceback.

    Text that UTF-8 cannot represent, such as a path with other bytes, is backslash-escaped.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8")
        self.setFormatter(ShownFormatter("%(asctime)s %(levelname)s %(message)s"))
        # Whatever the level: by this line a later run recognises the file as a run's.
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
        """The error of `emit`: raised where it is an OSError."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, self.baseFilename) from None
        super().handleError(record)

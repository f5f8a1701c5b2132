"""Validates `prefix`: FOLDER/NAME, the run's folder and the prefix of its checkpoints."""
from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path

from common.errors import UserError
from training.saving.names import STATE

EXAMPLE = "runs/model/model"
LONGEST_ENDING = "-symbol.json"
LONGEST_BELOW = 70  # of paths in the state folder
TEMPORARY = 24  # characters that a temporary file's name may have in addition


def check_prefix(prefix: str) -> None:
    """UserError, with a suggestion, where `prefix` does not name files, or they cannot be written."""
    if not prefix.strip() or "\0" in prefix:
        raise UserError(f"`prefix` '{prefix.strip()}': is empty; give FOLDER/NAME, for example {EXAMPLE}")
    name, meant = os.path.basename(prefix), shlex.quote(os.path.join(os.path.normpath(prefix), "model"))
    if not name:
        raise UserError(f"`prefix` {prefix}: ends in a slash, so that its files would have no name; for a run in that "
                        f"folder give `prefix` {meant}")
    if name == STATE:
        raise UserError(f"`prefix` {prefix}: is where the run keeps its states; give another name, as {EXAMPLE}")
    if name in (".", "..") or os.path.isdir(prefix):
        raise UserError(f"`prefix` {prefix}: is a folder, so the run would be outside of it; for a run in it "
                        f"give `prefix` {meant}")
    folder = os.path.dirname(prefix)
    for path in (folder and str(Path(folder)), os.path.join(folder, "x" * TEMPORARY + name + LONGEST_ENDING),
                 os.path.join(folder, "x" * LONGEST_BELOW)):
        try:
            os.lstat(path or ".")
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise UserError(f"`prefix` {prefix}: is too long, the file system takes no such names; give a shorter "
                                "one") from None
            if error.errno == errno.ENOTDIR:
                raise UserError(f"`prefix` {prefix}: {_file_in(folder)} is a file, so the folder cannot be made; "
                                "give another `prefix`") from None
            if error.errno not in (errno.ENOENT, errno.EACCES):
                raise UserError(f"`prefix` {prefix}: {error.strerror}") from None
    if os.path.lexists(folder or ".") and not os.path.isdir(folder or "."):
        raise UserError(f"`prefix` {prefix}: {folder} is {'a file' if os.path.exists(folder) else 'a link to nothing'},"
                        " so the folder cannot be made; give another `prefix`")


def _file_in(folder: str) -> str:
    """The part of a path that exists and is not a folder."""
    return str(next((part for part in reversed([Path(folder), *Path(folder).parents])
                     if os.path.lexists(part) and not part.is_dir()), folder))

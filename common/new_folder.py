"""A folder that is complete or not there."""
from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Iterator

from common.errors import UserError, writing
from common.files import PathLike, fsync
from common.signals import undisturbed
from common.staging import work_folder


def check_free(out: PathLike, overwrite: bool, mark: str) -> None:
    """UserError unless `out` is absent, an empty folder, or, with `overwrite`, a folder that holds the file `mark`."""
    out = Path(out)
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out}: is a file; OUT is a folder to write to")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise UserError(f"{out}: is not empty; name another OUT, or --overwrite replaces what this command wrote there")
    if not (out / mark).is_file():
        raise UserError(f"{out}: is not empty and holds no {mark}, so it was not written by this command; "
                        "--overwrite does not remove it, name another OUT")


@contextlib.contextmanager
def new_folder(out: PathLike, overwrite: bool = False, mark: str = "") -> Iterator[Path]:
    """Yield a folder beside `out`, and when the block is done flush it to the disk and put it in out's place.

    RunError, in one line, where writing fails. What stood at `out` is untouched then, and after any other exception.
    `check_free` before and after the work: UserError where something has come to be there meanwhile.
    """
    check_free(out, overwrite, mark)
    place = Path(os.path.realpath(out))
    old = place.with_name(f".{place.name}.{os.getpid()}.old")
    with writing(Path(out)), work_folder(place.parent, place.name) as temporary:
        yield temporary
        os.sync()  # once: to flush a million files one by one takes hours
        with undisturbed():
            check_free(out, overwrite, mark)
            there = place.exists() and any(place.iterdir())
            if there:
                os.rename(place, old)
            try:
                os.rename(temporary, place)  # onto nothing or an empty folder: anything else is an error
            except OSError as error:
                if there:
                    os.rename(old, place)
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise UserError(f"{out}: something else was written there meanwhile; name another OUT") from None
                raise
            fsync(place.parent)
            shutil.rmtree(old, ignore_errors=True)

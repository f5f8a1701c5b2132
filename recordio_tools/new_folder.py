"""A folder that is complete or not there."""
from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Iterator

from common.errors import UserError
from common.files import PathLike, fsync
from common.interrupts import undisturbed
from recordio_tools.errors import unwritten


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
        raise UserError(f"{out}: is not empty; name another OUT, or --overwrite replaces what was unpacked there")
    if not (out / mark).is_file():
        raise UserError(f"{out}: is not empty and holds no {mark}, so it was not written by this command; "
                        "--overwrite does not remove it, name another OUT")


@contextlib.contextmanager
def new_folder(out: PathLike) -> Iterator[Path]:
    """Yield a folder beside `out`, and put it in out's place when the block is done; else remove it.

    RunError, in one line, where writing fails; what stood at `out` is untouched then.
    """
    place = Path(os.path.realpath(out))
    temporary, old = (place.with_name(f".{place.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        fsync(temporary)
        with undisturbed():
            if place.exists() and any(place.iterdir()):
                os.replace(place, old)
            os.replace(temporary, place)
            fsync(place.parent)
    except OSError as error:
        raise unwritten(Path(out), error) from None
    finally:
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)

"""The files of a packed set, made in a folder of their own and switched together when all are whole."""
from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import Iterator

from common.errors import UserError
from common.files import fsync, move_new
from common.signals import undisturbed

MAIN = "train.rec"
FILES = (MAIN, "identities.csv", "merge-report.json", "pack-report.json", "property", "train.idx")


def check_no_set(out: Path, overwrite: bool) -> None:
    """UserError where `out` is no folder, or, unless it may be replaced, holds a set or a part of one."""
    if os.path.lexists(out) and not out.is_dir():
        raise UserError(f"{out}: is no folder; OUT is a folder to write to")
    there = [name for name in FILES if os.path.lexists(out / name)]
    if there and not overwrite:
        raise UserError(f"{out}: holds {there[0]} already; name another OUT, or --overwrite replaces the set there")


@contextlib.contextmanager
def staged_set(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder to write FILES, or some of them, to; when the block ends well they become the set in `out`.

    A new folder `out` appears with all of them at once. In an old one the files that describe its `.rec` go before the
    `.rec` is replaced, and the new ones come after: whenever the machine stops, a `.rec` stands there alone or with
    the files that belong to it. When the block raises, what was written is removed and `out` is as it was.
    `check_no_set` before and after the work: UserError where a set is there, or has come to be there meanwhile.
    """
    check_no_set(out, overwrite)
    # made absolute, but its last part is not resolved: a link to a folder stays a link
    out = Path(os.path.abspath(out))
    fresh = not out.exists()
    with work_folder(*((out.parent, out.name) if fresh else (out, MAIN))) as folder:
        yield folder
        for name in os.listdir(folder):
            fsync(folder / name)
        fsync(folder)
        with undisturbed():
            _switch(folder, out, overwrite)


@contextlib.contextmanager
def work_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield a hidden new folder in `parent` for what will be called `name`; in the end remove what is left of it.

    `parent` is made where it is not there, and removed again where it stays empty. What processes that were killed left
    behind for the same name is removed first.
    """
    folder = parent / f".{name}.{os.getpid()}.tmp"
    made = _make_folders(parent)
    lock = None
    try:
        _remove_leftovers(folder)
        folder.mkdir()
        lock = _lock(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)
        for empty in made:
            with contextlib.suppress(OSError):  # it holds the set, or something else
                empty.rmdir()


def _switch(folder: Path, out: Path, overwrite: bool = False) -> None:
    if not out.exists():
        with contextlib.suppress(OSError):  # it is there now
            os.rename(folder, out)
            fsync(out.parent)
            return
    handle = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # two packs that end at once
        check_no_set(out, overwrite)
        for name in FILES[1:]:
            with contextlib.suppress(FileNotFoundError):
                (out / name).unlink()
        for name in FILES:
            if (folder / name).exists():
                os.fsync(handle)
                if overwrite:
                    os.replace(folder / name, out / name)
                else:
                    move_new(folder / name, out / name)
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_folders(folder: Path) -> list[Path]:
    """Make it with its parents; those that were made, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _lock(folder: Path) -> int | None:
    """An open handle with a lock, which ends with this process in whatever way; None where there is none to be had."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process holds it, or this file system has no locks
        os.close(handle)
        return None
    return handle


def _remove_leftovers(folder: Path) -> None:
    """Folders like `folder` of processes that are no more: nobody holds their lock."""
    start, end = folder.name.rsplit(".", 2)[0] + ".", ".tmp"
    for name in os.listdir(folder.parent):
        if name.startswith(start) and name.endswith(end) and re.fullmatch("[0-9]+", name[len(start):-len(end)]):
            with contextlib.suppress(OSError):
                lock = _lock(folder.parent / name)
                if lock is not None:
                    shutil.rmtree(folder.parent / name, ignore_errors=True)
                    os.close(lock)

"""Atomic folders: complete or absent; and sets of files that are replaced together. No other files are lost."""
from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import re
import secrets
import shutil
import zlib
from pathlib import Path
from typing import Iterable, Iterator, Sequence

from common.errors import UserError, writing
from common.files import PathLike, fsync, move_new
from common.leftovers import aside, remove_leftovers
from common.signals import undisturbed
from common.writable import check_writable

HOST = f"{zlib.crc32(platform.node().encode()):08x}"  # locks of other machines may not be visible here
LEFTOVER = re.compile(rf"[0-9]+|{HOST}-[0-9]+-[0-9a-f]+")


@contextlib.contextmanager
def work_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield a hidden new folder in `parent` for what will be called `name`; remove what is left of it afterwards.

    `parent` is made where it is not there, and removed again where it stays empty. Leftovers of processes that were
    killed on this machine, for the same name, are removed first.
    """
    folder = parent / f".{name}.{HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    made = _make_folders(parent)
    lock = None
    try:
        _remove_unlocked(parent, name)
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


def check_apart(out: PathLike, inputs: Iterable[PathLike], inside: bool = False) -> None:
    """UserError where `out` is one of the files or folders that are read, or, with `inside`, holds one of them."""
    place = os.path.realpath(out)
    for path in inputs:
        real = os.path.realpath(path)
        if real == place or inside and real.startswith(place + os.sep):
            where = "is what is read" if real == place else f"holds {path}, which is read"
            raise UserError(f"{out}: {where}; name another place to write to")


def check_free(out: PathLike, overwrite: bool, mark: str, begins: str = "") -> None:
    """UserError unless `out` is absent, an empty folder, or, with `overwrite`, a folder that holds the file `mark`,
    which begins with `begins`."""
    out = Path(out)
    if not os.path.lexists(out):
        check_writable(out, folder=True)
        return
    if not out.is_dir():
        what = "a file" if out.exists() else "a link to nothing"
        raise UserError(f"{out}: is {what}, not a folder; name a folder to write to")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise UserError(f"{out}: is not empty; name another folder, or `overwrite` replaces what this command wrote "
                        "there")
    if not _is_marked(out / mark, begins.encode()):
        raise UserError(f"{out}: is not empty and holds no such {mark}, so it was not written by this command; "
                        "`overwrite` does not remove it, name another folder")


def _is_marked(path: Path, begins: bytes) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as stream:
        return stream.read(len(begins)) == begins


@contextlib.contextmanager
def new_folder(out: PathLike, overwrite: bool = False, mark: str = "", begins: str = "") -> Iterator[Path]:
    """Yield a folder beside `out`, and when the block is done flush it to the disk and put it in out's place; an empty
    folder that nothing can be renamed to, as one that a disk is mounted at, is filled instead, `mark` last.

    RunError, in one line, where writing fails. What stood at `out` is untouched then, and after any other exception.
    `check_free` before and after the work: UserError where anything was created or changed there meanwhile.
    """
    place = Path(os.path.realpath(out))
    if place.is_dir():
        _remove_unlocked(place, place.name)  # of a run that was killed while it filled the folder
    check_free(out, overwrite, mark, begins)
    before = _fingerprint(place)
    inside = place.is_dir() and not any(place.iterdir()) and (
        os.path.ismount(place) or not os.access(place.parent, os.W_OK | os.X_OK))
    with writing(Path(out)), work_folder(place if inside else place.parent, place.name) as temporary:
        yield temporary
        os.sync()  # once: to flush a million files one by one takes hours
        if inside:
            with undisturbed():
                _fill(place, temporary, mark, out)
            return
        with undisturbed():
            check_free(out, overwrite, mark, begins)
            old = aside(place, ".old")
            there = place.exists() and any(place.iterdir())
            if there:
                os.rename(place, old)
            try:
                if there and _fingerprint(old) != before:
                    raise OSError(errno.EEXIST, "")
                os.rename(temporary, place)  # onto nothing or an empty folder: anything else is an error
            except OSError as error:
                if there:
                    os.rename(old, place)
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise UserError(f"{out}: something else was written there meanwhile; name another folder") from None
                raise
            fsync(place.parent)
            shutil.rmtree(old, ignore_errors=True)
            remove_leftovers(place, ".old")


def _fill(place: Path, temporary: Path, mark: str, out: PathLike) -> None:
    if os.listdir(place) != [temporary.name]:
        raise UserError(f"{out}: something else was written there meanwhile; name another folder")
    moved = []
    try:
        for name in sorted(os.listdir(temporary), key=lambda name: name == mark):
            os.rename(temporary / name, place / name)
            moved.append(name)
    except OSError:
        for name in moved:
            os.rename(place / name, temporary / name)
        raise
    fsync(place)


def _fingerprint(folder: Path) -> int:
    """Of the names, sizes and times of all files below; a sum, so that a million of them need no memory."""
    total, rest = 0, [os.fspath(folder)] if folder.is_dir() else []
    skip = len(os.fspath(folder))
    while rest:
        with os.scandir(rest.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    rest.append(entry.path)
                    total += hash(entry.path[skip:])
                else:
                    total += hash((entry.path[skip:], status.st_ino, status.st_size, status.st_mtime_ns))
    return total


def check_none_of(out: Path, names: Sequence[str], overwrite: bool) -> None:
    """UserError where `out` is not a folder, or, unless they may be replaced, holds one of the files `names`."""
    if os.path.lexists(out) and not out.is_dir():
        raise UserError(f"{out}: is not a folder; OUT is a folder to write to")
    check_writable(out / names[0] if os.path.exists(out) else out, folder=True)
    there = [name for name in names if os.path.lexists(out / name)]
    if there and not overwrite:
        raise UserError(f"{out}: holds {there[0]} already; name another OUT, or `overwrite` replaces the set there")


@contextlib.contextmanager
def staged_files(out: Path, names: Sequence[str], overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder to write files called `names`, or some of them, to; when the block ends well they become
    those in `out`.

    A new folder `out` appears with all of them at once. In an old one all but the first, which describe it, go before
    the first is replaced, and the new ones come after: whenever the machine stops, the first stands there alone or with
    the files that belong to it. When the block raises, what was written is removed and `out` is as it was.
    `check_none_of` before and after the work.
    """
    check_none_of(out, names, overwrite)
    # made absolute, but its last part is not resolved: a link to a folder stays a link
    out = Path(os.path.abspath(out))
    fresh = not out.exists()
    with work_folder(*((out.parent, out.name) if fresh else (out, names[0]))) as folder:
        yield folder
        for name in os.listdir(folder):
            fsync(folder / name)
        fsync(folder)
        with undisturbed():
            _switch(folder, out, names, overwrite)


def _switch(folder: Path, out: Path, names: Sequence[str], overwrite: bool = False) -> None:
    if not out.exists():
        with contextlib.suppress(OSError):  # it has been created meanwhile
            os.rename(folder, out)
            fsync(out.parent)
            return
    handle = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # two commands that end at once
        check_none_of(out, names, overwrite)
        for name in names[1:]:
            with contextlib.suppress(FileNotFoundError):
                (out / name).unlink()
        for name in names:
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
    """An open handle with a lock, released however this process ends; None where there is no lock to get."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process holds it, or this file system has no locks
        os.close(handle)
        return None
    return handle


def _remove_unlocked(parent: Path, name: str) -> None:
    """Work folders of processes that have ended: their lock is free."""
    start, end = f".{name}.", ".tmp"
    for found in os.listdir(parent):
        if found.startswith(start) and found.endswith(end) and LEFTOVER.fullmatch(found[len(start):-len(end)]):
            with contextlib.suppress(OSError):
                lock = _lock(parent / found)
                if lock is not None:
                    shutil.rmtree(parent / found, ignore_errors=True)
                    os.close(lock)

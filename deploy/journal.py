"""Journal of a long embedding run, beside its result, so that it continues after any interruption.

X.npz.partial/ holds rows.jsonl, a first line that describes the run, then a line for each image, and embeddings.f32,
the concatenated embeddings of their faces. A line is written after its embeddings and has a checksum of both, so that a
partial write by a kill or a power failure is detected, and repeated.
"""
from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Iterator, NamedTuple, Sequence

import numpy as np

from common.errors import UserError

ROWS, VALUES = "rows.jsonl", "embeddings.f32"
KIND = "embeddings in the making"
LONGEST_LINE = 1 << 24


class Row(NamedTuple):
    """A finished image. name: its name in the set. sha256: of its content, as hexadecimal digits. norms,
    view_norms: of its faces, as `Embedded` has them. reason: why there is no face, or ""."""

    name: str
    sha256: str
    norms: list[float]
    view_norms: list[float]
    reason: str = ""


class Journal:
    """The finished images, in order; a context that locks out other processes.

    folder: X.npz.partial. making: all that determines the embeddings (model, flip, alignment, ...), JSON; dimension: D.
    anew: discard embeddings of another making. rows: complete rows of earlier processes. UserError where the folder
    holds something else, embeddings of another making, or is being written by another process.
    """

    def __init__(self, folder: Path, making: dict[str, Any], dimension: int, anew: bool = False) -> None:
        self.folder, self._dimension = folder, dimension
        self.rows: list[Row] = []
        self.faces = 0
        check_folder(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lines, self._values = _open(folder / ROWS), _open(folder / VALUES)
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error.strerror}); name another `out`") from None
        try:
            _lock(self._lines)
        except BlockingIOError:
            self.close()
            raise UserError(f"{folder}: another process is computing these embeddings") from None
        first = json.dumps({"kind": KIND, "dimension": dimension, **making}, sort_keys=True).encode() + b"\n"
        found = self._lines.readline(LONGEST_LINE)
        if found.endswith(b"\n") and found != first and not anew:
            what = difference(found, first)
            self.close()
            raise UserError(f"{folder}: holds unfinished embeddings of other settings ({what}); use the same flags, "
                            "another `out`, or `overwrite` to start over")
        if found != first:
            self._lines.seek(0)
            self._lines.truncate()
            self._lines.write(first)
            self._lines.flush()
        self._read()

    def _read(self) -> None:
        """Load the complete rows, and truncate what follows them."""
        self._values.seek(0)
        place = self._lines.tell()
        for line in iter(lambda: self._lines.readline(LONGEST_LINE), b""):
            row = self._whole(line)
            if row is None:
                break
            self.rows.append(row)
            self.faces += len(row.norms)
            place += len(line)
        self._cut(place)

    def _whole(self, line: bytes) -> Row | None:
        try:
            told = json.loads(line) if line.endswith(b"\n") else None
            row = Row(str(told["name"]), bytes.fromhex(told["sha256"]).hex(), [float(norm) for norm in told["norms"]],
                      [float(norm) for norm in told["view_norms"]], str(told["reason"]))
            values = self._values.read(4 * self._dimension * len(row.norms))
            whole = len(row.norms) == len(row.view_norms) and _checksum(row, values) == told["crc32"]
            return row if whole else None
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def add(self, rows: Sequence[Row], embeddings: np.ndarray) -> None:
        """Append images and the (n, D) float32 embeddings of all their faces, in order."""
        lines, first = [], 0
        for row in rows:
            values = np.ascontiguousarray(embeddings[first:first + len(row.norms)], np.float32).tobytes()
            first += len(row.norms)
            lines.append(json.dumps({**row._asdict(), "crc32": _checksum(row, values)}).encode() + b"\n")
        try:
            self._values.write(np.ascontiguousarray(embeddings, np.float32).tobytes())
            self._values.flush()
            self._lines.write(b"".join(lines))
            self._lines.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.folder)) from None
        self.rows += rows
        self.faces += first

    def keep(self, count: int) -> None:
        """Discard all images but the first `count`."""
        self._lines.seek(0)
        for _ in range(count + 1):
            self._lines.readline()
        del self.rows[count:]
        self.faces = sum(len(row.norms) for row in self.rows)
        self._cut(self._lines.tell())

    def _cut(self, place: int) -> None:
        self._lines.seek(place)
        self._lines.truncate()
        self._values.seek(4 * self._dimension * self.faces)
        self._values.truncate()

    def embeddings(self) -> np.ndarray:
        """(faces, D) float32, on the disk."""
        if not self.faces:
            return np.zeros((0, self._dimension), np.float32)
        return np.memmap(self.folder / VALUES, np.float32, "r", shape=(self.faces, self._dimension))

    def close(self) -> None:
        """Release the lock."""
        for stream in (self._values, self._lines):
            with contextlib.suppress(OSError):  # of a full disk, which `add` reported
                stream.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def partial_folder(out: Path) -> Path:
    """The journal's folder for X.npz."""
    return out.with_name(out.name + ".partial")


def remove(folder: Path) -> None:
    """Remove a journal, and nothing else."""
    if os.path.lexists(folder):
        check_folder(folder)
        shutil.rmtree(folder)


def difference(found: bytes, wanted: bytes) -> str:
    """Which entries of two first lines differ."""
    with contextlib.suppress(ValueError, RecursionError):
        old, new = dict(_entries(json.loads(found))), dict(_entries(json.loads(wanted)))
        unlike = [name for name in {**new, **old} if old.get(name) != new.get(name)]
        if unlike:
            name = unlike[0]
            return f"{name} {str(old.get(name))[:40]}, now {str(new.get(name))[:40]}"
    return "of another kind"


def _entries(told: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in told.items():
        if isinstance(value, dict):
            yield from _entries(value, f"{before}{name} ")
        else:
            yield before + name, value


def check_folder(folder: Path) -> None:
    """UserError where `folder` exists and is not purely a journal: regular files of its names, no links."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{folder}: is in the way; unfinished embeddings are kept there")
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name not in (ROWS, VALUES) or not entry.is_file(follow_symlinks=False):
            raise UserError(f"{folder}: holds {entry.name}, which is not of a journal; it is in the way")


def _checksum(row: Row, values: bytes) -> int:
    """Checksum of a row and its embeddings."""
    return zlib.crc32(json.dumps(row).encode(), zlib.crc32(values))


def _lock(stream: BinaryIO) -> None:
    """BlockingIOError where another process has the lock; no effect on file systems without locks."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass


def _open(path: Path) -> BinaryIO:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UserError(f"{path}: is not a regular file; it is in the way")
    return os.fdopen(handle, "r+b")

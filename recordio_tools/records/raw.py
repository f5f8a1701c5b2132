"""An open `.rec` by byte offsets, without an index: whole records, their heads, or the frames alone."""
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np

from common.errors import DataError
from common.files import PathLike
from common.foreign_files import HEAD, foreign_kind
from recordio_tools.records import framing
from recordio_tools.records.framing import FRAME, HEADER, FramingError, padded

FIRST_READ = 1 << 14  # more than most aligned faces need
Opened = TypeVar("Opened", bound="RawFile")
HEAD_BYTES = FRAME.size + HEADER.size + 8  # the frame, the header and the first two of its labels


def is_rec(path: Path) -> bool:
    """Whether a file has the ending of a `.rec`, in any letters."""
    return path.suffix.lower() == ".rec"


@dataclass(frozen=True)
class Heads:
    """The beginnings of many records, in the index's order: each field is an array with one entry a record.

    label is float32 (N, 2): the first two labels, the second 0 where there is one. `readable` marks where the rest is
    valid: the magic word was there and the head was not truncated by the end of the file. `end` is the offset after the
    record's (first) part, its padding included.
    """

    readable: np.ndarray
    part_flag: np.ndarray
    length: np.ndarray
    flag: np.ndarray
    label: np.ndarray
    id: np.ndarray
    end: np.ndarray

    @property
    def has_image(self) -> np.ndarray:
        """Where bytes follow the labels (a header record of InsightFace's layout has none)."""
        return self.readable & ((self.part_flag != framing.WHOLE)
                                | (self.length > HEADER.size + 4 * self.flag.astype(np.int64)))


class RawFile:
    """Reads with pread, so that threads and forked processes share an object; pickling sends the path.

    size: of the file, in bytes. foreign: what a file is that is no `.rec`, with the way out, or "". DataError where it
    cannot be opened.
    """

    size: int
    foreign: str
    _handle: int

    def __init__(self, rec_path: PathLike) -> None:
        self.rec_path = Path(rec_path)
        self._open()
        head = os.pread(self._handle, HEAD, 0)
        self.foreign = "" if head.startswith(framing.MAGIC_BYTES) else foreign_kind(head, "a .rec")

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on, fewer at the end of the file."""
        return os.pread(self._handle, count, offset)

    def content_at(self, offset: int) -> tuple[bytes, int]:
        """The content of the record that begins at `offset`, its parts joined, and the offset after it.

        Raises FramingError, whose `at` is an offset in the file.
        """
        pieces: list[bytes] = []
        previous, total = None, 0
        while True:
            # a malicious file may have a million parts without content
            data = os.pread(self._handle, FIRST_READ if previous is None else FRAME.size, offset)
            flag, length = self._part(data, offset, previous)
            total += length
            if total > framing.MAX_LENGTH:
                raise FramingError("its parts add up to more than a record may hold", offset)
            end = offset + FRAME.size + padded(length)
            if offset + FRAME.size + length > self.size:
                raise self._cut_off(offset, length)
            body = data[FRAME.size:FRAME.size + length]
            if len(body) < length:
                body += os.pread(self._handle, length - len(body), offset + FRAME.size + len(body))
            if len(body) < length:
                raise FramingError("the file was truncated while it was read", offset)
            pieces.append(body)
            if flag in (framing.WHOLE, framing.LAST):
                return framing.MAGIC_BYTES.join(pieces) if len(pieces) > 1 else body, end
            previous, offset = flag, end

    def _part(self, data: bytes, offset: int, previous: int | None) -> tuple[int, int]:
        try:
            flag, length = framing.part(data)
        except FramingError as error:
            raise FramingError(str(error), offset, error.cut_off) from None
        if not framing.follows(previous, flag):
            raise FramingError(f"a part of kind {flag} is where it cannot be", offset)
        return flag, length

    def _cut_off(self, offset: int, length: int) -> FramingError:
        return FramingError(f"is truncated: it needs {offset + FRAME.size + length - self.size} bytes more than the "
                            "file has", offset, cut_off=True)

    def heads_at(self, offsets: np.ndarray) -> Heads:
        """The beginnings of the records at `offsets`, int64 (N,); faults are marked, not raised."""
        count = len(offsets)
        buffer = bytearray(count * HEAD_BYTES)
        start, pread, handle = 0, os.pread, self._handle
        whole = np.empty(count, np.int64)
        for position, offset in enumerate(offsets.tolist()):
            data = pread(handle, HEAD_BYTES, offset) if offset < self.size else b""
            buffer[start:start + len(data)] = data
            whole[position] = len(data)
            start += HEAD_BYTES
        table = np.frombuffer(buffer, np.dtype([
            ("magic", "<u4"), ("word", "<u4"), ("flag", "<u4"), ("single", "<f4"), ("id", "<u8"), ("id2", "<u8"),
            ("label", "<f4", (2,))]))
        length = (table["word"] & framing.MAX_LENGTH).astype(np.int64)
        label = np.where(table["flag"][:, None] == 0, np.stack([table["single"], np.zeros(count)], 1), table["label"])
        label[table["flag"] == 1, 1] = 0
        readable = (table["magic"] == framing.MAGIC) & (length >= HEADER.size) & (whole >= FRAME.size + HEADER.size)
        return Heads(readable, table["word"] >> 29, length, table["flag"], label.astype(np.float32), table["id"],
                     offsets + FRAME.size + ((length + 3) & ~3))

    def close(self) -> None:
        """Close the file; a closed object reads no more."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", -1) >= 0:
            self.close()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_handle": -1}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        self._handle = -1
        try:
            self._handle = os.open(self.rec_path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            raise DataError(f"{self.rec_path}: there is no such file") from None
        except OSError as error:
            raise DataError(f"{self.rec_path}: cannot be opened ({error.strerror})") from None
        if not os.path.isfile(self.rec_path):
            self.close()
            raise DataError(f"{self.rec_path}: is not a file")
        self.size = os.fstat(self._handle).st_size

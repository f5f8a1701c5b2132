"""Reading `.rec` files by key, without MXNet: from any thread or process, every error with its place."""
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from common.files import PathLike
from recordio_tools import framing
from recordio_tools.errors import DataError
from recordio_tools.framing import FRAME, HEADER, FramingError, padded
from recordio_tools.index import build_index, read_index

FIRST_READ = 1 << 14  # more than most aligned faces take
HEAD_BYTES = FRAME.size + HEADER.size + 8  # the frame, the header and the first two of its labels


@dataclass(frozen=True)
class Record:
    """key in the index; flag of the header (0, or the number of labels); label float32 (n,); the image file's bytes."""

    key: int
    flag: int
    label: np.ndarray
    content: bytes


@dataclass(frozen=True)
class Heads:
    """The beginnings of many records, in the index's order: each field is an array with one entry a record.

    label is float32 (N, 2): the first two labels, the second 0 where there is one. `readable` says where the rest
    holds: the magic word stood there and the head was not cut off by the end of the file. `end` is the offset behind
    the record's (first) part, its padding included.
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


class RecordFile:
    """Random access to a `.rec`.

    keys, offsets: int64 (N,), in the order of the index. Without an index file the keys are the image ids in the
    records where those are distinct, else 0, 1, 2, ... Reads use pread, so threads and forked processes share an
    object; pickling sends the paths and the index. Every problem is a DataError.
    """

    def __init__(self, rec_path: PathLike, idx_path: PathLike | None = None) -> None:
        self.rec_path = Path(rec_path)
        beside = self.rec_path.with_suffix(".idx")
        self.idx_path = Path(idx_path) if idx_path is not None else beside if beside.is_file() else None
        self._open()
        try:
            if self.idx_path is not None:
                self.keys, self.offsets = read_index(self.idx_path)
            else:
                self.keys, self.offsets = build_index(self.rec_path, self._handle, self.size)
            self._order = np.argsort(self.keys, kind="stable")
            self._sorted = self.keys[self._order]
            repeated = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
            if len(repeated):
                raise DataError(f"{self.idx_path}: the key {self._sorted[repeated[0]]} stands there twice; python -m "
                                "recordio_tools check lists all faults")
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: int) -> bool:
        return self._position(key) is not None

    def read(self, key: int) -> Record:
        """The record of `key`, checked: magic word, length, parts, header."""
        return self._record(key, self._offset(key))

    def read_header(self, key: int) -> Record:
        """The record of `key` with content b"": only the header and the labels are read from the disk."""
        offset = self._offset(key)
        data = os.pread(self._handle, HEAD_BYTES, offset)
        try:
            flag, length = framing.part(data)
            if flag == framing.WHOLE and len(data) >= FRAME.size + HEADER.size and length >= HEADER.size:
                labels = HEADER.unpack_from(data, FRAME.size)[0]
                need = HEADER.size + 4 * labels
                if need <= length:
                    data = os.pread(self._handle, need, offset + FRAME.size)
                    content = framing.unpack(data)
                    return Record(key, content.flag, content.label, b"")
        except FramingError as error:
            raise self._error(key, offset, error) from None
        record = self._record(key, offset)  # a record in parts, or one whose fault the whole reading names
        return Record(key, record.flag, record.label, b"")

    def heads(self) -> Heads:
        """The beginnings of all records, read in one go; faults are marked, not raised."""
        count = len(self.offsets)
        buffer = bytearray(count * HEAD_BYTES)
        start, pread, handle = 0, os.pread, self._handle
        whole = np.empty(count, np.int64)
        for position, offset in enumerate(self.offsets.tolist()):
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
                     self.offsets + FRAME.size + ((length + 3) & ~3))

    def close(self) -> None:
        """Close the file; a closed object reads no more."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __enter__(self) -> RecordFile:
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
            raise DataError(f"{self.rec_path}: is no file")
        self.size = os.fstat(self._handle).st_size

    def _position(self, key: int) -> int | None:
        place = int(np.searchsorted(self._sorted, key))
        if place < len(self._sorted) and self._sorted[place] == key:
            return int(self._order[place])
        return None

    def _offset(self, key: int) -> int:
        position = self._position(key)
        if position is None:
            raise DataError(f"{self.idx_path or self.rec_path}: has no record {key}")
        return int(self.offsets[position])

    def _error(self, key: int, offset: int, problem: FramingError | str) -> DataError:
        return DataError(f"{self.rec_path}: record {key} at byte {offset}: {problem}")

    def _record(self, key: int, offset: int) -> Record:
        try:
            content, _ = self.content_at(offset)
            unpacked = framing.unpack(content)
        except FramingError as error:
            raise self._error(key, offset, error) from None
        return Record(key, unpacked.flag, unpacked.label, unpacked.image)

    def content_at(self, offset: int) -> tuple[bytes, int]:
        """The content of the record that begins at `offset`, its parts joined, and the offset behind it.

        Raises FramingError, whose `at` is an offset in the file.
        """
        pieces: list[bytes] = []
        previous, total = None, 0
        while True:
            data = os.pread(self._handle, FIRST_READ, offset)
            try:
                flag, length = framing.part(data)
            except FramingError as error:
                raise FramingError(str(error), offset) from None
            if not framing.follows(previous, flag):
                raise FramingError(f"a part of kind {flag} stands where it cannot", offset)
            total += length
            if total > framing.MAX_LENGTH:
                raise FramingError("its parts add up to more than a record may hold", offset)
            end = offset + FRAME.size + padded(length)
            if end - padded(length) + length > self.size:
                raise FramingError(f"is cut off: it needs {end - self.size} bytes more than the file has", offset)
            body = data[FRAME.size:FRAME.size + length]
            if len(body) < length:
                body += os.pread(self._handle, length - len(body), offset + FRAME.size + len(body))
            if len(body) < length:
                raise FramingError("the file became shorter while it was read", offset)
            pieces.append(body)
            if flag in (framing.WHOLE, framing.LAST):
                return framing.MAGIC_BYTES.join(pieces) if len(pieces) > 1 else body, end
            previous, offset = flag, end

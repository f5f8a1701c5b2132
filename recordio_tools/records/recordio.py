"""Reading `.rec` files by key, without MXNet: from any thread or process, every error with its place."""
from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

import numpy as np

from common.errors import DataError
from common.files import PathLike
from common.foreign_files import HEAD, foreign_kind
from recordio_tools.records import framing
from recordio_tools.records.framing import FRAME, HEADER, FramingError
from recordio_tools.records.index import build_index, index_beside, read_index
from recordio_tools.records.raw import HEAD_BYTES, Heads, RawFile


@dataclass(frozen=True)
class Record:
    """key in the index; flag of the header (0, or the number of labels); label float32 (n,); the image file's bytes."""

    key: int
    flag: int
    label: np.ndarray
    content: bytes


class RecordFile(RawFile):
    """Random access to a `.rec`.

    keys, offsets: int64 (N,), in the order of the index. Without an index file the keys are the image ids in the
    records where those are distinct, else 0, 1, 2, ... Reads use pread, so threads and forked processes share an
    object; pickling sends the paths and the index. Every problem is a DataError.
    """

    def __init__(self, rec_path: PathLike, idx_path: PathLike | None = None) -> None:
        super().__init__(rec_path)
        beside = index_beside(self.rec_path)
        self.idx_path = Path(idx_path) if idx_path is not None else beside if beside.is_file() else None
        try:
            other = foreign_kind(self.bytes_at(0, HEAD))
            if other:
                raise DataError(f"{self.rec_path}: is {other}, not a .rec")
            if self.idx_path is not None:
                self.keys, self.offsets = read_index(self.idx_path)
            else:
                self.keys, self.offsets = build_index(self)
            self._order = np.argsort(self.keys, kind="stable")
            self._sorted = self.keys[self._order]
            repeated = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
            if len(repeated):
                raise DataError(f"{self.idx_path}: the key {self._sorted[repeated[0]]} occurs twice; python -m "
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
        # a record in parts, or a faulty one, for which the complete read gives the error
        record = self._record(key, offset)
        return Record(key, record.flag, record.label, b"")

    def offsets_of(self, keys: np.ndarray) -> np.ndarray:
        """int64 (N,): where the records of these keys begin."""
        place = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        absent = np.flatnonzero(self._sorted[place] != keys) if len(self._sorted) else np.arange(len(keys))
        if len(absent):
            self._offset(int(keys[absent[0]]))
        return self.offsets[self._order[place]]

    def heads(self) -> Heads:
        """The beginnings of all records, in the order of the index; faults are marked, not raised."""
        return self.heads_at(self.offsets)

    def places(self, keys: np.ndarray) -> Iterable[tuple[RawFile, int]]:
        """For each of `keys`, which must all exist: the file that holds the record, and its offset."""
        return zip(itertools.repeat(self), self.offsets_of(keys).tolist())

    @property
    def limits(self) -> int:
        """The size of the file that holds the records."""
        return self.size

    def place(self, position: int) -> str:
        """`FILE: record K at byte B` of the record at a position of `keys`, for messages."""
        return f"{self.rec_path}: record {self.keys[position]} at byte {self.offsets[position]}"

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

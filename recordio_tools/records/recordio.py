"""Reading `.rec` files by key, without MXNet: from any thread or process, every error with its place."""
from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

import numpy as np

from common.errors import DataError
from common.files import PathLike
from recordio_tools.records import framing
from recordio_tools.records.framing import FramingError
from recordio_tools.records.index import WAY_OUT, build_index, index_beside, read_index
from recordio_tools.records.raw import Heads, RawFile


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
            if self.foreign:
                raise DataError(f"{self.rec_path}: is {self.foreign}")
            if self.idx_path is not None:
                self.keys, self.offsets = read_index(self.idx_path)
            else:
                self.keys, self.offsets = build_index(self)
            self._order = np.argsort(self.keys, kind="stable")
            self._sorted = self.keys[self._order]
            repeated = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
            if len(repeated):
                raise DataError(f"{self.idx_path}: the key {self._sorted[repeated[0]]} occurs twice; {WAY_OUT}")
        except BaseException:
            self.close()
            raise

    @property
    def parts(self) -> list[RecordFile]:
        """Itself, as a set of one part."""
        return [self]

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, key: int) -> Record:
        """The record of `key`, checked: magic word, length, parts, header."""
        place = int(np.searchsorted(self._sorted, key))
        if place == len(self._sorted) or self._sorted[place] != key:
            raise DataError(f"{self.idx_path or self.rec_path}: has no record {key}")
        offset = int(self.offsets[self._order[place]])
        try:
            content = framing.unpack(self.content_at(offset)[0])
        except FramingError as error:
            raise DataError(f"{self.rec_path}: record {key} at byte {offset}: {error}") from None
        return Record(key, content.flag, content.label, content.image)

    def offsets_of(self, keys: np.ndarray) -> np.ndarray:
        """int64 (N,): where the records of these keys begin."""
        place = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        absent = np.flatnonzero(self._sorted[place] != keys) if len(self._sorted) else np.arange(len(keys))
        if len(absent):
            raise DataError(f"{self.idx_path or self.rec_path}: has no record {keys[absent[0]]}")
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

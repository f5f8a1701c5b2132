"""Strict reader of files of named arrays, such as PREFIX-NNNN.params: everything is validated before use.

    file = ParameterFile(stream)         # ValueError, in a few words without the path, for another file
    file.entries["arg:fc1_gamma"].shape  # known before any array is read
    file.read("arg:fc1_gamma")           # numpy
    file.read_all()                      # all of them, as NDArrays in host memory

The format is what `mx.nd.save` writes and has written: a list of dense arrays with headers of the generations V1, V2
and V3, or older ones, and their names. Sparse arrays, unknown types, sizes that the file does not hold, and anything
behind the last name are refused. `mx.nd.load` allocates whatever the headers declare.
"""
from __future__ import annotations

import os
import struct
from io import BufferedReader
from typing import NamedTuple, Tuple

import mxnet as mx
import numpy as np

from common.environment import free_memory

LIST_MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # of one array
TYPES = {0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64", 7: "bool"}
DENSE = 0
DEVICES = range(1, 7)
MOST_ARRAYS, MOST_AXES, LONGEST_NAME = 100_000, 8, 1000
Shape = Tuple[int, ...]


class Entry(NamedTuple):
    """An array: its type, shape, and where its values begin in the file."""

    dtype: np.dtype
    shape: Shape
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        size = self.dtype.itemsize
        for length in self.shape:
            size *= length
        return size


class ParameterFile:
    """A file of named arrays, opened and its headers read.

    stream: of a regular file, at its beginning. entries: by name, in the file's order; none where the arrays have no
    names. ValueError where it is not such a file, or is damaged.
    """

    def __init__(self, stream: BufferedReader) -> None:
        self._stream, self._size = stream, os.fstat(stream.fileno()).st_size
        magic, _, count = self._unpack("<QQQ")
        if magic != LIST_MAGIC:
            raise ValueError("it does not begin like one")
        if count > min(MOST_ARRAYS, self._left() // 16):  # the least that a header takes
            raise ValueError(f"its header declares {count} arrays")
        arrays = [self._header() for _ in range(count)]
        (names,) = self._unpack("<Q")
        if names not in (0, count):
            raise ValueError(f"it holds {count} arrays and {names} names")
        self.entries: dict[str, Entry] = {}
        for number in range(names):
            name = self._name()
            if name in self.entries:
                raise ValueError(f"two of its arrays are named {name}")
            self.entries[name] = arrays[number]
        if self._left():
            raise ValueError(f"{self._left()} bytes follow its end")

    def read(self, name: str) -> np.ndarray:
        """The array of that name. ValueError where the file was truncated meanwhile."""
        entry = self.entries[name]
        array = np.empty(entry.shape, entry.dtype)
        self._stream.seek(entry.offset)
        if self._stream.readinto(array.reshape(-1).data.cast("B")) != entry.nbytes:
            raise ValueError("it is truncated")
        return array

    def read_all(self) -> dict[str, mx.nd.NDArray]:
        """All arrays, in host memory. MemoryError where they would not fit into it."""
        wanted, free = sum(entry.nbytes for entry in self.entries.values()), free_memory()
        if free is not None and wanted > free:
            raise MemoryError(f"its arrays take {wanted >> 20} MiB, and {free >> 20} MiB of memory are free")
        return {name: mx.nd.array(self.read(name), ctx=mx.cpu(), dtype=entry.dtype)
                for name, entry in self.entries.items()}

    def _left(self) -> int:
        return self._size - self._stream.tell()

    def _unpack(self, form: str) -> tuple[int, ...]:
        length = struct.calcsize(form)
        data = self._stream.read(length) if length <= self._left() else b""
        if len(data) < length:
            raise ValueError("it is truncated")
        return struct.unpack(form, data)

    def _header(self) -> Entry:
        (magic,) = self._unpack("<I")
        if magic in (V2, V3) and self._unpack("<i") != (DENSE,):
            raise ValueError("an array of it is sparse")
        axes = self._unpack("<i")[0] if magic in (V1, V2, V3) else magic  # the oldest headers begin with it
        if not 1 <= axes <= MOST_AXES:
            raise ValueError(f"an array of it declares {axes} axes")
        shape = self._unpack(f"<{axes}{'q' if magic in (V1, V2, V3) else 'I'}")
        device, _, kind = self._unpack("<iii")
        if device not in DEVICES or kind not in TYPES:
            raise ValueError(f"an array of it is of the unknown type {kind}")
        entry = Entry(np.dtype(TYPES[kind]), shape, self._stream.tell())
        if min(shape) < 1 or entry.nbytes > self._left():
            raise ValueError(f"an array of it has the shape {shape}, which the file does not hold")
        self._stream.seek(entry.nbytes, os.SEEK_CUR)
        return entry

    def _name(self) -> str:
        (length,) = self._unpack("<Q")
        if not 0 < length <= LONGEST_NAME:
            raise ValueError(f"the name of an array declares {length} bytes")
        try:
            name = self._unpack(f"<{length}s")[0].decode("utf-8")  # type: ignore[attr-defined]
        except UnicodeDecodeError:
            raise ValueError("the name of an array is not UTF-8") from None
        if "\0" in name:
            raise ValueError("the name of an array holds a zero byte")
        return name

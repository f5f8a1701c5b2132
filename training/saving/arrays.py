"""Files of named arrays, as `mx.nd.save` writes them and `mx.nd.load` reads them, written by Python.

`mx.nd.save` does not see a disk that fills up with the last bytes it writes: it returns, and the file lacks its end.
Here every write is checked, and the digest is of what was meant to be written.
"""
from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Iterator, Mapping

import mxnet as mx
import numpy as np

LIST_MAGIC = 0x112
ARRAY_MAGIC = 0xF993FAC9
TYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}
CPU = 1


def write_arrays(path: str | Path, arrays: Mapping[str, mx.nd.NDArray]) -> str:
    """Write dense arrays to `path`, flushed to the disk, and return the sha256 of the file. OSError where it fails."""
    digest = hashlib.sha256()
    with open(path, "wb") as stream:
        for piece in _pieces(arrays):
            stream.write(piece)
            digest.update(piece)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def file_digest(path: str | Path) -> str:
    """The sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _pieces(arrays: Mapping[str, mx.nd.NDArray]) -> Iterator[bytes | memoryview]:
    yield struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays))
    for value in arrays.values():
        array = np.ascontiguousarray(value.asnumpy())
        yield struct.pack(f"<Iii{array.ndim}q", ARRAY_MAGIC, 0, array.ndim, *array.shape)
        yield struct.pack("<iii", CPU, 0, TYPES[array.dtype.name])
        yield memoryview(array).cast("B")
    yield struct.pack("<Q", len(arrays))
    for name in arrays:
        encoded = name.encode("utf-8")
        yield struct.pack("<Q", len(encoded)) + encoded

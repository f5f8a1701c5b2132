"""Writes files of named arrays as `mx.nd.save` does, of any path.

`mx.nd.save` takes no path that is not valid UTF-8, and does not notice a disk that becomes full with the last bytes it
writes: the file is truncated without error. Here every write is checked, and the digest is of the intended bytes.
"""
from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Iterator, Mapping

import mxnet as mx
import numpy as np

from inference.param_file import LIST_MAGIC, TYPES, V2

NUMBERS = {name: number for number, name in TYPES.items()}
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


def _pieces(arrays: Mapping[str, mx.nd.NDArray]) -> Iterator[bytes | memoryview]:
    yield struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays))
    for value in arrays.values():
        array = np.ascontiguousarray(value.asnumpy())
        yield struct.pack(f"<Iii{array.ndim}q", V2, 0, array.ndim, *array.shape)
        yield struct.pack("<iii", CPU, 0, NUMBERS[array.dtype.name])
        yield array.data.cast("B")
    yield struct.pack("<Q", len(arrays))
    for name in arrays:
        encoded = name.encode("utf-8")
        yield struct.pack("<Q", len(encoded)) + encoded

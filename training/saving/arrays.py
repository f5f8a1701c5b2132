"""Files of named arrays, as `mx.nd.save` writes them and `mx.nd.load` reads them, written by Python.

`mx.nd.save` does not notice a disk that becomes full with the last bytes it writes: the file is truncated without
error. Here every write is checked, and the digest is of the intended bytes.
"""
from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import BinaryIO, Iterator, Mapping

import mxnet as mx
import numpy as np

from inference.param_file import LIST_MAGIC, TYPES, V2, ParameterFile
from training.saving.plain_files import open_plain

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


def read_arrays(path: Path, digest: str, most: int | None = None) -> dict[str, mx.nd.NDArray]:
    """What `write_arrays` wrote, in host memory.

    ValueError where it is not a plain file, has another digest, takes more than `most` bytes, or holds no arrays.
    """
    with os.fdopen(open_plain(path), "rb") as stream:
        if most is not None and os.fstat(stream.fileno()).st_size > most:
            raise ValueError("is larger than the arrays of this network can be")
        if _digest(stream) != digest:
            raise ValueError("is damaged")
        stream.seek(0)
        try:
            return ParameterFile(stream).read_all()
        except ValueError as error:
            raise ValueError(f"holds no arrays: {error}") from None


def file_digest(path: str | Path) -> str:
    """The sha256 of a file."""
    with open(path, "rb") as stream:
        return _digest(stream)


def _digest(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    for block in iter(lambda: stream.read(1 << 20), b""):
        digest.update(block)
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

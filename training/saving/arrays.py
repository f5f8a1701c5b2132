"""Reads the files of arrays of a state: `inference.param_writer` writes them, and `mx.nd.load` reads them as well."""
from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import mxnet as mx

from inference.param_file import ParameterFile
from training.saving.plain_files import open_plain


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


def _digest(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    for block in iter(lambda: stream.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()

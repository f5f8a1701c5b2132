"""MXNet checkpoints of the embedding: PREFIX-symbol.json and PREFIX-NNNN.params, written atomically."""
from __future__ import annotations

from pathlib import Path
from typing import Mapping

import mxnet as mx

from common.files import atomic_path, write_atomic
from inference.param_writer import write_arrays
from symbols.graph import to_json


def checkpoint_path(prefix: str, number: int) -> Path:
    """PREFIX-NNNN.params."""
    return Path(f"{prefix}-{number:04d}.params")


def save_checkpoint(prefix: str, number: int, symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                    auxiliary: Mapping[str, mx.nd.NDArray]) -> Path:
    """Write what `mx.model.load_checkpoint(prefix, number)` reads, and return the path of the parameters."""
    write_atomic(f"{prefix}-symbol.json", to_json(symbol), named=False)
    path = checkpoint_path(prefix, number)
    save_arrays(path, {**{f"arg:{name}": value for name, value in arguments.items()},
                       **{f"aux:{name}": value for name, value in auxiliary.items()}})
    return path


def save_arrays(path: str | Path, arrays: Mapping[str, mx.nd.NDArray]) -> None:
    """Write what `mx.nd.load` reads, atomically."""
    with atomic_path(path, named=False) as temporary:
        write_arrays(temporary, arrays)

"""MXNet checkpoints of the embedding: PREFIX-symbol.json and PREFIX-NNNN.params, written whole or not at all."""
from __future__ import annotations

import glob
from pathlib import Path
from typing import Mapping

import mxnet as mx

from common.errors import UserError
from common.files import atomic_path, write_atomic
from inference.model import Arrays, read_parameters
from symbols.graph import to_json
from training.saving.arrays import write_arrays

# InsightFace's own MobileFaceNet files call this one weight by an older name.
ALIASES = {"fc1_weight": "pre_fc1_weight"}


def checkpoint_path(prefix: str, number: int) -> Path:
    """PREFIX-NNNN.params."""
    return Path(f"{prefix}-{number:04d}.params")


def old_checkpoints(prefix: str) -> list[Path]:
    """The PREFIX-NNNN.params there are."""
    name = Path(prefix).name
    return [path for path in Path(prefix).parent.glob(f"{glob.escape(name)}-*.params")
            if path.stem[len(name) + 1:].isdigit()]


def save_checkpoint(prefix: str, number: int, symbol: mx.sym.Symbol, arguments: Mapping[str, mx.nd.NDArray],
                    auxiliary: Mapping[str, mx.nd.NDArray]) -> Path:
    """Write what `mx.model.load_checkpoint(prefix, number)` reads, and return the path of the parameters."""
    write_atomic(f"{prefix}-symbol.json", to_json(symbol))
    path = checkpoint_path(prefix, number)
    save_arrays(path, {**{f"arg:{name}": value for name, value in arguments.items()},
                       **{f"aux:{name}": value for name, value in auxiliary.items()}})
    return path


def save_arrays(path: str | Path, arrays: Mapping[str, mx.nd.NDArray]) -> None:
    """Write what `mx.nd.load` reads, atomically."""
    with atomic_path(path) as temporary:
        write_arrays(temporary, arrays)


def load_pretrained(prefix: str, number: int) -> Arrays:
    """The parameters and auxiliary states of the checkpoint that --pretrained names; UserError where it is none."""
    arguments, auxiliary = read_parameters(prefix, number, "--pretrained")
    return {**arguments, **auxiliary}


def match_parameters(loaded: Mapping[str, mx.nd.NDArray], shapes: Mapping[str, tuple[int, ...]],
                     emb_size: int) -> tuple[dict[str, mx.nd.NDArray], list[str], list[str]]:
    """What of `loaded` fits a network whose parameters have `shapes`.

    Returns the arrays to take, and two lists for the log: what the network has and the checkpoint does not give,
    and what the checkpoint has and the network does not take (each with its shape). UserError where the embedding sizes
    differ, or where nothing fits.
    """
    given = {}
    for name, value in loaded.items():
        new_name = ALIASES.get(name, name)
        given[new_name if name not in shapes and new_name in shapes else name] = value
    if "fc1_gamma" in given and given["fc1_gamma"].shape != (emb_size,):
        theirs = given["fc1_gamma"].shape[0]
        raise UserError(f"--emb-size {emb_size}: the --pretrained checkpoint's embedding has {theirs}; "
                        f"give --emb-size {theirs}")
    taken = {name: value for name, value in given.items() if shapes.get(name) == value.shape}
    if not taken:
        raise UserError("--pretrained: no parameter of the checkpoint fits this network; is it of another --network?")
    missing = [f"{name} {shape}" for name, shape in shapes.items() if name not in taken]
    unused = [f"{name} {value.shape}" for name, value in given.items() if name not in taken]
    return taken, missing, unused

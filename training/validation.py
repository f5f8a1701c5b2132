"""Verification while training: which sets, and what is written down."""
from __future__ import annotations

import logging
from pathlib import Path

import mxnet as mx

from common.errors import UserError
from eval.verification import VerificationResult, VerificationSet, numbers, verify_set
from inference.embedder import Embedder
from training.config import Config

log = logging.getLogger(__name__)
DEFAULT_TARGETS = ("lfw", "cfp_fp", "agedb_30")
FPR = 0.001


def open_targets(config: Config, image_size: tuple[int, int]) -> list[VerificationSet]:
    """The verification sets of --target, read and checked; UserError for one that does not exist or does not fit."""
    sets = []
    for path in _paths(config):
        target = VerificationSet(path)
        if tuple(target.image_size) != tuple(image_size):
            raise UserError(f"--target {path}: its images are {target.image_size[0]}x{target.image_size[1]}, the "
                            f"network takes {image_size[0]}x{image_size[1]}")
        sets.append(target)
    if not sets:
        log.info("no verification: %s", "--target none" if config.target == "none" else
                 f"{config.data_dir} holds none of {', '.join(name + '.bin' for name in DEFAULT_TARGETS)}")
    return sets


def _paths(config: Config) -> list[Path]:
    folder = Path(config.data_dir)
    if config.target == "none":
        return []
    if not config.target:
        return [path for path in (folder / f"{name}.bin" for name in DEFAULT_TARGETS) if path.is_file()]
    paths = []
    for name in config.target.split(","):
        path = Path(name) if name.endswith(".bin") else folder / f"{name}.bin"
        if not path.is_file():
            there = sorted(item.stem for item in folder.glob("*.bin"))
            raise UserError(f"--target {name}: there is no {path}; "
                            + (f"{folder} holds {', '.join(there)}" if there else f"{folder} holds no .bin file"))
        paths.append(path)
    return paths


def verify(symbol: mx.sym.Symbol, arguments: dict[str, mx.nd.NDArray], auxiliary: dict[str, mx.nd.NDArray],
           targets: list[VerificationSet], devices: list[mx.Context], batch_size: int) -> list[VerificationResult]:
    """The result for each set, with embeddings of the current parameters."""
    if not targets:
        return []
    embedder = Embedder(symbol, arguments, auxiliary, devices, batch_size, targets[0].image_size)
    return [verify_set(embedder, target, fpr=(FPR,)) for target in targets]


def result_row(result: VerificationResult, step: int) -> dict[str, object]:
    """The `verification` row of metrics.jsonl."""
    return {"kind": "verification", "step": step, **numbers(result)}

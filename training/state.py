"""The state of a run, what `--resume` reads: two generations, each written whole or not at all.

RUN/state/STEP/ holds net.params, head.params, momentum.params and state.json. A generation is made in a temporary
folder, flushed, and renamed, so a kill at any moment leaves the one before it. The newest that reads well is resumed.
"""
from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mxnet as mx

from common.errors import UserError
from common.files import fsync
from training.config import FREE_ON_RESUME

log = logging.getLogger(__name__)
KEEP = 2
ARRAYS = ("net", "head", "momentum")


@dataclass
class Progress:
    """What a run knows about itself beside its arrays.

    step: updates made; position: images taken from the endless order; saves: checkpoints written (NNNN of the newest);
    best: the best value of the best metric so far; best_number: the checkpoint it is in; metrics_bytes: length of
    metrics.jsonl; verified_step: the step of the newest verification; warned: warnings already given.
    """

    step: int = 0
    position: int = 0
    saves: int = 0
    best: float | None = None
    best_number: int = 0
    metrics_bytes: int = 0
    verified_step: int = -1
    warned: list[str] = field(default_factory=list)


def save_state(folder: Path, progress: Progress, config: dict[str, Any],
               arrays: dict[str, dict[str, mx.nd.NDArray]]) -> Path:
    """Write a generation of `arrays` (by the names in ARRAYS) and `progress`; remove all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{progress.step:09d}"
    temporary = folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        digests = {}
        for name in ARRAYS:
            path = temporary / f"{name}.params"
            mx.nd.save(str(path), arrays[name])
            fsync(path)
            digests[path.name] = _digest(path)
        header = {"progress": asdict(progress), "config": config, "sha256": digests}
        (temporary / "state.json").write_text(json.dumps(header, indent=1), encoding="utf-8")
        fsync(temporary / "state.json")
        fsync(temporary)
        if final.exists():  # the same step, verified and then stopped
            shutil.rmtree(final)
        os.replace(temporary, final)
        fsync(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in generations(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def generations(folder: Path) -> list[Path]:
    """The state folders of a run, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def load_state(folder: Path, config: dict[str, Any]) -> tuple[Progress, dict[str, dict[str, mx.nd.NDArray]]] | None:
    """The newest generation that reads well, or None where there is no state at all.

    A damaged generation is skipped with a warning. UserError where the state is of another configuration, naming the
    flags that differ, or where every generation is damaged.
    """
    found = generations(folder)
    for path in reversed(found):
        try:
            header = json.loads((path / "state.json").read_text(encoding="utf-8"))
            for name, digest in header["sha256"].items():
                if _digest(path / name) != digest:
                    raise ValueError(f"{name} is damaged")
            progress = Progress(**header["progress"])
            with mx.Context("cpu", 0):
                arrays = {name: _dictionary(mx.nd.load(str(path / f"{name}.params"))) for name in ARRAYS}
        except (OSError, ValueError, KeyError, TypeError, mx.MXNetError) as error:
            log.warning("state %s cannot be used (%s); trying the one before it", path, error)
            continue
        _same_configuration(header["config"], config, path)
        return progress, arrays
    if found:
        raise UserError(f"--resume: every state in {folder} is damaged; begin anew with --overwrite")
    return None


def _dictionary(arrays: Any) -> dict[str, mx.nd.NDArray]:
    return arrays if isinstance(arrays, dict) else {}


def _same_configuration(theirs: dict[str, Any], ours: dict[str, Any], path: Path) -> None:
    different = [f"--{name.replace('_', '-')} {theirs.get(name)} there, {value} here" for name, value in ours.items()
                 if name not in FREE_ON_RESUME and theirs.get(name) != value]
    if different:
        raise UserError(f"--resume: the state {path} is of another configuration: {'; '.join(different)}")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()

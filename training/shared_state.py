"""Broadcasts worker 0's initial or resumed state: the other workers need no run folder."""
from __future__ import annotations

import hashlib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from training.cluster.communicator import Communicator
from training.config import Config
from training.model import TrainingModel
from training.option import ANY, flags
from training.saving.fingerprint import NAMES
from training.saving.state import Arrays, Progress, States


def check_alike(communicator: Communicator, identity: dict[str, Any]) -> None:
    """UserError, naming the difference, where a worker has other flags or other data than worker 0."""
    known = flags(Config)
    free = {NAMES, *(item.name for item in fields(Config) if item.name not in known or known[item.name].workers == ANY)}
    communicator.check_same({f"`{name}`" if name in known else name: value for name, value in identity.items()
                             if name not in free})


def broadcast_state(communicator: Communicator, states: States,
                    state: tuple[Progress, Arrays] | None) -> tuple[Progress, Arrays] | None:
    """Worker 0's state from its run folder, at all workers, bit for bit; the others pass None."""
    if communicator.size == 1:
        return state
    progress, arrays = state or (None, {})
    content = communicator.broadcast({"progress": asdict(progress), "newest": str(states.newest)} if progress else None)
    if content is None:
        return None
    states.newest = Path(content["newest"])
    return Progress(**content["progress"]), broadcast_arrays(communicator, arrays)


def broadcast_arrays(communicator: Communicator, arrays: Arrays) -> Arrays:
    """Worker 0's `arrays` at all workers, bit for bit; the others' values are ignored."""
    if communicator.size == 1:
        return arrays
    flat = [(part, name, value.asnumpy()) for part, values in arrays.items() for name, value in values.items()]
    content = communicator.broadcast({
        "arrays": [[part, name, value.dtype.str, value.shape] for part, name, value in flat], "parts": list(arrays)})
    received: Arrays = {part: {} for part in content["parts"]}
    for number, (part, name, kind, shape) in enumerate(content["arrays"]):
        data = communicator.broadcast_bytes(flat[number][2].tobytes() if communicator.rank == 0 else b"")
        value = np.frombuffer(data, kind).reshape(shape)
        received[part][name] = mx.nd.array(value, ctx=mx.cpu(), dtype=value.dtype)
    return received


def check_weights(communicator: Communicator, model: TrainingModel, step: int) -> None:
    """UserError where a worker starts with other weights than worker 0, as with another `pretrained`."""
    if communicator.size == 1:
        return
    digest = hashlib.sha256()
    for _, value in sorted({**model.network_arrays()[0], **model.head_arrays()}.items()):
        digest.update(value.asnumpy().tobytes())
    communicator.check_same({"step": step, "weights": digest.hexdigest()[:16]})

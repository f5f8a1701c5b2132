"""A run over several workers begins, or goes on, from what worker 0 has: the others need no folder of their own."""
from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from training.cluster.workers import Workers
from training.config import FREE_ON_RESUME
from training.model import Model
from training.saving.state import Arrays, Progress, States

# These may differ between states, but workers that do not agree on them would wait for each other in vain.
SAME_AT_WORKERS = ("max_steps", "total_steps", "end_epoch", "verbose", "frequent", "on_nan", "dry_run", "kvstore")


def check_alike(workers: Workers, identity: dict[str, Any]) -> None:
    """UserError, naming what differs, where a worker has other flags or other data than worker 0."""
    workers.check_same({f"--{name.replace('_', '-')}" if name != "data" else "data": value
                        for name, value in identity.items()
                        if name not in FREE_ON_RESUME or name in SAME_AT_WORKERS})


def share_state(workers: Workers, states: States,
                state: tuple[Progress, Arrays] | None) -> tuple[Progress, Arrays] | None:
    """What worker 0 read of its run folder, at all workers, to the last bit; the others pass None."""
    if workers.number == 1:
        return state
    progress, arrays = state or (None, {})
    flat = [(part, name, value.asnumpy()) for part, values in arrays.items() for name, value in values.items()]
    content = workers.share({"progress": asdict(progress), "newest": str(states.newest),
                             "arrays": [[part, name, value.dtype.str, value.shape] for part, name, value in flat],
                             "parts": list(arrays)} if progress else None)
    if content is None:
        return None
    states.newest = Path(content["newest"])
    received: Arrays = {part: {} for part in content["parts"]}
    for number, (part, name, kind, shape) in enumerate(content["arrays"]):
        data = workers.share_bytes(flat[number][2].tobytes() if flat else b"")
        value = np.frombuffer(data, kind).reshape(shape)
        received[part][name] = mx.nd.array(value, ctx=mx.cpu(), dtype=value.dtype)
    return Progress(**content["progress"]), received


def check_weights(workers: Workers, model: Model, step: int) -> None:
    """UserError where a worker begins with other weights than worker 0, as with another --pretrained."""
    if workers.number == 1:
        return
    digest = hashlib.sha256()
    for _, value in sorted({**model.network_arrays()[0], **model.head_arrays()}.items()):
        digest.update(value.asnumpy().tobytes())
    workers.check_same({"step": step, "weights": digest.hexdigest()[:16]})

"""What `--model` may name: a checkpoint, several of one run, or embeddings made before."""
from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from common.errors import UserError

CHUNK = 1 << 20


@dataclass(frozen=True)
class ModelName:
    """One model: a checkpoint's prefix and epoch, or the path of an embeddings file. text: as tables show it."""

    text: str
    prefix: str = ""
    epoch: int = 0
    embeddings: str = ""


def parse_models(texts: Sequence[str], flag: str = "--model") -> list[ModelName]:
    """`PREFIX,EPOCH`; `PREFIX,1|2|3` several epochs and `PREFIX` all of them, as in InsightFace's script; `X.npz`."""
    models: list[ModelName] = []
    for text in texts:
        if text.endswith(".npz"):
            models.append(ModelName(text, embeddings=text))
            continue
        prefix, comma, epochs = text.rpartition(",")
        if comma and not re.fullmatch(r"\s*[0-9]{1,9}(\|[0-9]{1,9})*\s*", epochs):
            raise UserError(f"{flag} {text}: expected PREFIX,EPOCH, PREFIX,1|2|3, PREFIX for all epochs, or X.npz")
        numbers = [int(part) for part in epochs.split("|")] if comma else _epochs(text)
        if not numbers:
            raise UserError(f"{flag} {text}: there is no {text}-NNNN.params; expected PREFIX,EPOCH as in "
                            "runs/a/model,3")
        models += [ModelName(f"{prefix or text},{number}", prefix or text, number) for number in numbers]
    return models


def checkpoint_digest(prefix: str, epoch: int) -> str:
    """sha256 of a checkpoint: of its symbol's bytes, then its parameters'."""
    digest = hashlib.sha256()
    for path in (f"{prefix}-symbol.json", f"{prefix}-{epoch:04d}.params"):
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(CHUNK), b""):
                digest.update(piece)
    return digest.hexdigest()


def _epochs(prefix: str) -> list[int]:
    folder, stem = Path(prefix).parent, Path(prefix).name
    found = [re.fullmatch(re.escape(stem) + r"-([0-9]{4,9})\.params", path.name) for path in folder.glob("*.params")]
    return sorted(int(match.group(1)) for match in found if match)


def embed_batches(embedder: Any, batches: Any, flip: bool, step: Callable[[int], object]) -> tuple[np.ndarray, ...]:
    """(N, D) float32 unit embeddings and (N,) their lengths before; step: told how many images each batch had."""
    units, norms = [], []
    for views in embedder.embed(batches, flip):
        added = views.sum(axis=0)
        length = np.linalg.norm(added, axis=1)
        units.append(added / np.where(length == 0, 1, length)[:, None])
        norms.append(length)
        step(len(length))
    return np.concatenate(units).astype(np.float32), np.concatenate(norms).astype(np.float32)

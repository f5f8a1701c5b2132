"""Parses `--model`: a checkpoint, several of one run, an ONNX file, or precomputed embeddings."""
from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Callable, Iterable, Sequence

import numpy as np

from common.errors import RunError, UserError
from common.files import PathLike

CHUNK = 1 << 20
FILE_OF_CHECKPOINT = re.compile(r"(.+)-(?:symbol\.json|([0-9]{4,9})\.params)", re.DOTALL)
FORMS = "PREFIX,EPOCH, PREFIX,1|2|3, PREFIX for all epochs, X.onnx or X.npz"


@dataclass(frozen=True)
class ModelName:
    """One model: a checkpoint's prefix and epoch, or the path of an ONNX or an embeddings file. text: as tables show
    it."""

    text: str
    prefix: str = ""
    epoch: int = 0
    embeddings: str = ""
    onnx: str = ""

    @property
    def stem(self) -> str:
        """The stem of file names derived from it: `model-0003`."""
        return f"{Path(self.prefix).name}-{self.epoch:04d}" if self.prefix else Path(self.onnx or self.embeddings).stem


def parse_models(texts: Sequence[str], flag: str = "`model`") -> list[ModelName]:
    """`PREFIX,EPOCH`; `PREFIX,1|2|3` several epochs and `PREFIX` all of them, as in InsightFace's script; `X.onnx`;
    `X.npz`. UserError for anything else, and for a model that is named twice."""
    models: list[ModelName] = []
    for text in texts:
        if text.endswith(".npz"):
            models.append(ModelName(text, embeddings=text))
        elif text.endswith(".onnx"):
            models.append(ModelName(text, onnx=text))
        else:
            models += _checkpoints(text, flag)
    for number, model in enumerate(models):
        if model in models[:number]:
            raise UserError(f"{flag} {model.text}: is named twice; leave one out")
    return models


def _checkpoints(text: str, flag: str) -> list[ModelName]:
    prefix, comma, epochs = text.rpartition(",")
    if comma and not re.fullmatch(r"\s*[0-9]{1,9}(\|[0-9]{1,9})*\s*", epochs):
        if "/" in epochs or _epochs(text):  # of a prefix, whose own name or folder's has a comma
            return _checkpoints_of(text, _epochs(text), flag)
        raise UserError(f"{flag} {text}: expected {FORMS}")
    return _checkpoints_of(*((prefix, [int(part) for part in epochs.split("|")]) if comma else (text, _epochs(text))),
                           flag)


def _checkpoints_of(prefix: str, epochs: Sequence[int], flag: str) -> list[ModelName]:
    if not epochs:
        found = FILE_OF_CHECKPOINT.fullmatch(prefix)
        if found and os.path.exists(prefix):
            raise UserError(f"{flag} {prefix}: is one of a checkpoint's two files, which PREFIX,EPOCH names: give "
                            + quote(f"{found[1]}{f',{int(found[2])}' if found[2] else ''}"))
        if prefix.lower().endswith((".npz", ".onnx")):
            raise UserError(f"{flag} {prefix}: expected {FORMS}, in small letters")
        raise UserError(f"{flag} {prefix}: there is no {prefix}-NNNN.params; expected PREFIX,EPOCH as in "
                        "runs/a/model,3")
    return [ModelName(f"{prefix},{number}", prefix, number) for number in epochs]


def file_digest(*paths: PathLike) -> str:
    """sha256 of the bytes of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(CHUNK), b""):
                digest.update(piece)
    return digest.hexdigest()


def checkpoint_digest(prefix: str, epoch: int) -> str:
    """sha256 of a checkpoint: of its symbol's bytes, then its parameters'."""
    return file_digest(f"{prefix}-symbol.json", f"{prefix}-{epoch:04d}.params")


def network_digest(model: ModelName) -> str:
    """sha256 of a checkpoint, or of an ONNX file."""
    return checkpoint_digest(model.prefix, model.epoch) if model.prefix else file_digest(model.onnx)


def _epochs(prefix: str) -> list[int]:
    folder, stem = Path(prefix).parent, Path(prefix).name
    found = [re.fullmatch(re.escape(stem) + r"-([0-9]{4,9})\.params", path.name) for path in folder.glob("*.params")]
    return sorted(int(match.group(1)) for match in found if match)


class Diverged(RunError):
    """An embedding that is not finite."""


def added_views(views: np.ndarray, seen: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, D) the normalised sums of (views, n, D) embeddings, zeros where a sum is, and (n,) their lengths before.

    seen: images that came before these. Diverged where an embedding is not finite.
    """
    added = views.sum(axis=0)
    length = np.linalg.norm(added, axis=1)
    if not np.isfinite(length).all():
        first = seen + int(np.argmax(~np.isfinite(length)))
        raise Diverged(f"the embedding of image {first} (from 0) is not finite: the model has diverged, its "
                       "parameters hold NaN or infinity, or its running statistics are those of too few steps")
    return added / np.where(length == 0, 1, length)[:, None], length


def embed_views(embedder: Any, batches: Iterable[np.ndarray], flip: bool,
                step: Callable[[int], object] = lambda images: None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, D) float32 unit embeddings; (N,) their lengths before; (N,) the mean length of an image's embedding and its
    mirror image's before they are added, whose mean is XNorm.

    embedder: `inference.embedder.Embedder` or `inference.onnx_embedder.OnnxEmbedder`. step: told how many images each
    batch had. Diverged where an embedding is not finite.
    """
    units: list[np.ndarray] = []
    norms: list[np.ndarray] = []
    view_norms: list[np.ndarray] = []
    for views in embedder.embed(batches, flip):
        unit, length = added_views(views, sum(map(len, norms)))
        units.append(unit)
        norms.append(length)
        view_norms.append(np.linalg.norm(views, axis=-1).mean(axis=0))
        step(len(length))
    return (np.concatenate(units).astype(np.float32), np.concatenate(norms).astype(np.float32),
            np.concatenate(view_norms).astype(np.float32))


def embed_batches(embedder: Any, batches: Iterable[np.ndarray], flip: bool,
                  step: Callable[[int], object] = lambda images: None) -> tuple[np.ndarray, np.ndarray]:
    """The first two of `embed_views`."""
    return embed_views(embedder, batches, flip, step)[:2]

"""Embeddings on disk with their provenance: `X.npz`, computed once and read by every command.

Arrays: embeddings (N, D) float32, image and mirror image added, normalised; norms (N,) float32, before normalising;
view_norms (N,) float32, the mean length of an image's embedding and its mirror image's, whose mean is XNorm; names (N,)
text; labels (N,) int64 where they are known; meta, JSON as text: `model` and `set` with their sha256, `layer`, `flip`,
`alignment` where it is known, `versions`.

names are paths below a folder by identity, keys of a packed set, or the places, from 0, of a `.bin`'s images, left,
right, left, ... The sha256 of a set is over the name, the label and the sha256 of every image (`FaceSet.digest`,
`VerificationSet.digest`); that of a model of its files' bytes, the symbol's first.
"""
from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from common.environment import free_memory
from common.errors import UserError
from common.files import PathLike, atomic_path, open_regular

FLOAT32 = 2e-6  # what the length of a vector that was normalised in float32 may differ from 1


@dataclass(frozen=True)
class Embeddings:
    """A file's contents; labels None where the identities are not known. norms: NaN where a file has none, but 0 for
    an embedding of zeros."""

    embeddings: np.ndarray
    norms: np.ndarray
    names: np.ndarray
    labels: np.ndarray | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    view_norms: np.ndarray | None = None

    def digest_of(self, what: str) -> str | None:
        """sha256 of their `model` or `set`, None where the file does not have it."""
        return digest_in(self.meta, what)

    @property
    def has_norms(self) -> bool:
        """Whether the norms before normalisation are known."""
        return not np.isnan(self.norms).any()

    def unlike(self, other: Embeddings) -> str:
        """Why the two cannot be compared image by image, or ""."""
        for what, ours, theirs in (("set", self.digest_of("set"), other.digest_of("set")),
                                   ("flip", self.meta.get("flip"), other.meta.get("flip"))):
            if ours != theirs:
                return f"they are of another {what}: {ours} and {theirs}"
        return "" if np.array_equal(self.names, other.names) else "they are of other images"


def digest_in(meta: Mapping[str, Any], what: str) -> str | None:
    """sha256 of the `model` or `set` of metadata, None where it is not there."""
    part = meta.get(what)
    found = part.get("sha256") if isinstance(part, dict) else None
    return found if isinstance(found, str) else None


def save_embeddings(path: PathLike, made: Embeddings, replace: bool = True) -> None:
    """Write `path` atomically; embeddings that are on the disk are not read into memory at once."""
    arrays = {"embeddings": made.embeddings.astype(np.float32, copy=False), "norms": made.norms.astype(np.float32),
              "names": made.names.astype(str), "meta": np.array(json.dumps(made.meta, sort_keys=True))}
    if made.labels is not None:
        arrays["labels"] = made.labels.astype(np.int64)
    if made.view_norms is not None:
        arrays["view_norms"] = made.view_norms.astype(np.float32)
    with atomic_path(path, replace) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **arrays)


def digest_of_network(path: PathLike) -> str | None:
    """sha256 of the network that the embeddings of `path`, a file that `load_embeddings` reads, are of; None where it
    is not in the file. No array but `meta` is read."""
    with np.load(path, allow_pickle=False) as stored:
        return digest_in(_metadata(stored["meta"]) if "meta" in stored.files else {}, "model")


def _array(stored: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        return stored[name]
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise ValueError(f"its {name} are pickled objects, which are never read; save names as text, all else as "
                         "numbers") from None


def _metadata(stored: np.ndarray) -> dict[str, Any]:
    """The JSON object in an array of one text, or of its bytes; {} for other JSON, ValueError for what is none."""
    if stored.size != 1 or stored.dtype.kind not in "US":
        raise ValueError(f"its meta is {stored.dtype} of shape {stored.shape}, not JSON as text")
    try:
        meta = json.loads(stored.item())
    except ValueError as error:
        raise ValueError(f"its meta is not JSON: {error}") from None
    return meta if isinstance(meta, dict) else {}


def load_embeddings(path: PathLike) -> Embeddings:
    """Read `path`; UserError, one line, where it is not such a file or its parts are inconsistent. Nothing in it is
    executed (no pickles)."""
    path = Path(path)
    try:
        with open_regular(path) as stream:
            with zipfile.ZipFile(stream) as parts:
                wanted, free = sum(part.file_size for part in parts.infolist()), free_memory()
            if free is not None and wanted > free:
                raise ValueError(f"its arrays take {wanted >> 20} MiB, and {free >> 20} MiB of memory are free")
            stream.seek(0)
            stored = np.load(stream, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):  # an array with an archive behind it
                raise ValueError("one array alone")
            arrays = {name: _array(stored, name) for name in (
                "embeddings", "norms", "names", "labels", "meta", "view_norms") if name in stored.files}
        meta = _metadata(arrays["meta"]) if "meta" in arrays else {}
        embeddings = arrays["embeddings"]
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except KeyError as error:
        raise UserError(f"{path}: has no array {error}; expected embeddings (N, D) and norms, names, labels, "
                        "meta") from None
    except (OSError, ValueError, zipfile.BadZipFile, MemoryError, RuntimeError, EOFError, zlib.error) as error:
        # RuntimeError: an encrypted member, a compression that zipfile lacks, or JSON nested too deep
        raise UserError(f"{path}: is not an embeddings file ({' '.join(str(error).split())[:100]})") from None
    if embeddings.ndim != 2 or embeddings.dtype.kind != "f" or not embeddings.shape[1]:
        raise UserError(f"{path}: embeddings are {embeddings.dtype} of shape {embeddings.shape}, not (N, D) floating "
                        "point numbers")
    if not np.isfinite(embeddings).all():
        bad = int(np.flatnonzero(~np.isfinite(embeddings).all(axis=1))[0])
        raise UserError(f"{path}: embedding {bad} (from 0) is not finite; its network gives NaN or infinity")
    with np.errstate(over="ignore"):  # of values that are not normalised
        embeddings = embeddings.astype(np.float32, copy=False)
        count, lengths = len(embeddings), np.linalg.norm(embeddings, axis=1)
    if count and not lengths.any():
        raise UserError(f"{path}: all of its {count} embeddings are zeros")
    if count and not abs(lengths[lengths > 0] - 1).max(initial=0) <= 1e-3:
        raise UserError(f"{path}: embeddings are not normalised; divide each by its length")
    rounded = (lengths > 0) & (abs(lengths - 1) > FLOAT32)
    if rounded.any():  # to float16, say: the squared distance of two has to be 2 - 2 cosine
        embeddings[rounded] /= lengths[rounded, None]
    norms = arrays.get("norms", np.where(lengths > 0, np.float32(np.nan), np.float32(0)))
    names = arrays.get("names", np.arange(count))
    labels, view_norms = arrays.get("labels"), arrays.get("view_norms")
    for name, array in (("norms", norms), ("names", names), ("labels", labels), ("view_norms", view_norms)):
        if array is not None and array.shape != (count,):
            raise UserError(f"{path}: {name} is of shape {array.shape}, embeddings are {count}")
    for name in ("norms", "view_norms"):
        array = arrays.get(name)
        if array is not None and (array.dtype.kind not in "fiu" or not (np.isfinite(array) & (array >= 0)).all()):
            raise UserError(f"{path}: {name} are not finite numbers from 0 on")
    if names.dtype.kind not in "USiu":
        raise UserError(f"{path}: names are {names.dtype}, not text")
    if names.dtype.kind == "S":  # bytes, of Python 2 and of file names
        names = np.array([name.decode("utf-8", "surrogateescape") for name in names.tolist()], str)
    if labels is not None and labels.dtype.kind not in "iu":
        raise UserError(f"{path}: labels are not whole numbers")
    return Embeddings(embeddings, norms, names.astype(str), labels, meta, view_norms)

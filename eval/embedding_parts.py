"""Checkpoints of a long embedding run: parts of some thousand images in a folder beside the final file."""
from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np

from common.errors import UserError
from eval.embedding_file import Embeddings, load_embeddings, save_embeddings

log = logging.getLogger(__name__)
PART = 8192  # images, or the first whole batch after them


@dataclass
class EmbeddingParts:
    """Parts of `place`, an unfinished embeddings file, in `place`.partial/; names: of all images, in order;
    meta: of the final file. A part is written atomically, and holds its images' names."""

    place: Path
    names: Sequence[str]
    meta: dict[str, Any]
    _open: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    _done: int = 0

    @property
    def folder(self) -> Path:
        """The folder of the parts."""
        return self.place.with_name(self.place.name + ".partial")

    def read(self) -> Iterator[Embeddings]:
        """The existing parts, from the first image on, up to the first that is not of this file."""
        while self._done < len(self.names) and self._part(self._done).is_file():
            try:
                found = load_embeddings(self._part(self._done))
            except UserError as error:
                log.warning("%s; it and those after it are recomputed", error)
                return
            unlike = [what for what in ("model", "set", "layer", "flip") if not _alike(found.meta, self.meta, what)]
            if list(found.names) != list(self.names[self._done:self._done + len(found.names)]) or not len(found.names):
                unlike.append("images")
            if unlike:
                log.warning("%s: is of %s than requested; it and those after it are recomputed", self._part(self._done),
                            " and ".join(f"another {what}" if what != "images" else "other images" for what in unlike))
                return
            self._done += len(found.names)
            yield found

    def add(self, unit: np.ndarray, norms: np.ndarray) -> None:
        """Embeddings of the next images; they are on the disk once there are enough for a part."""
        self._open.append((unit, norms))
        if sum(len(lengths) for _, lengths in self._open) >= PART:
            self.flush()

    def flush(self) -> None:
        """Write the embeddings added since the last part."""
        if not self._open:
            return
        unit, norms = (np.concatenate(some) for some in zip(*self._open))
        self.folder.mkdir(parents=True, exist_ok=True)
        save_embeddings(self._part(self._done), Embeddings(unit, norms, np.array(
            self.names[self._done:self._done + len(norms)]), None, self.meta))
        self._done += len(norms)
        self._open.clear()

    def remove(self) -> None:
        """Remove the parts once the final file exists."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _part(self, first: int) -> Path:
        return self.folder / f"{first:09d}.npz"


def _alike(found: dict[str, Any], wanted: dict[str, Any], what: str) -> bool:
    """A model or a set is identified by its sha256, whatever its path."""
    one, other = found.get(what), wanted.get(what)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.get("sha256") is not None and one.get("sha256") == other.get("sha256")
    return one == other and one is not None

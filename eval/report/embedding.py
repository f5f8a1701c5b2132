"""Embeds every image of a report once per model, however many sets it is in."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np

from common.environment import usable_cores
from common.errors import DataError
from common.progress import meter
from common.workers import ordered_map
from eval.batches import stacked
from eval.embedding_file import Embeddings
from eval.models import added_views
from images.codec import ImageError, decode


@dataclass(frozen=True)
class Embedded:
    """unit: (N, D) float32, mirror images added, normalised. norms: (N,) before that. view_norms: (N,) the mean length
    of an image's embedding and its mirror image's, which XNorm averages."""

    unit: np.ndarray
    norms: np.ndarray
    view_norms: np.ndarray


def spread(made: Embeddings, places: np.ndarray, size: int) -> Embedded:
    """Embeddings of a file in the order of a pool of `size` images; places: the pool index of each row of the file."""
    arrays = [made.embeddings, made.norms,
              np.full(len(made.norms), np.nan) if made.view_norms is None else made.view_norms]
    found = [np.zeros((size, *array.shape[1:]), array.dtype) for array in arrays]
    for whole, array in zip(found, arrays):
        whole[places] = array
    return Embedded(*found)


class ImagePool:
    """Encoded images from several sets, without duplicates, in order of arrival."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._read: list[Callable[[], bytes]] = []
        self._names: list[str] = []

    def __len__(self) -> int:
        return len(self._read)

    def add(self, read: Callable[[], bytes], name: str) -> int:
        """The place of an image. read: its bytes; it is called again when the image is embedded. name: for errors."""
        digest = hashlib.blake2b(read(), digest_size=16).digest()
        place = self._places.setdefault(digest, len(self._read))
        if place == len(self._read):
            self._read.append(read)
            self._names.append(name)
        return place

    def image(self, place: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB; DataError where it does not decode."""
        try:
            return decode(self._read[place]())
        except ImageError as error:
            raise DataError(f"{self._names[place]} {error}") from None

    def embed(self, embedder: Any, flip: bool, what: str) -> Embedded:
        """By one model, with a progress bar; DataError for an image of another size than the model's."""
        views = []
        with meter(len(self), what, "images") as bar:
            for found in embedder.embed(stacked(self._sized(embedder.image_size), embedder.batch_size), flip):
                views.append(found)
                bar.update(found.shape[1])
        every = np.concatenate(views, axis=1)
        return Embedded(*added_views(every), np.linalg.norm(every, axis=-1).mean(axis=0))

    def _sized(self, size: tuple[int, int]) -> Iterator[np.ndarray]:
        for place, image in enumerate(ordered_map(self.image, range(len(self)), usable_cores())):
            if image.shape[:2] != size:
                raise DataError(f"{self._names[place]} is {image.shape[0]}x{image.shape[1]}, the report's images are "
                                f"{size[0]}x{size[1]}")
            yield image


def set_name(path: str | Path) -> str:
    """A set's name on the page: the last three parts of its path."""
    return "/".join(Path(path).parts[-3:]) or str(path)

"""One vector for each identity: the mean of its images' embeddings. MXNet is imported when it is first called."""
from __future__ import annotations

import contextlib
import functools
import itertools
import logging
from dataclasses import dataclass
from typing import Callable, Iterator, Protocol, Sequence

import numpy as np

from common.environment import check_environment, usable_cores
from common.errors import RunError, UserError
from common.progress import progress
from common.workers import ordered_map
from images.codec import ImageError, decode

log = logging.getLogger(__name__)


class Images(Protocol):
    """A set of numbered images: its path, functions from number to the image file's bytes and to its name in
    messages."""

    @property
    def path(self) -> str: ...

    @property
    def read(self) -> Callable[[int], bytes]: ...

    @property
    def where(self) -> Callable[[int], str]: ...


@dataclass(frozen=True)
class CheckpointSpec:
    """A checkpoint and how to run it; images: at most so many of an identity are used."""

    prefix: str
    epoch: int
    devices: str | None = None
    batch_size: int = 64
    layer: str = "fc1"
    images: int = 10


class MeanEmbedder:
    """A model loaded for images of (height, width); UserError where it cannot be loaded or takes another size."""

    def __init__(self, model: CheckpointSpec, image_size: tuple[int, int]) -> None:
        check_environment()
        from common.devices import parse_devices
        from inference.embedder import Embedder
        from inference.model import in_float32, load_model

        self.model, self.image_size = model, image_size
        parameters = in_float32(*load_model(model.prefix, model.epoch, model.layer))
        self._embedder = Embedder(*parameters, parse_devices(model.devices), model.batch_size, image_size)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._embedder.dimension

    def means(self, faces: Images, identities: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (identities, D), each of length 1: the mean of the unit embeddings (image and mirror image summed)
        of up to `model.images` evenly spaced images of the identity, scaled to length 1; zeros where none decodes.

        identities: the images of each, numbers that `faces.read` takes. UserError for an image of another size,
        RunError for embeddings that are not finite.
        """
        chosen = [(identity, number) for identity, images in enumerate(identities)
                  for number in images[np.linspace(0, len(images) - 1, min(self.model.images, len(images)))
                                       .astype(int)].tolist()]
        sums = np.zeros((len(identities), self._embedder.dimension), np.float64)
        work = functools.partial(self._load, faces)
        with contextlib.closing(ordered_map(work, chosen, usable_cores())) as loaded:
            readable: list[int] = []
            shown = progress(loaded, len(chosen), f"embed {faces.path}")
            done = 0
            for both in self._embedder.embed(self._batches(shown, readable), flip=True):
                vectors = both.sum(axis=0, dtype=np.float64)
                if not np.isfinite(vectors).all():  # which is like nobody, so that nobody would be found
                    raise RunError(f"{self.model.prefix},{self.model.epoch}: its embeddings of {faces.path} hold NaN "
                                   "or infinity: the model has diverged; take an earlier epoch")
                vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
                np.add.at(sums, readable[done:done + len(vectors)], vectors)
                done += len(vectors)
        if done < len(chosen):
            log.warning("%s: %d images do not decode and were not compared", faces.path, len(chosen) - done)
        return (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)

    def _load(self, faces: Images, item: tuple[int, int]) -> tuple[int, np.ndarray | None]:
        identity, number = item
        try:
            image = decode(faces.read(number))
        except (ImageError, OSError):
            return identity, None
        if image.shape[:2] != self.image_size:
            raise UserError(f"{faces.where(number)}: is {image.shape[0]}x{image.shape[1]}, the sets to be joined are "
                            f"{self.image_size[0]}x{self.image_size[1]} (height x width)")
        return identity, image

    def _batches(self, loaded: Iterator[tuple[int, np.ndarray | None]], readable: list[int]) -> Iterator[np.ndarray]:
        """Batches of the images that decode; their identities are appended to `readable`."""
        sound = ((identity, image) for identity, image in loaded if image is not None)
        while True:
            batch = list(itertools.islice(sound, self._embedder.batch_size))
            if not batch:
                return
            readable += [identity for identity, _ in batch]
            yield np.stack([image for _, image in batch])

"""Images to embeddings, streaming: for each face the normalised sum of those of the image and its mirror image."""
from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Iterable, Iterator

import numpy as np

from common.errors import RunError
from deploy.reading import ReadImage
from inference.engine import AnyEmbedder


@dataclass(frozen=True)
class Embedded:
    """image: the image read, without its crops. unit: (faces, D) float32, normalised; norms: (faces,) before;
    view_norms: (faces,) the mean length of a face's embedding and its mirror image's before they are added. boxes,
    scores: of its faces by the detector, None where the image is a crop."""

    image: ReadImage
    unit: np.ndarray
    norms: np.ndarray
    view_norms: np.ndarray
    boxes: list[tuple[float, ...] | None]
    scores: list[float | None]


def embed_images(embedder: AnyEmbedder, images: Iterable[ReadImage], flip: bool) -> Iterator[list[Embedded]]:
    """Yield the images in order, a few at a time, as soon as the embeddings of a batch are available.

    Batches are filled with faces across images, so an image is yielded when all of its faces are done. RunError for
    embeddings that are not finite.
    """
    waiting: collections.deque[tuple[ReadImage, list, list]] = collections.deque()

    def batches() -> Iterator[np.ndarray]:
        crops: list[np.ndarray] = []
        for image in images:
            faces = image.faces
            waiting.append((ReadImage(image.number, image.sha256, [], image.reason), [face.box for face in faces],
                            [face.score for face in faces]))
            for face in faces:
                crops.append(face.crop)
                if len(crops) == embedder.batch_size:
                    yield np.stack(crops)
                    crops = []
        if crops:
            yield np.stack(crops)

    done = np.zeros((0, embedder.dimension), np.float32), np.zeros(0, np.float32)
    for views in embedder.embed(batches(), flip):
        done = (np.concatenate([done[0], views.sum(axis=0)]),
                np.concatenate([done[1], np.linalg.norm(views, axis=-1).mean(axis=0)]))
        ready, done = _ready(waiting, *done)
        if ready:
            yield ready
    ready, _ = _ready(waiting, *done)
    if ready:
        yield ready


def _ready(waiting: collections.deque, sums: np.ndarray, view_norms: np.ndarray
           ) -> tuple[list[Embedded], tuple[np.ndarray, np.ndarray]]:
    """The images whose faces are all among the sums, (n, D), of views with the lengths view_norms, (n,); and the sums
    and lengths that remain."""
    ready: list[Embedded] = []
    first = 0
    while waiting and first + len(waiting[0][1]) <= len(sums):
        image, boxes, scores = waiting.popleft()
        own = slice(first, first + len(boxes))
        first += len(boxes)
        norms = np.linalg.norm(sums[own], axis=1)
        if not np.isfinite(norms).all():
            raise RunError(f"image {image.number} (from 0): the model gives embeddings that are not finite, so it has "
                           "diverged; use an earlier epoch")
        ready.append(Embedded(image, sums[own] / np.where(norms == 0, 1, norms)[:, None], norms, view_norms[own], boxes,
                              scores))
    return ready, (sums[first:], view_norms[first:])

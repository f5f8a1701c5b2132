"""The images of IJB, cropped by their landmarks and embedded, or their embeddings from a file."""
from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

import numpy as np

from common.environment import usable_cores
from common.errors import UserError
from common.files import read_regular
from common.progress import meter
from common.workers import ordered_map
from eval.batches import stacked
from eval.embedding_file import Embeddings, load_embeddings
from eval.embedding_parts import EmbeddingParts
from eval.embedding_store import check_manner, meta_of, place_of, stored, write_stored
from eval.models import ModelName, added_views
from eval.opening import EmbeddingSettings, OpenModel
from eval.templates.ijb_files import Images
from images.alignment import align
from images.codec import ImageError, decode

log = logging.getLogger(__name__)
PART = 4096  # embeddings per block


@dataclass
class Lost:
    """Unavailable images: names of the first, and how many."""

    names: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, name: str, why: str) -> None:
        """One more."""
        self.count += 1
        if len(self.names) < 5:
            self.names.append(f"{name} ({why})")


def lists_digest(images: Images) -> str:
    """sha256 of the names and landmarks, which identifies an embeddings file of these images."""
    digest = hashlib.sha256("\0".join(images.names).encode("utf-8", "surrogateescape"))
    digest.update(images.points.astype("<f8").tobytes())
    return digest.hexdigest()


def crops_digest(images: Images, folder: Path, size: tuple[int, int]) -> str:
    """sha256 of all that determines the crops, without reading every image: names and landmarks, (H, W) of the crops,
    and the size of each file, so that one that was missing or truncated and is complete now counts as another."""
    digest = hashlib.sha256(f"{lists_digest(images)} {size[0]},{size[1]}".encode())
    with meter(len(images.names), str(folder), "files") as bar:
        for name in images.names:
            try:
                digest.update(b"%d " % (folder / name).stat().st_size)
            except OSError:
                digest.update(b"- ")
            bar.update(1)
    return digest.hexdigest()


def embed_images(model: ModelName, images: Images, folder: Path, size: tuple[int, int], settings: EmbeddingSettings,
                 lost: Lost, keep_norms: bool = True) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (place of the first, (n, D) normalised embeddings, (n,) lengths) of all images in their order.

    keep_norms: the lengths are needed; else they may be NaN. An unavailable image has length 0 and is added to `lost`.
    UserError where the first image is not in the folder, or an embeddings file is of other images or lacks the lengths.
    """
    if model.embeddings:
        yield from _parts(_read(model, images, settings, keep_norms), images.names, lost)
        return
    opened = OpenModel(model, settings)
    if not (folder / images.names[0]).is_file():
        raise UserError(f"`images` {folder}: has no {images.names[0]}, the first image of the lists; IJB's folder is "
                        "loose_crop")
    if not settings.keep:
        if len(images.names) > PART:
            log.warning("without `embeddings` DIR the embeddings of %d images are lost if this run is interrupted",
                        len(images.names))
        yield from _embed(opened, images, folder, size, settings, lost)
        return
    digest = crops_digest(images, folder, size)
    found = stored(opened, digest, settings)
    if found is not None and list(found.names) == images.names:
        yield from _parts(found, images.names, lost)
        return
    meta = meta_of(opened, str(folder), digest, settings, size, "none, five landmarks of the lists")
    meta["set"].update({"lists": lists_digest(images), "image_size": list(size)})
    parts = EmbeddingParts(place_of(opened, digest, settings), images.names, meta)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    start = 0
    for part in parts.read():
        kept.append((part.embeddings, part.norms))
        yield from _parts(part, images.names, lost, start)
        start += len(part.norms)
    if start:
        log.info("%s: %d of %d images were embedded before, %s", model.text, start, len(images.names), parts.folder)
    try:
        for first, unit, norms in _embed(opened, images, folder, size, settings, lost, start):
            kept.append((unit, norms))
            parts.add(unit, norms)
            yield first, unit, norms
    finally:
        parts.flush()
    unit, norms = (np.concatenate(some) for some in zip(*kept))
    write_stored(opened, Embeddings(unit, norms, np.array(images.names), None, meta), settings)
    parts.remove()


def _embed(opened: OpenModel, images: Images, folder: Path, size: tuple[int, int], settings: EmbeddingSettings,
           lost: Lost, start: int = 0) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """From the image `start` on."""
    embedder = opened.embedder(size)
    reasons: dict[int, str] = {}

    def crop(place: int) -> np.ndarray:
        try:
            return align(decode(read_regular(folder / images.names[place])), images.points[place], *size)
        except (OSError, ImageError, ValueError) as error:
            reasons[place] = (error.strerror if isinstance(error, OSError) else str(error)) or "unusable"
            return np.zeros((*size, 3), np.uint8)

    first = start
    crops = ordered_map(crop, range(start, len(images.names)), usable_cores())
    with meter(len(images.names) - start, opened.name.text, "images") as bar:
        for views in embedder.embed(stacked(crops, embedder.batch_size), settings.flip):
            unit, norms = added_views(views, first)
            for place in range(first, first + len(norms)):
                if place in reasons:
                    norms[place - first] = 0
                    lost.add(images.names[place], reasons.pop(place))
            yield first, unit.astype(np.float32), norms.astype(np.float32)
            first += len(norms)
            bar.update(len(norms))


def _read(model: ModelName, images: Images, settings: EmbeddingSettings, keep_norms: bool) -> Embeddings:
    made = load_embeddings(model.embeddings)
    origin = made.meta.get("set")
    of_lists = origin.get("lists", origin.get("sha256")) if isinstance(origin, dict) else None
    if list(made.names) != images.names or of_lists not in (None, lists_digest(images)):
        raise UserError(f"`model` {model.text}: is of other images, or other landmarks, than the lists")
    check_manner(model.text, made, settings)
    if keep_norms and not made.has_norms:
        raise UserError(f"`model` {model.text}: has no norms, by which images are weighted; give `image_norms` drop, "
                        "or the checkpoint or ONNX file that the embeddings are of")
    return made


def _parts(made: Embeddings, names: list[str], lost: Lost,
           start: int = 0) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The parts of a file whose first image is number `start`; those of length 0 were unavailable."""
    for place in np.flatnonzero(made.norms == 0).tolist():
        lost.add(names[start + place], "unavailable when it was embedded")
    for first in range(0, len(made.norms), PART):
        yield start + first, made.embeddings[first:first + PART], made.norms[first:first + PART]

"""Batches from packed records: a seeded endless order, and decoding in threads ahead of the step.

The order is a function of the seed and the position alone, so a resumed run continues with the very next image.
"""
from __future__ import annotations

import collections
import concurrent.futures
import logging
import queue
import threading
from dataclasses import dataclass
from typing import Iterable

import cv2
import numpy as np

from common.environment import usable_cores
from common.errors import RunError, UserError
from recordio_tools.dataset import FaceDataset
from recordio_tools.images import decode_bgr

log = logging.getLogger(__name__)
MAX_BAD_SHARE = 0.01  # of the images read so far, each counted once, above MAX_BAD_FREE of them
MAX_BAD_FREE = 50
CHUNK = 16  # images a thread decodes in one go
IN_WORK = 2  # batches whose images are being decoded, so that no thread waits at the end of one


@dataclass(frozen=True)
class Batch:
    """images (N, H, W, 3) uint8 RGB; labels (N,) int32; keys (N,) of the records, for messages.

    bad: keys of the records that were met here for the first time and do not decode.
    """

    images: np.ndarray
    labels: np.ndarray
    keys: np.ndarray
    bad: tuple[int, ...] = ()


class EndlessOrder:
    """Positions 0, 1, 2, ... to images: epoch e is the permutation that (seed, e) gives."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._epoch, self._permutation = -1, np.empty(0, np.int64)

    def take(self, start: int, count: int) -> np.ndarray:
        """The images at positions start .. start + count - 1."""
        parts = []
        while count > 0:
            epoch, offset = divmod(start, self.count)
            parts.append(self._of_epoch(epoch)[offset:offset + count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _of_epoch(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._permutation = np.random.RandomState([self.seed, epoch]).permutation(self.count)
            self._epoch = epoch
        return self._permutation


def coins(seed: int, start: int, count: int) -> np.ndarray:
    """A fair coin (bool) for each of the positions start .. start + count - 1: functions of seed and position alone.

    One bit of a mixed counter (the finalizer of SplitMix64, Steele et al. 2014), since a RandomState for each image
    takes as long as a tenth of its decoding.
    """
    mixed = (np.arange(start, start + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
             + np.random.RandomState([seed, 2]).randint(1 << 63, dtype=np.uint64))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(63)).astype(bool)


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training image, each with probability a half, as InsightFace's image iterator does it."""

    mirror: bool = True
    cutoff: int = 0
    color: int = 0

    @property
    def draws(self) -> bool:
        """Whether `apply` draws anything."""
        return self.color > 0 or self.cutoff > 0

    def apply(self, image: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        """An augmented copy (or the image itself) of (H, W, 3) uint8 RGB; mirroring is the loader's, by `coins`."""
        if self.color > 1 and random.randint(2):
            image = _jpeg_artefacts(image, random)
        if self.color > 0:
            image = _jitter(image, 0.125, random)
        if self.cutoff > 0 and random.randint(2):
            image = _cut_out(image, self.cutoff, random)
        return image


class BatchLoader:
    """Decoded batches in order, made by threads `ahead` of the step that asks.

    position: where in the endless order the first batch begins; stride: how far the next one is from there (0: the
    batch itself; more where other workers take what lies between). bad: keys of records that are known not to decode,
    from before a resume. A record that does not decode is named once, and another one, which the seed and the position
    decide, takes its place; more than 50 that are more than 1% of those read is a RunError.
    """

    def __init__(self, dataset: FaceDataset, chosen: np.ndarray, batch: int, augmentation: Augmentation, seed: int,
                 position: int = 0, workers: int = 0, ahead: int = 3, bad: Iterable[int] = (),
                 stride: int = 0) -> None:
        self.dataset, self.chosen, self.batch, self.augmentation = dataset, chosen, batch, augmentation
        self.seed, self._bad, self._stride = seed, set(bad), stride or batch
        self._order = EndlessOrder(len(chosen), seed)
        self._pool = concurrent.futures.ThreadPoolExecutor(workers or usable_cores(), thread_name_prefix="decode")
        self._batches: queue.Queue = queue.Queue(maxsize=ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, args=(position,), name="batches", daemon=True)
        cv2.setNumThreads(1)  # the pool is the parallelism
        self._thread.start()

    def next(self) -> Batch:
        """The next batch; what went wrong in the reading threads is raised here."""
        item = self._batches.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """End the threads."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._batches.get(timeout=0.05)
            except queue.Empty:
                pass
        self._pool.shutdown()

    def _produce(self, position: int) -> None:
        try:
            begun: collections.deque = collections.deque()
            while not self._stop.is_set():
                while len(begun) < IN_WORK:
                    begun.append(self._begin(position))
                    position += self._stride
                self._batches.put(self._finish(*begun.popleft()))
        except BaseException as error:  # handed to the training thread, which raises it
            self._batches.put(error)

    def _begin(self, position: int) -> tuple[np.ndarray, list[concurrent.futures.Future], int]:
        index = self.chosen[self._order.take(position, self.batch)]
        mirrored = coins(self.seed, position, self.batch) & self.augmentation.mirror
        images = np.empty((self.batch, self.dataset.height, self.dataset.width, 3), np.uint8)
        chunks = [self._pool.submit(self._fill_chunk, images[rows], index[rows], mirrored[rows], position + rows.start)
                  for rows in (slice(first, first + CHUNK) for first in range(0, self.batch, CHUNK))]
        return images, chunks, position + self.batch

    def _finish(self, images: np.ndarray, chunks: list[concurrent.futures.Future], read: int) -> Batch:
        filled = [one for chunk in chunks for one in chunk.result()]
        used = np.array([candidate for candidate, _ in filled])
        bad = self._count_bad({key: fault for _, faults in filled for key, fault in faults.items()}, read)
        return Batch(images, self.dataset.labels[used].astype(np.int32), self.dataset.keys[used], bad)

    def _count_bad(self, faults: dict[int, str], read: int) -> tuple[int, ...]:
        """The keys of `faults` that are new, each named in the log; `read` images were read since the beginning."""
        path = self.dataset.record_file.rec_path
        new = tuple(key for key in faults if key not in self._bad)
        for key in new:
            log.warning("record %d of %s is left out: %s", key, path, faults[key])
        self._bad.update(new)
        if len(self._bad) > max(MAX_BAD_FREE, MAX_BAD_SHARE * min(read, len(self.chosen))):
            raise RunError(f"{len(self._bad)} records of {path} do not decode, more than 1% of those read; "
                           "python -m recordio_tools check names them, --repair writes the set without them")
        return new

    def _fill_chunk(self, images: np.ndarray, index: np.ndarray, mirrored: np.ndarray,
                    position: int) -> list[tuple[int, dict[int, str]]]:
        return [self._fill(image, *drawn, position + row)
                for row, (image, *drawn) in enumerate(zip(images, index.tolist(), mirrored.tolist()))]

    def _fill(self, row: np.ndarray, index: int, mirrored: bool, position: int) -> tuple[int, dict[int, str]]:
        """Put the image `index` into its row, or one in its place; which it was, and what was wrong with the others."""
        faults: dict[int, str] = {}
        random = self._random(position) if self.augmentation.draws else None
        for attempt in range(100):
            if attempt:
                random = random or self._random(position)
                index = int(self.chosen[random.randint(len(self.chosen))])
            key = int(self.dataset.keys[index])
            try:
                image = decode_bgr(self.dataset.record_file.read(key).content)
                if image.shape != row.shape:
                    raise ValueError(f"is {image.shape[0]}x{image.shape[1]}, not {row.shape[0]}x{row.shape[1]}")
            except (ValueError, UserError) as error:
                faults[key] = str(error)
                continue
            if mirrored:  # the bytes of a line backwards: mirrored, and RGB of BGR
                cv2.flip(image.reshape(len(image), -1), 1, dst=row.reshape(len(row), -1))
            else:
                cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=row)
            if self.augmentation.draws:
                row[:] = self.augmentation.apply(row, random)
            return index, faults
        raise RunError(f"{self.dataset.record_file.rec_path}: a hundred records in a row do not decode; "
                       "python -m recordio_tools check names them")

    def _random(self, position: int) -> np.random.RandomState:
        return np.random.RandomState([self.seed, 1, position & 0xffffffff, position >> 32])


def choose_images(dataset: FaceDataset, images_filter: int) -> np.ndarray:
    """Positions of the images whose identity has at least `images_filter` of them; labels keep their numbers."""
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    chosen = np.flatnonzero(counts[dataset.labels] >= images_filter)
    if not len(chosen):
        raise UserError(f"--images-filter {images_filter}: no identity has so many images; "
                        f"the largest has {counts.max()}")
    return chosen


def _jitter(image: np.ndarray, strength: float, random: np.random.RandomState) -> np.ndarray:
    out = image.astype(np.float32)
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    brightness, contrast, saturation = 1 + random.uniform(-strength, strength, 3).astype(np.float32)
    out *= brightness
    out = out * contrast + (1 - contrast) * (out @ luma).mean()
    out = out * saturation + (1 - saturation) * (out @ luma)[..., None]
    return np.clip(out, 0, 255).astype(np.uint8)


def _cut_out(image: np.ndarray, side: int, random: np.random.RandomState) -> np.ndarray:
    row, column = random.randint(image.shape[0]), random.randint(image.shape[1])
    half = side // 2
    image = image.copy()
    image[max(0, row - half):row + half, max(0, column - half):column + half] = 128
    return image


def _jpeg_artefacts(image: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    quality = random.randint(20, 51)
    _, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]

"""Batches from packed records, prefetched by threads."""
from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import logging
import queue
import threading
from dataclasses import dataclass
from typing import Iterable

import cv2
import numpy as np

from common.environment import usable_cores
from common.errors import RunError, UserError
from recordio_tools.records.dataset import FaceDataset
from training.data.decode import Decoder
from training.data.order import EndlessOrder, flip_flags
from training.specs import LoaderSpec

log = logging.getLogger(__name__)
MAX_BAD_SHARE = 0.01  # largest fraction of the images read so far, each counted once, above MAX_BAD_FREE of them
MAX_BAD_FREE = 50
LEAST_CHUNK, MOST_CHUNK = 16, 64  # images per task of a thread
IN_WORK = 2  # batches whose images are being decoded, so that no thread waits at the end of one


class TooManyBadRecords(RunError):
    """Too many records do not decode; the set should be repaired before training."""


@dataclass(frozen=True)
class Batch:
    """images (N, H, W, 3) uint8 RGB; labels (N,) int32; keys (N,) of the records, for messages.

    bad: keys of the records that fail to decode for the first time.
    """

    images: np.ndarray
    labels: np.ndarray
    keys: np.ndarray
    bad: tuple[int, ...] = ()


class BatchLoader:
    """Decoded batches in order, prefetched by threads.

    position: of the first batch in the endless order. bad: keys of records that are known not to decode, from before a
    resume. A record that does not decode is logged once, and another one, which the seed and the position determine,
    replaces it; more than 50 that are more than 1% of those read is a RunError.
    """

    def __init__(self, dataset: FaceDataset, chosen: np.ndarray, spec: LoaderSpec, position: int = 0,
                 bad: Iterable[int] = ()) -> None:
        self.dataset, self.chosen, self.batch, self.augmentation = dataset, chosen, spec.batch, spec.augmentation
        self.seed, self._bad, self._stride = spec.seed, set(bad), spec.stride or spec.batch
        threads = spec.threads or usable_cores()
        self._chunk = min(max(LEAST_CHUNK, spec.batch // threads), MOST_CHUNK)
        self._decoder = Decoder(dataset, chosen, spec.augmentation, spec.seed)
        self._order = EndlessOrder(len(chosen), spec.seed)
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._batches: queue.Queue = queue.Queue(maxsize=spec.ahead)
        self._stop = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._produce, args=(position,), name="batches", daemon=True)
        cv2.setNumThreads(1)  # the pool is the parallelism
        self._thread.start()

    def next(self) -> Batch:
        """The next batch, to any thread; errors of the reading threads are raised here."""
        if self._failed is None:
            item = self._batches.get()
            if not isinstance(item, BaseException):
                return item
            self._fail(item)
        raise self._failed  # type: ignore[misc]

    def close(self) -> None:
        """End the threads."""
        self._stop.set()
        closed = RunError("the loader is closed: no batch will come")
        self._failed = self._failed or closed
        while self._thread.is_alive():
            try:
                self._batches.get(timeout=0.05)
            except queue.Empty:
                pass
        self._pool.shutdown()
        self._fail(closed)

    def _fail(self, error: BaseException) -> None:
        """No other batch will come: every further call raises the first such error, and so does one that waits now."""
        self._failed = self._failed or error
        with contextlib.suppress(queue.Full):  # then whoever waits gets a batch, and what is left is this
            self._batches.put_nowait(self._failed)

    def _produce(self, position: int) -> None:
        try:
            begun: collections.deque = collections.deque()
            while not self._stop.is_set():
                while len(begun) < IN_WORK:
                    begun.append(self._begin(position))
                    position += self._stride
                self._batches.put(self._finish(*begun.popleft()))
        except BaseException as error:  # passed to the training thread, which raises it
            self._batches.put(error)

    def _begin(self, position: int) -> tuple[np.ndarray, list[concurrent.futures.Future], int]:
        index = self.chosen[self._order.take(position, self.batch)]
        mirrored = flip_flags(self.seed, position, self.batch) & self.augmentation.mirror
        images = np.empty((self.batch, self.dataset.height, self.dataset.width, 3), np.uint8)
        decode = self._decoder.decode
        chunks = [self._pool.submit(decode, images[rows], index[rows], mirrored[rows], position + rows.start)
                  for rows in (slice(first, first + self._chunk) for first in range(0, self.batch, self._chunk))]
        return images, chunks, position + self.batch

    def _finish(self, images: np.ndarray, chunks: list[concurrent.futures.Future], read: int) -> Batch:
        filled = [chunk.result() for chunk in chunks]
        used = np.concatenate([there for there, _ in filled])
        bad = self._count_bad({key: fault for _, faults in filled for key, fault in faults.items()}, read)
        return Batch(images, self.dataset.labels[used].astype(np.int32), self.dataset.keys[used], bad)

    def _count_bad(self, faults: dict[int, str], read: int) -> tuple[int, ...]:
        """The keys of `faults` that are new, each logged; `read` images were read since the beginning."""
        path = self.dataset.record_file.rec_path
        new = tuple(key for key in faults if key not in self._bad)
        for key in new:
            log.warning("record %d of %s is left out: %s", key, path, faults[key])
        self._bad.update(new)
        if len(self._bad) > max(MAX_BAD_FREE, MAX_BAD_SHARE * min(read, len(self.chosen))):
            raise TooManyBadRecords(f"{len(self._bad)} records of {path} do not decode, more than 1% of those read; "
                                    "python -m recordio_tools check names them")
        return new


def choose_images(dataset: FaceDataset, images_filter: int) -> np.ndarray:
    """Positions of the images whose identity has at least `images_filter` of them; labels keep their numbers."""
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    chosen = np.flatnonzero(counts[dataset.labels] >= images_filter)
    left = int((counts >= max(images_filter, 1)).sum())
    if left < 2:
        raise UserError(f"`images_filter` {images_filter}: leaves {'one' if left else 'none'} of "
                        f"{int((counts > 0).sum())} identities, and a classifier needs two; the two largest have "
                        f"{np.sort(counts)[-1]} and {np.sort(counts)[-2]} images")
    return chosen

"""Decodes images of a packed set into the rows of a batch: mirrored, and replaced where they do not decode.

A whole record with an image of the set's size, as nearly all are, takes the fast path: a few calls that release the
GIL, and as little Python as possible between them, since threads wait for each other there. The slow path takes the
others, and reports what is wrong with them.
"""
from __future__ import annotations

import threading

import cv2
import numpy as np

from common.errors import RunError, UserError
from images.codec import decode_bgr
from images.formats import is_cut_off
from images.plain_jpeg import FewScans
from recordio_tools.records.dataset import FaceDataset
from recordio_tools.records.framing import image_in
from training.data.augmentation import Augmentation

JPEG_END = b"\xff\xd9"
TRIES = 100  # images in a row that do not decode, before the run ends


class Decoder:
    """Puts images into rows of a batch, from any thread.

    chosen: the images, by their positions in the dataset, one of which replaces an image that does not decode.
    """

    def __init__(self, dataset: FaceDataset, chosen: np.ndarray, augmentation: Augmentation, seed: int) -> None:
        self.dataset, self.chosen, self.augmentation, self.seed = dataset, chosen, augmentation, seed
        self._few_scans = FewScans()
        self._threads = threading.local()

    def decode(self, rows: np.ndarray, index: np.ndarray, mirrored: np.ndarray,
             position: int) -> tuple[np.ndarray, dict[int, str]]:
        """Put the images `index`, (n,) in the dataset, into `rows`, (n, H, W, 3) uint8 RGB; position: of the first.

        mirrored: bool (n,). Returns the images now in the rows, (n,), with replacements of those that do not decode,
        and the errors by key. RunError where a hundred in a row do not decode.
        """
        used = index.copy()
        faults: dict[int, str] = {}
        for row in self._decode_whole_records(rows, index, mirrored, position):
            used[row] = self._decode_or_replace(rows[row], int(index[row]), bool(mirrored[row]), position + row,
                                                faults)
        return used, faults

    def _decode_whole_records(self, rows: np.ndarray, index: np.ndarray, mirrored: np.ndarray,
                              position: int) -> list[int]:
        """Fill the rows whose records take the fast path; returns the indices of the others."""
        imdecode, cvt_color, flip, from_buffer = cv2.imdecode, cv2.cvtColor, cv2.flip, np.frombuffer
        few_scans, left, draws = self._few_scans, [], self.augmentation.draws
        height, shape, lines = rows.shape[1], rows.shape[1:], rows.reshape(*rows.shape[:2], -1)
        places = self.dataset.record_file.places(self.dataset.keys[index])
        drawn = zip(places, self.dataset.sizes[index].tolist(), mirrored.tolist())
        for row, ((file, offset), size, turn) in enumerate(drawn):
            data = file.bytes_at(offset, size)
            begin, end = image_in(data)
            # of a truncated image a decoder leaves rows uninitialised, without an error
            if not (data.endswith(JPEG_END, begin, end)
                    and (data.startswith(few_scans.known, begin) or few_scans.holds(data, begin, end))):
                left.append(row)
                continue
            try:
                image = imdecode(from_buffer(data, np.uint8, end - begin, begin), cv2.IMREAD_COLOR)
            except cv2.error:
                image = None
            if image is None or image.shape != shape:
                left.append(row)
                continue
            if turn:  # reverses the bytes of a line: mirrors it, and turns BGR into RGB
                flip(image.reshape(height, -1), 1, lines[row])
            else:
                cvt_color(image, cv2.COLOR_BGR2RGB, rows[row])
            if draws:
                rows[row] = self.augmentation.apply(rows[row], self._random(position + row))
        return left

    def _decode_or_replace(self, row: np.ndarray, index: int, mirrored: bool, position: int,
                           faults: dict[int, str]) -> int:
        """Fill a row with the image `index`, or a replacement; returns which. Errors go into `faults`."""
        random = self._random(position)
        for attempt in range(TRIES):
            if attempt:
                index = int(self.chosen[random.randint(len(self.chosen))])
            key = int(self.dataset.keys[index])
            try:
                content = self.dataset.record_file.read(key).content
                if is_cut_off(content):
                    raise ValueError("is truncated")
                image = decode_bgr(content)
                if image.shape != row.shape:
                    raise ValueError(f"is {image.shape[0]}x{image.shape[1]}, not {row.shape[0]}x{row.shape[1]}")
            except (ValueError, UserError) as error:
                faults[key] = str(error)
                continue
            row[:] = image[:, ::-1, ::-1] if mirrored else image[..., ::-1]
            row[:] = self.augmentation.apply(row, random)
            return index
        raise RunError(f"{self.dataset.record_file.rec_path}: a hundred records in a row do not decode; "
                       "python -m recordio_tools check names them")

    def _random(self, position: int) -> np.random.RandomState:
        """RandomState([...]) of seed and position, the thread's own; a new one would first be seeded by the system."""
        random = getattr(self._threads, "random", None)
        if random is None:
            random = self._threads.random = np.random.RandomState()
        random.seed([self.seed, 1, position & 0xffffffff, position >> 32])
        return random

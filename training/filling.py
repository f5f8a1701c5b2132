"""Images of a packed set into the rows of a batch: read, decoded, mirrored, and replaced where they do not decode.

A record of one part with an image of the right size, which is nearly every one, takes the short way: calls that each
leave Python's lock, and a few microseconds of Python between them. All others go the long way, which names faults.
"""
from __future__ import annotations

import cv2
import numpy as np

from common.errors import RunError, UserError
from recordio_tools.dataset import FaceDataset
from recordio_tools.framing import image_in
from recordio_tools.images import decode_bgr
from recordio_tools.plain_jpeg import FewScans
from training.augmentation import Augmentation

TRIES = 100  # images in the place of one that does not decode


class Filler:
    """Puts images into rows of a batch, from any thread.

    chosen: positions in the dataset of the images that may stand in for one that does not decode.
    """

    def __init__(self, dataset: FaceDataset, chosen: np.ndarray, augmentation: Augmentation, seed: int) -> None:
        self.dataset, self.chosen, self.augmentation, self.seed = dataset, chosen, augmentation, seed
        self._few_scans = FewScans()

    def fill(self, rows: np.ndarray, index: np.ndarray, mirrored: np.ndarray,
             position: int) -> tuple[np.ndarray, dict[int, str]]:
        """Put the images `index`, (n,) in the dataset, into `rows`, (n, H, W, 3) uint8 RGB; position: of the first.

        Returns the images that stand there now, (n,), others where some do not decode, and for the keys of those what
        is wrong. RunError where nothing decodes.
        """
        used, faults = index.copy(), {}
        for row in self._fill_shortly(rows, index, mirrored):
            used[row] = self._fill_in_full(rows[row], int(index[row]), bool(mirrored[row]), position + row, faults)
        if self.augmentation.draws:
            for row, image in enumerate(rows):
                image[:] = self.augmentation.apply(image, self._random(position + row))
        return used, faults

    def _fill_shortly(self, rows: np.ndarray, index: np.ndarray, mirrored: np.ndarray) -> list[int]:
        """Fill the rows whose records are as nearly all are; the numbers of the others."""
        left, height, shape = [], rows.shape[1], rows.shape[1:]
        lines = rows.reshape(len(rows), height, -1)
        imdecode, from_buffer, few_scans, put = cv2.imdecode, np.frombuffer, self._few_scans, _put
        places = self.dataset.record_file.places(self.dataset.keys[index])
        sizes = self.dataset.sizes[index].tolist()
        for row, ((file, offset), size, turn) in enumerate(zip(places, sizes, mirrored.tolist())):
            data = file.bytes_at(offset, size)
            begin, end = image_in(data)
            if not (end and (data.startswith(few_scans.known, begin) or few_scans.holds(data, begin, end))):
                left.append(row)
                continue
            try:
                image = imdecode(from_buffer(data, np.uint8, end - begin, begin), cv2.IMREAD_COLOR)
            except cv2.error:
                image = None
            if image is None or image.shape != shape:
                left.append(row)
            else:
                put(image, turn, rows[row], lines[row])
        return left

    def _fill_in_full(self, row: np.ndarray, index: int, mirrored: bool, position: int, faults: dict[int, str]) -> int:
        """Fill one row with the image `index`, or with one in its place; which it was, and the others into `faults`."""
        random = self._random(position)
        for _ in range(TRIES):
            key = int(self.dataset.keys[index])
            try:
                image = decode_bgr(self.dataset.record_file.read(key).content)
                if image.shape != row.shape:
                    raise ValueError(f"is {image.shape[0]}x{image.shape[1]}, not {row.shape[0]}x{row.shape[1]}")
            except (ValueError, UserError) as error:
                faults[key] = str(error)
                index = int(self.chosen[random.randint(len(self.chosen))])
                continue
            _put(image, mirrored, row, row.reshape(len(row), -1))
            return index
        raise RunError(f"{self.dataset.record_file.rec_path}: a hundred records in a row do not decode; "
                       "python -m recordio_tools check names them")

    def _random(self, position: int) -> np.random.RandomState:
        return np.random.RandomState([self.seed, 1, position & 0xffffffff, position >> 32])


def _put(image: np.ndarray, mirrored: bool, row: np.ndarray, lines: np.ndarray) -> None:
    """(H, W, 3) BGR into a row, RGB; lines: the row's memory as (H, W * 3)."""
    if mirrored:  # the bytes of a line backwards: mirrored, and RGB of BGR
        cv2.flip(image.reshape(lines.shape), 1, lines)
    else:
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, row)

"""Small synthetic packed sets for the self-test: coloured blobs, one arrangement per identity."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from recordio_tools.bins.binfile import write_bin
from recordio_tools.records import framing
from recordio_tools.records.writer import RecordWriter

PAIRS = 20


def make_set(folder: Path, identities: int, images: int, side: int) -> Path:
    """`folder` with train.rec, train.idx, property, and pairs.bin, of other identities."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(0)
    with RecordWriter(folder / "train.rec") as writer:
        for key in range(1, identities * images + 1):
            identity = (key - 1) // images
            writer.write(key, framing.pack(float(identity), key, picture(identity, random, side)))
    (folder / "property").write_text(f"{identities},{side},{side}", encoding="utf-8")
    pairs = [picture(1000 + pair + (pair % 2) * place, random, side) for pair in range(PAIRS) for place in (0, 1)]
    write_bin(folder / "pairs.bin", pairs, [pair % 2 == 0 for pair in range(PAIRS)])
    return folder


def picture(identity: int, random: np.random.RandomState, side: int) -> bytes:
    """A JPEG of `side` x `side`, with the file size of a face's."""
    drawn = np.random.RandomState(identity)
    image = np.full((side, side, 3), drawn.randint(40, 200, 3), np.uint8)
    for _ in range(8):
        centre = tuple(int(value) for value in drawn.randint(0, side, 2) + random.randint(-2, 3, 2))
        colour = [int(value) for value in drawn.randint(0, 256, 3)]
        cv2.circle(image, centre, int(drawn.randint(side // 12, side // 4)), colour, -1)
    noisy = np.clip(image + random.normal(0, 5, image.shape), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()

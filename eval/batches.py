"""Groups decoded images into the batches that an Embedder takes."""
from __future__ import annotations

from typing import Iterable, Iterator

import numpy as np


def stacked(images: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """(n, H, W, 3) of (H, W, 3) images of one size, in order, n up to `size`."""
    batch: list[np.ndarray] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)

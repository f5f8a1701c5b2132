"""What a state remembers of the data it was trained on, so that a run does not go on with other data."""
from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from recordio_tools.errors import DataError
from recordio_tools.records.dataset import FaceDataset

SAMPLES = 64


def fingerprint(dataset: FaceDataset, chosen: np.ndarray) -> dict[str, Any]:
    """Counts, and a digest: of the index, of the chosen images' keys and labels, and of the bytes of 64 of them."""
    file, digest = dataset.record_file, hashlib.sha256()
    for array in (file.keys, file.offsets, dataset.keys[chosen], dataset.labels[chosen]):
        digest.update(np.ascontiguousarray(array, "<i8").tobytes())
    for position in np.linspace(0, len(chosen) - 1, SAMPLES).astype(np.int64):
        try:
            digest.update(file.read(int(dataset.keys[chosen[position]])).content)
        except DataError:
            digest.update(b"unreadable")
    return {"images": len(chosen), "identities": dataset.num_classes, "bytes": file.size,
            "digest": digest.hexdigest()[:16]}

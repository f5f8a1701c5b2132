"""Fingerprint of the training data in a state, so that a run does not resume on other data."""
from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from common.errors import DataError
from recordio_tools.records.dataset import FaceDataset
from recordio_tools.records.identities import read_beside, read_identities

SAMPLES = 64
NAMES, WHOLE_SET = "names of identities", "whole set"  # of an identity


def people(dataset: FaceDataset) -> dict[str, str]:
    """Identifies the classes: a digest of the names in identities.csv (empty without), and one of all images' labels.

    Where one of them is equal, a classification layer has the same identities, whatever images are chosen.
    """
    file, digest = dataset.record_file, hashlib.sha256()
    for array in (file.keys, file.offsets, dataset.keys, dataset.labels):
        digest.update(np.ascontiguousarray(array, "<i8").tobytes())
    table = file.rec_path.with_name("identities.csv")
    names = read_beside(table, read_identities, lambda error: None) or {}  # training does not need it otherwise
    lines = "\n".join(f"{label} {name}" for label, name in sorted(names.items()))
    of_names = hashlib.sha256(lines.encode("utf-8", "surrogateescape"))
    return {NAMES: of_names.hexdigest()[:16] if names else "", WHOLE_SET: digest.hexdigest()[:16]}


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

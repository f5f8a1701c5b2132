"""Finds images that occur in a set under different labels; which label is right cannot be decided from the files."""
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Sequence

import numpy as np

from recordio_tools.check.layout import Part
from recordio_tools.records import framing
from recordio_tools.records.framing import FramingError
from recordio_tools.records.raw import RawFile


def note_same_images(paths: Sequence[Path], parts: Sequence[Part], labels: Sequence[np.ndarray]) -> None:
    """Report every image that is byte for byte equal to an earlier one with another label.

    Only images whose sampled bytes are equal are read again.
    """
    number = np.concatenate([np.full(len(own), place) for place, own in enumerate(labels)])
    position = np.concatenate([np.flatnonzero(part.records.image) for part in parts])
    sample = np.concatenate([part.records.sample[part.records.image] for part in parts])
    label = np.concatenate(labels)
    order = np.argsort(sample, kind="stable")
    equal = np.zeros(len(order) + 1, bool)  # to the one before
    equal[1:-1] = sample[order][1:] == sample[order][:-1]
    candidates = order[equal[1:] | equal[:-1]]
    if not len(candidates):
        return
    first: dict[bytes, int] = {}
    found: dict[int, list[tuple[int, int]]] = {}
    files = [RawFile(path) for path in paths]
    try:
        for candidate in np.sort(candidates).tolist():
            part = int(number[candidate])
            offset = int(parts[part].records.offset[position[candidate]])
            try:
                content = framing.unpack(files[part].content_at(offset)[0]).image
            except FramingError:
                continue  # the file changed meanwhile
            known = first.setdefault(hashlib.blake2b(content, digest_size=16).digest(), candidate)
            if label[known] != label[candidate]:
                found.setdefault(part, []).append((int(position[candidate]), known))
    finally:
        for file in files:
            file.close()
    for part, places in found.items():
        records, (place, known) = parts[part].records, places[0]
        origin = parts[int(number[known])].records
        where = "" if int(number[known]) == part else f" of {paths[int(number[known])].name}"
        parts[part].report.add(
            "same-image", f"is the image at byte {origin.offset[position[known]]}{where} too, which has another label",
            int(records.offset[place]), int(records.key[place]), len(places))

"""Checks the images of a merge in passing: whether they can be used, and which are copies of one another."""
from __future__ import annotations

import hashlib
import threading
from typing import Callable

import numpy as np

from common.counts import MOST_NAMES
from images.codec import examine_image
from images.formats import read_header
from images.plain_jpeg import KnownHeaders
from recordio_tools.records import framing
from recordio_tools.records.copying import Copied
from recordio_tools.records.framing import FRAME

UNUSABLE = b""
DIGEST = 8  # bytes; among a hundred million images the chance of a collision is one in three thousand


class Examiner:
    """Computes the digest of a record's image, UNUSABLE where it does not decode, is truncated or has another size.

    image_size: (H, W) of the set. Any number of threads may call it; each remembers the headers that it has seen, so
    that a plain JPEG is not decoded (see `plain_jpeg`).
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        self._size, self._own = tuple(image_size), threading.local()

    def __call__(self, record: memoryview) -> bytes:
        data = self._image(record)
        if not hasattr(self._own, "known"):
            self._own.known = KnownHeaders()
        known: KnownHeaders = self._own.known
        if known.recognise(data) is None:
            found = examine_image(data)
            if found.kind or found.size != self._size:
                return UNUSABLE
            if data.startswith(b"\xff\xd8"):
                known.remember(data, read_header(data), "sound")
        return hashlib.blake2b(data, digest_size=DIGEST).digest()

    @staticmethod
    def _image(record: memoryview) -> bytes:
        pieces, at = [], 0
        while at < len(record):  # a record in parts, where the image holds the magic word
            _, length = framing.part(record[at:at + FRAME.size])
            pieces.append(bytes(record[at + FRAME.size:at + FRAME.size + length]))
            at += FRAME.size + framing.padded(length)
        return framing.unpack(framing.MAGIC_BYTES.join(pieces)).image


class Contents:
    """Selects records and remembers their digests, in some 12 bytes an image.

    unusable: how many were left out; repeated: copies left out, in an identity joined from several.
    """

    def __init__(self, groups: list[list[int]]) -> None:
        self.unusable = self.repeated = 0
        self._several = [len(group) > 1 for group in groups]
        self._label = -1
        self._seen: set[bytes] = set()
        self._digests: list[bytes] = []
        self._labels: list[np.ndarray] = []

    def choose(self, copied: Copied, labels: np.ndarray, digests: list[bytes]) -> tuple[Copied, np.ndarray]:
        """The usable ones of some records, with their labels, which do not decrease from call to call."""
        kept = []
        for place, (label, digest) in enumerate(zip(labels.tolist(), digests)):
            if digest == UNUSABLE:
                self.unusable += 1
            elif self._several[label] and not self._is_new(label, digest):
                self.repeated += 1
            else:
                kept.append(place)
        self._digests.append(b"".join(digests[place] for place in kept))
        self._labels.append(labels[kept].astype(np.int32))
        if len(kept) == len(digests):
            return copied, labels
        pieces = copied.pieces()
        return Copied(bytearray().join(pieces[place] for place in kept), copied.lengths[kept]), labels[kept]

    def shared(self, title: Callable[[int], str]) -> dict:
        """`count` of images that occur under several identities, byte for byte, and the first identities of each."""
        digests = np.frombuffer(b"".join(self._digests), np.uint64)
        labels = np.concatenate([np.zeros(0, np.int32), *self._labels])
        order = np.argsort(digests, kind="stable")
        starts = np.flatnonzero(np.append(True, digests[order][1:] != digests[order][:-1])) if len(order) else order
        count = 0
        groups: dict[tuple[int, ...], int] = {}
        for group in np.split(order, starts[1:]) if len(order) else ():
            people = np.unique(labels[group])
            if len(people) > 1:
                count += len(group)
                groups[tuple(people.tolist())] = groups.get(tuple(people.tolist()), 0) + 1
        named = sorted(groups.items(), key=lambda item: (-item[1], item[0]))[:MOST_NAMES]
        return {"count": count, "identities": [{"names": [title(label) for label in people], "images": images}
                                               for people, images in named]}

    def _is_new(self, label: int, digest: bytes) -> bool:
        if label != self._label:
            self._label, self._seen = label, set()
        before = len(self._seen)
        self._seen.add(digest)
        return len(self._seen) > before

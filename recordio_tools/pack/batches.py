"""A worker's output for a few files: framed records without labels and numbers."""
from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Sequence

import numpy as np

from common.name_lookup import NameLookup
from images.formats import read_header
from images.lists import geometry
from images.plain_jpeg import KnownHeaders
from images.prepare import BLOCK, Prepared, Unusable, Wanted, WrongSize, read_file, treat
from recordio_tools.records import framing

WRONG_SIZE, CRASHES = "wrong size", "crashes the decoder"
HEAD = framing.pack(0.0, 0)
START = struct.Struct(f"<II{len(HEAD)}x")  # of a record: its frame, and space for the header
LABEL = struct.Struct("<fQ")  # the header's fields after its flag


@dataclass(frozen=True)
class PreparedFiles:
    """The files of a task, in its order.

    framed: uint8, the records of the usable ones, one after another; lengths: bytes of each in `framed`, 0 for a file
    that is not usable; hashes: content hashes, equal for files of the same content, the same in all processes of a run;
    notes: `note` of each, or the reason why it is not usable; wrong: what is wrong with those of another size, by
    position.
    """

    framed: np.ndarray
    lengths: list[int]
    hashes: list[int]
    notes: list[str]
    wrong: dict[int, str]


def note(prepared: Prepared) -> str:
    """The counted properties of a usable image: change, format, and peculiarities, between tabs."""
    return "\t".join((prepared.change, prepared.kind, *prepared.odd))


class Preparer:
    """Makes batches of entries of a `Source`; each worker has its own, which remembers the headers that it has seen."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._known, self._lookup = KnownHeaders(), NameLookup()

    def __call__(self, entries: Sequence[bytes | None]) -> PreparedFiles:
        """None stands for a file that crashed a process."""
        images: list[bytes] = []
        hashes: list[int] = []
        notes: list[str] = []
        wrong: dict[int, str] = {}
        for entry in entries:
            data, number = b"", 0
            try:
                data, told, number = self._image(entry)
            except Unusable as error:
                told = str(error)
            except WrongSize as error:
                told = WRONG_SIZE
                wrong[len(notes)] = str(error)
            images.append(data)
            hashes.append(number)
            notes.append(told)
        return PreparedFiles(*_frame(images), hashes, notes, wrong)

    def _image(self, entry: bytes | None) -> tuple[bytes, str, int]:
        """(the record's image, its note, its hash)."""
        if entry is None:
            raise Unusable(CRASHES)
        path, face = geometry(entry) if b"\0" in entry else (entry, None)
        data = read_file(path, self._lookup)
        known = self._known.recognise(data) if face is None and len(data) < BLOCK else None
        if known is not None:
            return data, known, hash(data)
        prepared = treat(data, self._wanted, face)
        told = note(prepared)
        if face is None and prepared.change == "copied":
            self._known.remember(data, read_header(data), told)
        # one photograph may show several identities
        return prepared.image, told, hash((data, entry[len(path):])) if face else hash(data)


def _frame(images: list[bytes]) -> tuple[np.ndarray, list[int]]:
    """All records in one buffer, and the length of each; none for an empty image."""
    parts: list[bytes] = []
    lengths = []
    for image in images:
        if not image:
            lengths.append(0)
            continue
        content, rest = len(HEAD) + len(image), -len(image) & 3
        parts += (START.pack(framing.MAGIC, content), image, b"\0\0\0"[:rest])
        lengths.append(framing.FRAME.size + content + rest)
    framed = np.frombuffer(bytearray().join(parts), np.uint8)
    if np.count_nonzero(framed.view("<u4") == framing.MAGIC) > len(parts) // 3:  # an image holds the magic word
        records = [framing.frame(HEAD + image) if image else b"" for image in images]
        framed, lengths = np.frombuffer(bytearray().join(records), np.uint8), list(map(len, records))
    return framed, lengths


def put_headers(records: memoryview, lengths: list[int], label: int, first: int) -> None:
    """Give framed records the label of their identity, and their numbers from `first` on."""
    places = itertools.accumulate(lengths, initial=framing.FRAME.size + 4)
    for number, place in zip(range(first, first + len(lengths)), places):
        LABEL.pack_into(records, place, label, number)

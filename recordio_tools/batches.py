"""What a worker makes of a few files: records ready to be written, but for their labels and numbers."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Sequence

from recordio_tools import framing
from recordio_tools.formats import read_header
from recordio_tools.lists import geometry
from recordio_tools.plain_jpeg import KnownHeaders
from recordio_tools.prepare import BLOCK, Prepared, Unusable, Wanted, WrongSize, read_file, treat

DIGEST = 16  # bytes that stand for a file's content
WRONG_SIZE = "wrong size"
HEAD = framing.pack(0.0, 0)
NO_HASH = bytes(DIGEST)


@dataclass(frozen=True)
class Batch:
    """The files of a task, in its order.

    framed: the records of the usable ones, one after another; lengths: bytes of each in `framed`, 0 for a file that is
    not usable; digests: DIGEST bytes of each; notes: `note` of each, or the reason why it is not usable; wrong: what is
    wrong with those of another size, by position.
    """

    framed: bytearray
    lengths: list[int]
    digests: bytes
    notes: list[str]
    wrong: dict[int, str]


def note(prepared: Prepared) -> str:
    """What is counted of a usable image: change, kind, and what is odd about it, between tabs."""
    return "\t".join((prepared.change, prepared.kind, *prepared.odd))


class Preparer:
    """Makes batches of entries of a `Source`; each worker has its own, which learns the headers that it meets."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._known = KnownHeaders()

    def __call__(self, entries: Sequence[bytes]) -> Batch:
        framed, lengths, digests, notes, wrong = [], [], [], [], {}
        for entry in entries:
            length, digest = 0, NO_HASH
            try:
                data, told, digest = self._image(entry)
                record = framing.frame(HEAD + data)
                framed.append(record)
                length = len(record)
            except Unusable as error:
                told = str(error)
            except WrongSize as error:
                told = WRONG_SIZE
                wrong[len(notes)] = str(error)
            lengths.append(length)
            digests.append(digest)
            notes.append(told)
        return Batch(bytearray().join(framed), lengths, b"".join(digests), notes, wrong)

    def _image(self, entry: bytes) -> tuple[bytes, str, bytes]:
        """(the record's image, its note, its digest)."""
        path, face = geometry(entry) if b"\0" in entry else (entry, None)
        data = read_file(path)
        digest = hashlib.blake2b(data, digest_size=DIGEST)
        if face:  # the same photograph may show several people
            digest.update(entry[len(path):])
        known = self._known.recognise(data) if face is None and len(data) < BLOCK else None
        if known is not None:
            return data, known, digest.digest()
        prepared = treat(data, self._wanted, face)
        told = note(prepared)
        if face is None and prepared.change == "copied":
            self._known.remember(data, read_header(data), told)
        return prepared.image, told, digest.digest()

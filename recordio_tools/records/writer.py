"""Writes a `.rec` with its `.idx` atomically, with the bytes that MXNet's recordio writes."""
from __future__ import annotations

import contextlib
import itertools
import logging
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Iterable, Sequence

from common.files import PathLike, fsync
from recordio_tools.records import framing
from recordio_tools.records.framing import EXACT

log = logging.getLogger(__name__)
MAIN = "train.rec"
SET_FILES = (MAIN, "identities.csv", "merge-report.json", "pack-report.json", "property", "train.idx")
FIRST_HEADER = framing.pack([0, 0], 0)  # record 0 before the number of images is known
BUFFER = 1 << 14  # larger writes would be copied once more


class RecordWriter:
    """Writes records to temporary files, and moves `.rec` and `.idx` into place when all is written and flushed.

        with RecordWriter("train.rec") as writer:
            writer.write(key, framing.pack(label, key, image))

    When the block raises, what was written is removed and what stood at the paths stays as it was.
    """

    def __init__(self, rec_path: PathLike, idx_path: PathLike | None = None) -> None:
        self.rec_path = Path(rec_path)
        self.idx_path = Path(idx_path) if idx_path is not None else self.rec_path.with_suffix(".idx")
        self._made_folder = not self.rec_path.parent.exists()
        self.rec_path.parent.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(8)
        self._temporary = [path.with_name(f".{path.name}.{token}.tmp") for path in (self.rec_path, self.idx_path)]
        self._rec = open(self._temporary[0], "xb", buffering=BUFFER)
        try:
            self._idx = open(self._temporary[1], "xb", buffering=1 << 20)
        except BaseException:
            self.abort()
            raise
        self.size, self.count = 0, 0

    def write(self, key: int, content: bytes) -> int:
        """Append one record (`framing.pack` makes the content) and return its offset."""
        offset, framed = self.size, framing.frame(content)
        self._rec.write(framed)
        self._idx.write(b"%d\t%d\n" % (key, offset))
        self.size += len(framed)
        self.count += 1
        return offset

    def extend(self, framed: bytes | memoryview, lengths: Sequence[int]) -> None:
        """Append records that are framed already, `lengths` bytes each; their keys are the next record numbers."""
        offsets = itertools.accumulate(lengths, initial=self.size)
        entries = itertools.chain.from_iterable(zip(range(self.count, self.count + len(lengths)), offsets))
        self._rec.write(framed)
        self._idx.write(b"%d\t%d\n" * len(lengths) % tuple(entries))
        self.count += len(lengths)
        self.size += len(framed)

    def begin_set(self) -> None:
        """Write record 0 of InsightFace's layout; the image records follow, then `end_set`."""
        self.write(0, FIRST_HEADER)

    def end_set(self, counts: Iterable[int]) -> None:
        """Write the header records of the identities, which have so many images each, and the numbers in record 0."""
        headers, ends = self.count, list(itertools.accumulate(counts, initial=1))
        for span in zip(ends, ends[1:]):
            self.write(self.count, framing.pack(span, self.count))
        self._rec.flush()
        self._rec.seek(0)
        self._rec.write(framing.frame(framing.pack([headers, self.count], 0)))
        self._rec.seek(0, os.SEEK_END)
        if self.count > EXACT:
            log.warning("%d records: header records hold record numbers as float32, which is exact up to %d only; "
                        "readers that use the labels in the image records, as here, are not affected", self.count,
                        EXACT)

    def close(self) -> None:
        """Flush to the disk and move both files into place."""
        self._rec.close()
        self._idx.close()
        for path in self._temporary:
            fsync(path)
        # Without an index a .rec can be read; with the index of another it cannot: so the old one is removed first.
        with contextlib.suppress(FileNotFoundError):
            self.idx_path.unlink()
        os.replace(self._temporary[0], self.rec_path)
        os.replace(self._temporary[1], self.idx_path)
        fsync(self.rec_path.parent)

    def abort(self) -> None:
        """Remove what was written."""
        for stream in (self._rec, getattr(self, "_idx", None)):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        for path in self._temporary:
            with contextlib.suppress(OSError):
                path.unlink()
        if self._made_folder:
            with contextlib.suppress(OSError):  # something else may be there by now
                self.rec_path.parent.rmdir()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.close()
        except BaseException:
            self.abort()
            raise

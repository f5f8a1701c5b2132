"""The `.idx` of a `.rec`: read from its file, or built by reading the records' frames through."""
from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from common.files import PathLike
from recordio_tools.errors import DataError
from recordio_tools.framing import FramingError
from recordio_tools.raw import RawFile

log = logging.getLogger(__name__)
LARGEST = 1 << 62  # of a key or an offset: sums with lengths stay inside int64


def index_beside(rec_path: Path) -> Path:
    """X.idx for X.rec; for another name, as X.rec.part000, X.rec.part000.idx."""
    return rec_path.with_suffix(".idx") if rec_path.suffix == ".rec" else rec_path.with_name(f"{rec_path.name}.idx")


def read_index(path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """(keys, offsets), int64 (N,) each, of an `.idx` (`key TAB offset` a line); DataError names the line of a fault."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    words = text.split()
    # a word of a megabyte would make numpy give every word a megabyte
    if len(words) != 2 * text.count(b"\t") or max(map(len, words), default=0) > 20:
        raise DataError(_fault(path, text))
    try:
        table = np.array(words, np.bytes_).astype(np.int64) if words else np.empty(0, np.int64)
    except (ValueError, OverflowError):
        raise DataError(_fault(path, text)) from None
    if not ((table >= 0) & (table < LARGEST)).all():
        raise DataError(_fault(path, text))
    return table[0::2].copy(), table[1::2].copy()


def _fault(path: PathLike, text: bytes) -> str:
    for number, line in enumerate(text.splitlines(), 1):
        fields = [field.strip() for field in line.split(b"\t")]
        if line.strip() and not (len(fields) == 2 and all(
                field.isdigit() and len(field) < 20 and int(field) < LARGEST for field in fields)):
            return f"{path}: line {number} is not `key TAB offset`; is this the .idx of a .rec?"
    return f"{path}: is not made of lines `key TAB offset`; is this the .idx of a .rec?"


def build_index(raw: RawFile) -> tuple[np.ndarray, np.ndarray]:
    """(keys, offsets) of an open file, from the frames of its records.

    The keys are the ids in the image headers where those are distinct, else 0, 1, 2, ... DataError names the first
    record that is damaged.
    """
    log.info("%s has no .idx beside it: reading it through once", raw.rec_path)
    offsets, ids, offset = [], [], 0
    while offset < raw.size:
        try:
            identifier, end = raw.skip(offset)
        except FramingError as error:
            raise DataError(f"{raw.rec_path}: record {len(offsets)} at byte {offset}: {error}") from None
        offsets.append(offset)
        ids.append(identifier)
        offset = end
    return keys_of(ids), np.array(offsets, np.int64)


def keys_of(ids: list[int]) -> np.ndarray:
    """Keys for records without an index: their ids where those are distinct, else 0, 1, 2, ..."""
    distinct = len(set(ids)) == len(ids) and all(0 <= number < LARGEST for number in ids)
    return np.array(ids if distinct else range(len(ids)), np.int64)

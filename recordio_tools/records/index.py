"""The `.idx` of a `.rec`: read from its file, or built by scanning the records."""
from __future__ import annotations

import codecs
import logging
import re
from pathlib import Path
from typing import BinaryIO, Iterator

import numpy as np

from common.errors import DataError
from common.files import PathLike, open_regular
from common.text_files import encoding_of
from recordio_tools.records.faults import FileReport
from recordio_tools.records.raw import RawFile, is_rec
from recordio_tools.records.scanning import blocks

log = logging.getLogger(__name__)
LARGEST = 1 << 62  # of a key or an offset: sums with lengths stay inside int64
CHUNK = 1 << 22  # bytes of text at a time: its words are Python objects
LONGEST_LINE = 1000
WAY_OUT = "remove it, and the file is scanned instead"
CUT = re.compile(rb"\d{1,19}\t?")  # the beginning of a last line
ZEROS = re.compile(rb"(\d{1,19}(\t\d{0,19})?)?\0+\s*")


class IndexFault(DataError):
    """An invalid line; byte: where it begins in the `.idx`, line: its number, from 1."""

    def __init__(self, message: str, byte: int, line: int) -> None:
        super().__init__(message)
        self.byte, self.line = byte, line


def index_beside(rec_path: Path) -> Path:
    """X.idx for X.rec (X.IDX where there is that alone); for another name, as X.rec.part000, X.rec.part000.idx."""
    beside = rec_path.with_suffix("") if is_rec(rec_path) else rec_path
    small, capital = (beside.with_name(beside.name + ending) for ending in (".idx", ".IDX"))
    return capital if capital.is_file() and not small.is_file() else small


def read_index(path: PathLike) -> tuple[np.ndarray, np.ndarray]:
    """(keys, offsets), int64 (N,) each, of an `.idx` (`key TAB offset` a line); DataError, IndexFault for a line.

    A byte order mark and UTF-16 are read too.
    """
    pieces, line = [np.empty(0, np.int64)], 1
    try:
        with open_regular(path) as file:
            encoding = encoding_of(file.read(4))
            byte = len(codecs.BOM_UTF8) if encoding == "utf-8-sig" else 0
            file.seek(byte)
            for text in _chunks(codecs.EncodedFile(file, "ascii", encoding, "replace") if "16" in encoding else file):
                numbers = _numbers(text)
                if numbers is None:
                    raise _fault(path, text, byte, line)
                pieces.append(numbers)
                byte, line = byte + len(text), line + text.count(b"\n")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    table = np.concatenate(pieces)
    return table[0::2].copy(), table[1::2].copy()


def place_of_entry(path: PathLike, entry: int) -> tuple[int, int]:
    """(byte, line from 1) of an entry (from 0) of a readable `.idx`."""
    byte, line = 0, 0
    with open(path, "rb") as file:
        for text in file:
            line += 1
            if text.strip():
                entry -= 1
            if entry < 0:
                break
            byte += len(text)
    return byte, line


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines, some megabytes at a time; of an overlong line the beginning."""
    while True:
        text = file.read(CHUNK)
        if not text:
            return
        yield text if text.endswith(b"\n") else text + file.readline(LONGEST_LINE)


def _numbers(text: bytes) -> np.ndarray | None:
    """The numbers of some lines, key and offset in turn; None where a line is not an entry."""
    words = text.split()
    # with one word of a megabyte numpy would use a megabyte for every word
    if len(words) != 2 * text.count(b"\t") or max(map(len, words), default=0) > 20:
        return None
    try:
        numbers = np.array(words, np.bytes_).astype(np.int64) if words else np.empty(0, np.int64)
    except (ValueError, OverflowError):
        return None
    return numbers if ((numbers >= 0) & (numbers < LARGEST)).all() else None


def _fault(path: PathLike, text: bytes, byte: int, line: int) -> IndexFault:
    for row in text.splitlines(True):
        fields = [field.strip() for field in row.split(b"\t")]
        if row.strip() and not (len(fields) == 2 and all(
                field.isdigit() and len(field) < 20 and int(field) < LARGEST for field in fields)):
            cut = CUT.fullmatch(row) and line > 1  # without an end of line: the last one
            if cut or ZEROS.fullmatch(row):
                what = "is cut off" if cut else "holds zeros"
                return IndexFault(f"{path}: line {line} {what}; the index is truncated: {WAY_OUT}", byte, line)
            return IndexFault(f"{path}: line {line} is not `key TAB offset`; is this the .idx of a .rec? "
                              f"If not, {WAY_OUT}", byte, line)
        byte, line = byte + len(row), line + 1
    return IndexFault(f"{path}: is not made of lines `key TAB offset`; is this the .idx of a .rec? If not, {WAY_OUT}",
                      byte, line)


def build_index(raw: RawFile) -> tuple[np.ndarray, np.ndarray]:
    """(keys, offsets) of an open file, from the frames of its records.

    The keys are the ids in the image headers where those are distinct, else 0, 1, 2, ... DataError names the first
    record that is damaged.
    """
    log.info("%s has no .idx beside it: scanning it once", raw.rec_path)
    report = FileReport(str(raw.rec_path))
    ids, offsets = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for block in blocks(raw, None, report):
        offsets.append(block.offset)
        ids.append(np.where(block.readable, block.id, LARGEST))
        if report.faults:
            places = [(fault.byte, fault.message) for fault in report.faults.values() if fault.byte is not None]
            byte, message = min(places, key=lambda place: place[0])  # the damage of a record has a place
            number = sum(int((piece < byte).sum()) for piece in offsets)
            hint = (f"python -m recordio_tools check {raw.rec_path} --repair OUT keeps the sound records" if byte else
                    "expected a .rec file, or the folder that holds train.rec")
            raise DataError(f"{raw.rec_path}: record {number} at byte {byte}: {message}; {hint}")
    return keys_of(np.concatenate(ids)), np.concatenate(offsets)


def keys_of(ids: np.ndarray) -> np.ndarray:
    """Keys, int64, for records without an index: their ids, uint64, where those are distinct, else 0, 1, 2, ..."""
    distinct = len(np.unique(ids)) == len(ids) and (ids < LARGEST).all()
    return ids.astype(np.int64) if distinct else np.arange(len(ids))

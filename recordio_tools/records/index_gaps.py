"""Whether an `.idx` lists all records of its `.rec`: decided from the heads already read, without a scan."""
from __future__ import annotations

import numpy as np

from common.errors import DataError
from recordio_tools.records import framing
from recordio_tools.records.index import WAY_OUT
from recordio_tools.records.parts import Records
from recordio_tools.records.raw import Heads
from recordio_tools.records.recordio import RecordFile


def check_index(record_file: Records) -> None:
    """DataError for an index without entries, and where records follow the last one in it, as after an interrupted
    download of the index. Two reads, whatever the size of the file."""
    for part in record_file.parts:
        if part.idx_path is None or not part.size:
            continue
        if not len(part.offsets):
            raise DataError(f"{part.idx_path}: is empty, and {part.rec_path.name} holds {part.size} bytes; {WAY_OUT}")
        try:
            _, end = part.content_at(int(part.offsets.max()))
        except framing.FramingError:  # a damaged record is found when it is read
            continue
        if end < part.size and _begins(part, end):
            raise DataError(f"{part.idx_path}: ends with the record before byte {end} of {part.rec_path.name}, which "
                            f"continues to byte {part.size}; the index is truncated or of another rec: {WAY_OUT}")


def index_warnings(record_file: Records, heads: Heads) -> list[str]:
    """Gaps in the middle of an index, entries beyond its file, and several for one record; a line for each."""
    told, first = [], 0
    for part in record_file.parts:
        own = slice(first, first + len(part.offsets))
        first = own.stop
        if part.idx_path is None or not len(part.offsets):
            continue
        beyond = part.offsets[part.offsets >= part.size]
        if len(beyond):
            told.append(f"{part.idx_path}: {len(beyond)} of its {len(part.offsets)} entries point beyond "
                        f"{part.rec_path.name}, which ends at byte {part.size}, the first to byte {beyond[0]}; it is "
                        f"of another rec, or the rec is truncated")
        order = np.argsort(part.offsets, kind="stable")
        begin = part.offsets[order]
        again = begin[1:][begin[1:] == begin[:-1]]
        if len(again):
            told.append(f"{part.idx_path}: {len(again)} of its {len(begin)} entries are second ones of a record, the "
                        f"first of that at byte {again[0]}; its image is used twice: python -m recordio_tools check "
                        f"{part.rec_path} --repair OUT makes a set without them")
        end = np.where(heads.readable & (heads.part_flag == framing.WHOLE), heads.end, 1 << 62)[own][order]
        gaps = [0] if begin[0] > 0 else []
        gaps += end[:-1][(end[:-1] < begin[1:]) & (begin[1:] <= part.size)].tolist()
        if gaps and _begins(part, gaps[0]):
            more = f", nor in {len(gaps) - 1} more places" if len(gaps) > 1 else ""
            told.append(f"{part.idx_path}: lacks the record at byte {gaps[0]} of {part.rec_path.name}{more}; "
                        f"those records are not used: {WAY_OUT}")
    return told


def _begins(part: RecordFile, offset: int) -> bool:
    """Whether a record begins there; zeros at the end of a file are not one."""
    try:
        framing.part(part.bytes_at(offset, framing.FRAME.size))
    except framing.FramingError:
        return False
    return True

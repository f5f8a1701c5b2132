"""One pass over a `.rec`: its records as arrays, and the results of decoding their images, in several threads."""
from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Iterator

import numpy as np

from common.progress import meter
from common.workers import ordered_map
from images.codec import IMAGE_KINDS, Examined, examine_image
from images.formats import unlike_in_mxnet
from recordio_tools.records.faults import FileReport
from recordio_tools.records.framing import HEADER, FramingError
from recordio_tools.records.raw import RawFile
from recordio_tools.records.scanning import APART, Block, blocks

MOST = (1 << 16) - 1
SLICE = 64  # records that a thread takes at a time
LARGEST_IMAGE = 1 << 26  # bytes; a corrupt length may claim half a gigabyte
SAMPLE = 48  # bytes of an image's middle and end that identify it, with its length


RESULT = np.dtype([("kind", np.uint8), ("size", np.uint16, (2,)), ("sample", np.int64)])


@dataclass
class ScannedRecords:
    """The sound records of one `.rec`, in the file's order: arrays with one entry a record, as in `scanning.Block`.

    key int64, -1 where the index has none, which `check_rec` fills in; image: where there is one. For those: kind
    uint8, an index into IMAGE_KINDS; size uint16 (N, 2), height and width, 0 where it does not decode; sample int64.
    unlike: for each way in which MXNet's readers misread images, the offset of the first and how many there are. first:
    the first image of each kind of fault, its offset and what is wrong. astray, int64 (M, 2): key and offset of
    the index's entries that lead to no sound record, which `check_rec` fills in too.
    """

    offset: np.ndarray
    length: np.ndarray
    readable: np.ndarray
    image: np.ndarray
    flag: np.ndarray
    label: np.ndarray
    id: np.ndarray
    kind: np.ndarray
    size: np.ndarray
    sample: np.ndarray
    unlike: dict[str, tuple[int, int]]
    first: dict[str, tuple[int, str]]
    key: np.ndarray
    astray: np.ndarray

    def __len__(self) -> int:
        return len(self.offset)


def scan(raw: RawFile, known: np.ndarray | None, workers: int, report: FileReport) -> ScannedRecords:
    """Read the file once and decode every image; damage of the frames goes to `report`.

    known: the offsets in the index, sorted, or None without one.
    """
    columns = [(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, bool), np.empty(0, bool),
                np.empty(0, np.uint32), np.empty((0, 2), np.float32), np.empty(0, np.uint64))]
    results = [np.empty(0, RESULT)]
    first: dict[str, tuple[int, str]] = {}
    unlike: dict[str, tuple[int, int]] = {}
    with meter(raw.size, "check", "B") as bar:
        def slices() -> Iterator[tuple[Block, range]]:
            for block in blocks(raw, known, report):
                columns.append((block.offset, block.length.astype(np.int32), block.readable, block.has_image,
                                block.flag.copy(), block.label, block.id))
                yield from ((block, range(start, min(start + SLICE, len(block))))
                            for start in range(0, len(block), SLICE))
                bar.update(block.end - bar.n)

        for found, messages, misread in ordered_map(functools.partial(_examine_slice, raw), slices(), workers, chunk=1):
            results.append(found)
            for kind, place in messages.items():
                first.setdefault(kind, place)
            _add_unlike(unlike, misread)
    found = np.concatenate(results)
    offset, length, readable, image, flag, label, identifier = (np.concatenate(column) for column in zip(*columns))
    return ScannedRecords(offset, length, readable, image, flag, label, identifier, found["kind"].copy(),
                          found["size"].copy(), found["sample"].copy(), unlike, first,
                          key=np.full(len(found), -1), astray=np.empty((0, 2), np.int64))


def _add_unlike(known: dict[str, tuple[int, int]], more: dict[str, tuple[int, int]]) -> None:
    for reason, (offset, count) in more.items():
        first, before = known.get(reason, (offset, 0))
        known[reason] = first, before + count


def _examine_slice(raw: RawFile, work: tuple[Block, range]
                   ) -> tuple[np.ndarray, dict[str, tuple[int, str]], dict[str, tuple[int, int]]]:
    """(RESULT (n,), the first fault of each kind, what MXNet misreads) of some records of a block."""
    block, positions = work
    part = slice(positions.start, positions.stop)
    skipped = (HEADER.size + 4 * block.flag[part].astype(np.int64)).tolist()
    rows = []
    first: dict[str, tuple[int, str]] = {}
    unlike: dict[str, tuple[int, int]] = {}
    for place, has_image, start, length, skip in zip(positions, block.has_image[part].tolist(),
                                                     block.start[part].tolist(), block.length[part].tolist(), skipped):
        if not has_image:
            rows.append((0, (0, 0), 0))
            continue
        offset = int(block.offset[place])
        if length > LARGEST_IMAGE:
            image, found = b"", Examined("undecodable", None, f"holds {length} bytes, more than an image takes")
        else:
            image = (block.data[start + skip:start + length] if start != APART else _content(raw, offset)[skip:])
            found = examine_image(image)
        if found.kind:
            first.setdefault(found.kind, (offset, found.message))
        told = unlike_in_mxnet(image)
        if told:
            _add_unlike(unlike, {told: (offset, 1)})
        middle = len(image) // 2
        height, width = found.size or (0, 0)
        rows.append((IMAGE_KINDS.index(found.kind), (min(height, MOST), min(width, MOST)),
                     hash((len(image), image[middle:middle + SAMPLE], image[-SAMPLE:]))))
    return np.array(rows, RESULT), first, unlike


def _content(raw: RawFile, offset: int) -> bytes:
    try:
        return raw.content_at(offset)[0]
    except FramingError:
        return b""  # the file changed meanwhile

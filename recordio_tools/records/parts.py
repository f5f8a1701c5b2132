"""Sets in several `.rec` files, as im2rec writes them, found by name and read as one.

`im2rec.py --chunks N` writes X_0.rec, X_1.rec, ... (X_0_train.rec with a split), each with its .idx; the C++ im2rec
with nsplit=N writes X.rec.part000, X.rec.part001, ... and no index. Such a set is named by its folder or by X.
"""
from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Iterable, Iterator, Union

import numpy as np

from common.errors import DataError, UserError
from common.files import PathLike
from recordio_tools.records.index import LARGEST
from recordio_tools.records.raw import Heads, RawFile, is_rec
from recordio_tools.records.recordio import Record, RecordFile

CHUNK = re.compile(r"(?P<stem>.+)_(?P<number>\d{1,6})(?P<split>_train|_val|_test)?(?i:\.rec)", re.ASCII | re.DOTALL)
PART = re.compile(r"(?P<stem>.+)\.rec\.part(?P<number>\d{1,6})", re.ASCII | re.DOTALL)


class RecordParts:
    """Several `.rec` files read as one, with the interface of RecordFile, including threads and pickling.

    rec_path: the set's name in messages, not a file. keys, int64 (N,): those of the parts where they differ from one
    another, as im2rec's do, else each part's shifted to follow the part before, or, where that gives numbers that a
    record cannot have, 0, 1, 2, ... offsets: inside the parts.
    """

    def __init__(self, name: PathLike, paths: list[Path]) -> None:
        self.rec_path, self.idx_path = Path(name), None
        self.parts: list[RecordFile] = []
        try:
            for path in paths:
                self.parts.append(RecordFile(path))
        except BaseException:
            self.close()
            raise
        keys = [part.keys for part in self.parts]
        self._starts = np.cumsum([0, *map(len, keys)])
        self.keys = np.concatenate(keys)
        if len(np.unique(self.keys)) < len(self.keys):
            self.keys = _moved_up(keys)
        self._order = np.argsort(self.keys, kind="stable")
        self._sorted = self.keys[self._order]

    @property
    def offsets(self) -> np.ndarray:
        """int64 (N,): where each record begins in its part."""
        return np.concatenate([part.offsets for part in self.parts])

    @property
    def limits(self) -> np.ndarray:
        """int64 (N,): the size of the part that holds each record."""
        return np.repeat([part.size for part in self.parts], np.diff(self._starts))

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, key: int) -> Record:
        """The record of `key`, checked; a DataError names the part, and the key there."""
        part, there = next(self.split(np.array([key])))
        return dataclasses.replace(part.read(int(there[0])), key=key)

    def heads(self) -> Heads:
        """The beginnings of all records, part after part; `end` is an offset in the part."""
        heads = [part.heads() for part in self.parts]
        return Heads(*(np.concatenate([getattr(head, field.name) for head in heads])
                       for field in dataclasses.fields(Heads)))

    def places(self, keys: np.ndarray) -> Iterable[tuple[RawFile, int]]:
        """For each of `keys`, which must all exist: the part that holds the record, and its offset there."""
        numbers, places = self._locate(keys)
        for number, there in zip(numbers.tolist(), places.tolist()):
            yield self.parts[number], int(self.parts[number].offsets[there])

    def place(self, position: int) -> str:
        """`FILE: record K at byte B` of the record at a position of `keys`, in its part."""
        number = int(np.searchsorted(self._starts, position, "right")) - 1
        return self.parts[number].place(position - int(self._starts[number]))

    def close(self) -> None:
        """Close all parts."""
        for part in self.parts:
            part.close()

    def __enter__(self) -> RecordParts:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def split(self, keys: np.ndarray) -> Iterator[tuple[RecordFile, np.ndarray]]:
        """(part, the keys there) of runs of keys, int64, that are consecutive in one part."""
        number, there = self._locate(keys)
        for stretch in np.split(np.arange(len(keys)), np.flatnonzero(np.diff(number)) + 1) if len(keys) else ():
            part = int(number[stretch[0]])
            yield self.parts[part], self.parts[part].keys[there[stretch]]

    def _locate(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part of each of some keys, int64, and its position there; DataError names a key that is not there."""
        place = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        absent = np.flatnonzero(self._sorted[place] != keys) if len(self._sorted) else np.arange(len(keys))
        if len(absent):
            raise DataError(f"{self.rec_path}: none of its {len(self.parts)} parts has a record {keys[absent[0]]}")
        position = self._order[place]
        number = np.searchsorted(self._starts, position, "right") - 1
        return number, position - self._starts[number]


Records = Union[RecordFile, RecordParts]


def _moved_up(keys: list[np.ndarray]) -> np.ndarray:
    moved, start = [], 0
    if sum(int(part.max()) + 1 for part in keys if len(part)) > LARGEST:  # not numbers that were assigned on purpose
        return np.arange(sum(map(len, keys)))
    for part in keys:
        moved.append(part + start)
        start += int(part.max()) + 1 if len(part) else 0
    return np.concatenate(moved)


def open_records(path: PathLike) -> Records:
    """Open the `.rec`, or the set of parts, of a folder, a file or a name of parts; UserError without one."""
    name, paths = find_set(path)
    return RecordFile(paths[0]) if len(paths) == 1 else RecordParts(name, paths)


def find_set(path: PathLike) -> tuple[Path, list[Path]]:
    """(its name, its files in order) of the set of a path: a file, a folder's train.rec or only set, or the X of
    X_0.rec, X_1.rec, ... and X.rec.part000, ...; UserError where there is none."""
    path = Path(path)
    if path.is_file():
        return path, [path]
    if not path.is_dir():
        found = {name: paths for name, paths in _sets(path.parent).items() if _bare(name) == _bare(path)}
        if not found:
            raise UserError(f"{path}: there is no such file or folder")
    else:
        found = _sets(path)
    if not found:
        raise UserError(f"{path}: holds no .rec file; python -m recordio_tools pack makes one from folders of images")
    train = [name for name in found if _bare(name).lower() == "train"]
    if len(found) > 1 and not train:
        files = sum(map(len, found.values()))
        raise UserError(f"{path}: holds {files} .rec files and no train.rec; name one of them")
    name = train[0] if train else next(iter(found))
    return name, found[name]


def _bare(path: Path) -> str:
    return path.name[:-len(".rec")] if is_rec(path) else path.name


def list_sets(folder: PathLike) -> list[Path]:
    """The sets in a folder, sorted: `.rec` files, and the names of sets in parts (which `open_records` takes)."""
    return sorted(_sets(Path(folder)))


def _sets(folder: Path) -> dict[Path, list[Path]]:
    """The files of each set in a folder; DataError where a part is missing, or the folder cannot be listed."""
    whole: dict[Path, list[Path]] = {}
    numbered: dict[Path, dict[int, Path]] = {}
    try:
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from None
    for name in names:
        chunk, part = CHUNK.fullmatch(name), PART.fullmatch(name)
        if not (folder / name).is_file() or name.startswith("."):
            continue
        if part:
            numbered.setdefault(folder / f"{part['stem']}.rec", {})[int(part["number"])] = folder / name
        elif chunk:
            key = folder / f"{chunk['stem']}{chunk['split'] or ''}"
            numbered.setdefault(key, {})[int(chunk["number"])] = folder / name
        elif is_rec(folder / name):
            whole[folder / name] = [folder / name]
    for key, parts in numbered.items():
        if key.suffix != ".rec" and (0 not in parts or len(parts) == 1):  # names that end in a number by chance
            whole.update((path, [path]) for path in parts.values())
            continue
        missing = next((number for number in range(max(parts) + 1) if number not in parts), None)
        if missing is not None:
            raise DataError(f"{key}: part {missing} is missing; there is {', '.join(p.name for p in parts.values())}")
        whole.setdefault(key, [parts[number] for number in sorted(parts)])
    return whole

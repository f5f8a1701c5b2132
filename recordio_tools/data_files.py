"""Resolves a PATH on the command line to data files."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Sequence

from common.errors import UserError
from recordio_tools.bins.binfile import is_bin
from recordio_tools.records.parts import CHUNK, PART, find_set, list_sets
from recordio_tools.records.raw import RawFile, is_rec


class RecordSet(NamedTuple):
    """The `.rec` files of one set, in order; complete: it has no other parts."""

    paths: tuple[Path, ...]
    complete: bool


def data_files(path: Path) -> list[Path]:
    """The `.rec` and `.bin` files that a path means, and the names of sets in parts; UserError where there are none."""
    if path.is_dir():
        bins = (file for file in path.iterdir() if file.suffix.lower() == ".bin" and file.name[0] != ".")
        found = list_sets(path) + sorted(filter(is_bin, bins))
        if not found:
            raise UserError(f"{path}: holds neither a .rec nor a .bin")
        return found
    name, files = find_set(path)
    if len(files) == 1 and not (is_rec(path) or ".rec.part" in path.name or is_bin(path)):
        with RawFile(path) as raw:
            raise UserError(f"{path}: is {raw.foreign or 'neither a folder nor a .rec nor a .bin'}")
    return [name]


def record_sets(names: Sequence[Path]) -> list[RecordSet]:
    """The sets that some `.rec` files and names of sets in parts are; parts named one by one make one set."""
    sets: dict[Path, RecordSet] = {}
    for name in names:
        key, all_parts = _set_around(name)
        given = find_set(name)[1]
        known = sets[key].paths if key in sets else ()
        paths = [path for path in all_parts or given if path in known or path in given]
        sets[key] = RecordSet(tuple(paths), len(paths) == len(all_parts))
    return list(sets.values())


def _set_around(name: Path) -> tuple[Path, list[Path]]:
    """(name, files) of the whole set that a `.rec` belongs to; without files where some of them are missing."""
    if not name.is_file():
        return find_set(name)
    if CHUNK.fullmatch(name.name) or PART.fullmatch(name.name):
        try:
            for whole in list_sets(name.parent):
                if not whole.is_file() and name in find_set(whole)[1]:
                    return whole, find_set(whole)[1]
        except UserError:
            return name, []
    return name, [name]

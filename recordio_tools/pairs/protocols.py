"""The lists of further protocols: CALFW and CPLFW, AgeDB-30, and lists of `path1 path2 0|1`. No image is read."""
from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from common.errors import UserError
from common.matlab import read_variable
from common.name_lookup import NameLookup
from common.tables import read_rows, whole_number
from common.text_files import read_lines
from images.sources import EXTENSIONS
from recordio_tools.pairs.lists import LIST, TRUTH, Pair, in_turn

PROTOCOL_IMAGES = "03_Protocol_Images"  # AgeDB's folder of images


def read_flagged(images: Path, pairs: Path, folds: int) -> list[Pair]:
    """CALFW's and CPLFW's list: `image flag`, two lines a pair; flag 0: different identities, any other number: the
    same.

    The list has all same pairs, then all different ones; fold i takes the i-th part of either, in turn. images: the
    folder of the images, or the one that has it (`aligned images`).
    """
    lines = list(read_rows(pairs, LIST, "`image flag`, as CALFW and CPLFW have them", lambda line: line.rsplit(None, 1),
                           str, whole_number))
    sides = [(name, flag > 0) for _, (name, flag) in lines]
    if len(sides) % 2:
        raise UserError(f"{pairs}: has {len(sides)} images; two lines make a pair, is it truncated?")
    root = _root(images, ("aligned images", "images"), [name for name, _ in sides[:1]])
    lookup = NameLookup(pairs)
    found = []
    for place in range(0, len(sides), 2):
        (left, same), (right, also) = sides[place:place + 2]
        where = lines[place][0]
        if same != also:
            raise UserError(f"{where} and the next one are one pair, but their flags say same and different")
        found.append(Pair(_find(lookup, root, left), _find(lookup, root, right), same, where))
    parts = [[part.tolist() for part in np.array_split(np.array([pair for pair in found if pair.same == same], object),
                                                       folds)] for same in (True, False)]
    return [dataclasses.replace(pair, fold=str(fold)) for fold, (alike, unlike) in enumerate(zip(*parts), 1)
            for pair in in_turn(alike, unlike)]


def read_agedb(images: Path, protocol: Path) -> list[Pair]:
    """AgeDB's `04_FINAL_protocol_30_years.mat`: split by split, inside a split same and different pairs alternate.

    images: AgeDB's folder, or `03_Protocol_Images` in it. The file's `splits` has a cell for each split, whose struct
    has a 2 x n cell of images (a struct that begins with the name) and n labels, -1 for different identities.
    """
    found = []
    splits = read_variable(protocol, "splits")
    names = [(number, *_split(protocol, number, value)) for number, value in enumerate(
        splits if isinstance(splits, list) else [splits], 1)]
    first = next((pairs[0][0] for _, pairs, _ in names if pairs), "")
    root, lookup = _root(images, (PROTOCOL_IMAGES,), [f"{first}.jpg"]), NameLookup(protocol)
    for number, pairs, same in names:
        made = [Pair(_find(lookup, root, _with_ending(left)), _find(lookup, root, _with_ending(right)), kind,
                     f"{protocol}: split {number}, pair {place}", str(number))
                for place, ((left, right), kind) in enumerate(zip(pairs, same), 1)]
        found += in_turn([pair for pair in made if pair.same], [pair for pair in made if not pair.same])
    return found


def read_plain(images: Path | None, pairs: Path) -> list[Pair]:
    """A list without a first line: `path1 path2 1` for the same identity, 0 for different ones, in the list's order.

    Columns may also be separated by tabs or commas, and must be where a path has blanks. Relative paths are taken from
    `images`, or from the list's own folder.
    """
    root, lookup = pairs.parent if images is None else images, NameLookup(pairs)
    found = []
    for number, line in read_lines(pairs, LIST):
        separator = next((one for one in ("\t", ",", ";") if line.count(one) >= 2), None)
        fields = [field.strip() for field in line.strip().split(separator)]
        same = TRUTH.get(fields[-1].lower()) if len(fields) == 3 else None
        if same is None or not all(fields):
            raise UserError(f"{pairs}: line {number} is not `path1 path2 1` or `path1 path2 0`; with blanks in a path, "
                            "put tabs between the columns")
        found.append(Pair(_find(lookup, root, fields[0]), _find(lookup, root, fields[1]), same,
                          f"{pairs}: line {number}"))
    return found


def _find(lookup: NameLookup, root: Path, name: str) -> Path:
    return Path(lookup.find(name, root) or root / name)


def _root(images: Path, inside: Sequence[str], names: Sequence[str]) -> Path:
    """The folder in or below `images` that has the first image; `images` where none has."""
    candidates = [images, *(images / name for name in inside)]
    return next((folder for folder in candidates if names and os.path.isfile(folder / names[0])), images)


def _with_ending(name: str) -> str:
    return name if Path(name).suffix.lower() in EXTENSIONS else f"{name}.jpg"


def _split(path: Path, number: int, value: Any) -> tuple[list[tuple[str, str]], list[bool]]:
    """The names and labels of a split; UserError where its structure is different."""
    fields = list(value.values()) if isinstance(value, dict) else []
    cells: list[Any] = next((field for field in fields if isinstance(field, list) and len(field) == 2
                  and not any(isinstance(one, (int, float)) for one in _flat(field))), [[], []])
    sides = [[_name(cell) for cell in _flat(side)] for side in cells]
    labels = next((_flat(field) for field in fields if _flat(field)
                   and all(isinstance(one, (int, float)) for one in _flat(field))), [])
    if not sides[0] or not len(sides[0]) == len(sides[1]) == len(labels) or "" in [*sides[0], *sides[1]]:
        raise UserError(f"{path}: split {number} is not a 2 x n cell of named images with n labels, as AgeDB's "
                        "protocol has")
    return list(zip(*sides)), [label > 0 for label in labels]


def _flat(value: Any) -> list[Any]:
    """The elements of nested lists."""
    return [one for part in value for one in _flat(part)] if isinstance(value, list) else [value]


def _name(cell: Any) -> str:
    """An image's, "" where it has none."""
    first = next(iter(cell.values()), "") if isinstance(cell, dict) else cell
    return first.strip() if isinstance(first, str) and "\0" not in first else ""

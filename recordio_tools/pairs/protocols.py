"""The lists of further protocols: CALFW and CPLFW, AgeDB-30, and lists of `path1 path2 0|1`. No image is read."""
from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from common.errors import UserError
from common.files import read_regular
from common.name_lookup import NameLookup
from common.text_files import read_lines
from images.sources import EXTENSIONS
from recordio_tools.pairs.lists import TRUTH, Pair

LARGEST_MAT = 1 << 26  # bytes; AgeDB's has some 100 KB
PROTOCOL_IMAGES = "03_Protocol_Images"  # AgeDB's folder of images
FLAG = re.compile(r"\d{1,6}", re.ASCII)


def read_flagged(images: Path, pairs: Path, folds: int) -> list[Pair]:
    """CALFW's and CPLFW's list: `image flag`, two lines a pair; flag 0: different people, any other number: one.

    The list has all same pairs, then all different ones; fold i takes the i-th part of either, in turn. images: the
    folder of the images, or the one that has it (`aligned images`).
    """
    lines = list(read_lines(pairs, "list of pairs"))
    sides = []
    for number, line in lines:
        fields = line.rsplit(None, 1)
        if len(fields) != 2 or not FLAG.fullmatch(fields[1]):
            raise UserError(f"{pairs}: line {number} is not `image flag`, as CALFW and CPLFW have them")
        sides.append((fields[0].strip(), int(fields[1]) > 0))
    if len(sides) % 2:
        raise UserError(f"{pairs}: has {len(sides)} images; two lines make a pair, is it whole?")
    root = _root(images, ("aligned images", "images"), [name for name, _ in sides[:1]])
    lookup = NameLookup()
    found = []
    for place in range(0, len(sides), 2):
        (left, same), (right, also) = sides[place:place + 2]
        where = f"{pairs}: line {lines[place][0]}"
        if same != also:
            raise UserError(f"{where} and {lines[place + 1][0]} are one pair, but their flags say same and different")
        found.append(Pair(_find(lookup, root / left), _find(lookup, root / right), same, where))
    parts = [np.array_split(np.array([pair for pair in found if pair.same == same], object), folds)
             for same in (True, False)]
    return [pair for fold in range(folds) for pair in _in_turn(parts[0][fold], parts[1][fold], str(fold + 1))]


def read_agedb(images: Path, protocol: Path) -> list[Pair]:
    """AgeDB's `04_FINAL_protocol_30_years.mat`: split by split, inside a split same and different pairs in turn.

    images: AgeDB's folder, or `03_Protocol_Images` in it. The file's `splits` has a cell for each split, whose struct
    has a 2 x n cell of images (a struct that begins with the name) and n labels, -1 for different people.
    """
    splits = _load_mat(protocol)
    found = []
    names = [(number, *_split(protocol, number, value)) for number, value in enumerate(splits, 1)]
    first = next((pairs[0][0] for _, pairs, _ in names if pairs), "")
    root, lookup = _root(images, (PROTOCOL_IMAGES,), [f"{first}.jpg"]), NameLookup()
    for number, pairs, same in names:
        made = [Pair(_find(lookup, root / _with_ending(left)), _find(lookup, root / _with_ending(right)), kind,
                     f"{protocol}: split {number}, pair {place}", str(number))
                for place, ((left, right), kind) in enumerate(zip(pairs, same), 1)]
        found += _in_turn([pair for pair in made if pair.same], [pair for pair in made if not pair.same], str(number))
    return found


def read_plain(images: Path | None, pairs: Path) -> list[Pair]:
    """A list without a first line: `path1 path2 1` for one person, 0 for two, in the list's order.

    Tabs or commas may stand between the columns too, and must where a path has blanks. Relative paths are taken from
    `images`, or from the list's own folder.
    """
    root, lookup = pairs.parent if images is None else images, NameLookup()
    found = []
    for number, line in read_lines(pairs, "list of pairs"):
        separator = next((one for one in ("\t", ",", ";") if line.count(one) >= 2), None)
        fields = [field.strip() for field in line.strip().split(separator)]
        same = TRUTH.get(fields[-1].lower()) if len(fields) == 3 else None
        if same is None or not all(fields):
            raise UserError(f"{pairs}: line {number} is not `path1 path2 1` or `path1 path2 0`; with blanks in a path, "
                            "put tabs between the columns")
        found.append(Pair(_find(lookup, root / fields[0]), _find(lookup, root / fields[1]), same,
                          f"{pairs}: line {number}"))
    return found


def _in_turn(same: Sequence[Pair], different: Sequence[Pair], fold: str) -> list[Pair]:
    """A fold's pairs, one of each kind in turn, so that other numbers of folds are balanced as well."""
    most = max(len(same), len(different))
    return [Pair(pair.left, pair.right, pair.same, pair.where, fold) for place in range(most)
            for pair in (*same[place:place + 1], *different[place:place + 1])]


def _find(lookup: NameLookup, path: Path) -> Path:
    return Path(lookup.find(path) or path)


def _root(images: Path, inside: Sequence[str], names: Sequence[str]) -> Path:
    """The folder in or below `images` that has the first image; `images` where none has."""
    candidates = [images, *(images / name for name in inside)]
    return next((folder for folder in candidates if names and os.path.isfile(folder / names[0])), images)


def _with_ending(name: str) -> str:
    return name if Path(name).suffix.lower() in EXTENSIONS else f"{name}.jpg"


def _load_mat(path: Path) -> list[Any]:
    """The values of `splits`. MATLAB's format holds data alone; nothing in it is executed."""
    from scipy.io import loadmat
    try:
        content = loadmat(io.BytesIO(read_regular(path, LARGEST_MAT)), variable_names=["splits"])
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except NotImplementedError:
        raise UserError(f"{path}: is a MATLAB 7.3 file; save it in MATLAB with -v7") from None
    except Exception as error:  # whatever a damaged file makes of the reader
        raise UserError(f"{path}: is no MATLAB file ({' '.join(str(error).split())[:100]})") from None
    if "splits" not in content or not isinstance(content["splits"], np.ndarray) or not content["splits"].size:
        raise UserError(f"{path}: has no splits; expected AgeDB's 04_FINAL_protocol_30_years.mat")
    return list(content["splits"].reshape(-1))


def _split(path: Path, number: int, value: Any) -> tuple[list[tuple[str, str]], list[bool]]:
    """The names and labels of a split; UserError where it is built otherwise."""
    record = _bare(value)
    fields = [_bare_array(record[name]) for name in record.dtype.names] if isinstance(record, np.void) and (
        record.dtype.names) else []
    cells = next((field for field in fields if field.dtype == object and field.ndim == 2 and field.shape[0] == 2), None)
    labels = next((field.reshape(-1) for field in fields if field.dtype.kind in "iuf"), None)
    if cells is None or labels is None or cells.shape[1] != len(labels):
        raise UserError(f"{path}: split {number} is not a 2 x n cell of images with n labels, as AgeDB's protocol has")
    try:
        pairs = [(_name(cells[0, place]), _name(cells[1, place])) for place in range(len(labels))]
    except (ValueError, IndexError, TypeError):
        raise UserError(f"{path}: split {number} has an image without a name") from None
    return pairs, [bool(label > 0) for label in labels]


def _bare(value: Any) -> Any:
    """What is inside cells of one."""
    while isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value


def _bare_array(value: Any) -> np.ndarray:
    """The same, but an array of more is kept as it is."""
    found = _bare(value)
    return found if isinstance(found, np.ndarray) else np.asarray(found)


def _name(cell: Any) -> str:
    value = _bare(cell)
    if isinstance(value, np.void):
        value = _bare(value[0])
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("no name")
    return str(value).strip()

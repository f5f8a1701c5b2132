"""The pairs of a verification protocol: LFW's pairs file, CFP's Protocol folder, a CSV. No image is read."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from common.errors import UserError
from common.foreign import shown
from common.name_lookup import NameLookup
from common.tables import read_rows, read_table, whole_number
from common.text_files import read_lines
from images.sources import EXTENSIONS, is_image_name, natural

NUMBER = re.compile(r"\d{1,9}", re.ASCII)
BOTH = re.compile(r"[^\s,;]+")
LIST = "list of pairs"
KAGGLE = re.compile(r"name[\s,;]+imagenum1[\s,;]+(imagenum2|name)")  # the first line of the table on Kaggle
CSV = {"left": ("image1", "first", "path1", "a"), "right": ("image2", "second", "path2", "b"),
       "same": ("issame", "is_same", "label", "match"), "fold": ("split",)}
CSV_FORM = "a first line left,right,same[,fold]"
TRUTH = {**dict.fromkeys(["1", "1.0", "true", "yes", "same"], True),
         **dict.fromkeys(["0", "0.0", "-1", "-1.0", "false", "no", "different"], False)}


@dataclass(frozen=True)
class Pair:
    """Two image files, whether they show the same identity, the line of the list, and its fold where that is given."""

    left: Path
    right: Path
    same: bool
    where: str
    fold: str = ""


def read_lfw(images: Path, pairs: Path) -> list[Pair]:
    """LFW's protocol, in the file's order: `name n m` is a same pair, `name n other m` a different one.

    The image is images/NAME/NAME_0001.jpg (or .png, ...). A first line `folds pairs` or `pairs` must hold. Where all
    same pairs come before all different ones, as in LFW's lists without folds, the two alternate.
    """
    lines = list(read_lines(pairs, LIST))
    found, lookup = [], _LfwImages(images)
    promised = _lfw_promise(lines[0][1]) if lines else None
    named = bool(lines) and KAGGLE.match(lines[0][1].lower()) is not None
    for number, line in lines if promised is None and not named else lines[1:]:
        line = line.rstrip("\t ,;")
        marks = [mark for mark in ("," if named else "\t", "\t", ";") if mark in line]
        marks += [","] if line.count(",") > 1 else []  # a name may have one: A_B,_Jr
        fields = [field.strip() for field in line.split(marks[0] if marks else None)]
        names = fields[:1] * 2 if len(fields) == 3 else fields[0::2]
        numbers = fields[1:] if len(fields) == 3 else fields[1::2]
        if len(fields) not in (3, 4) or not all(map(NUMBER.fullmatch, numbers)):
            raise UserError(f"{pairs}: line {number} is neither `name n m` (same) nor `name n other m` (different), "
                            "as LFW's pairs.txt has them, nor a row of a table name,imagenum1,imagenum2,")
        left, right = (lookup.find(name, int(word)) for name, word in zip(names, numbers))
        found.append(Pair(left, right, len(fields) == 3, f"{pairs}: line {number}"))
    if promised is not None and len(found) != promised:
        raise UserError(f"{pairs}: line 1 declares {promised} pairs, the file has {len(found)}; is it truncated? If "
                        "not, remove line 1")
    same, different = ([pair for pair in found if pair.same == kind] for kind in (True, False))
    return in_turn(same, different) if found == same + different else found


def in_turn(same: Sequence[Pair], different: Sequence[Pair]) -> list[Pair]:
    """Same and different pairs evenly mixed (alternating, where they are as many), so that any number of folds holds
    both."""
    places = [(place + 0.5) / len(kind) for kind in (same, different) for place in range(len(kind))]
    mixed = sorted(zip(places, [*same, *different]), key=lambda item: item[0])
    return [pair for _, pair in mixed]


def _lfw_promise(line: str) -> int | None:
    numbers = re.fullmatch(r"(\d{1,6})(?:[\s,;]+(\d{1,6}))?[\s,;]*", line.strip(), re.ASCII)
    return 2 * int(numbers.group(1)) * int(numbers.group(2) or 1) if numbers else None


class _LfwImages:
    """images/NAME/NAME_0001.jpg, or another ending, its case and the name's Unicode form aside."""

    def __init__(self, images: Path) -> None:
        self._images, self._ending, self._lookup = images, ".jpg", NameLookup()

    def find(self, name: str, number: int) -> Path:
        stem = self._images / name / f"{name}_{number:04d}"
        for ending in dict.fromkeys([self._ending, *sorted(EXTENSIONS)]):
            found = self._lookup.find(f"{stem}{ending}")
            if found is not None and os.path.isfile(found):
                self._ending = ending
                return Path(found)
        return Path(f"{stem}{self._ending}")


def read_cfp(protocol: Path, kind: str, splits: list[int] | None, images: Path | None) -> list[Pair]:
    """CFP's protocol, split by split (those there are, or `splits`); inside a split same and different alternate.

    images: the folder for `../Data/Images` of the lists, or CFP's top folder; None: as in the lists.
    """
    if not protocol.is_dir():
        raise UserError(f"`protocol` {protocol}: there is no such folder")
    folder = protocol / "Split" / kind
    folders = {int(path.name): path for path in folder.glob("*") if NUMBER.fullmatch(path.name)}
    splits = sorted(folders) if splits is None else splits
    if not splits:
        raise UserError(f"`protocol` {protocol}: {folder} holds no splits 01, 02, ...")
    lists = [_cfp_list(protocol / f"Pair_list_{letter}.txt") for letter in kind]
    found = []
    for split in splits:
        sides = [_cfp_pairs(folders.get(split, folder / f"{split:02d}") / f"{name}.txt", name == "same", str(split),
                            lists) for name in ("same", "diff")]
        found += in_turn(*sides)
    lookup = NameLookup(protocol)
    root = _cfp_root(protocol, images, found, lookup)
    paths = {path: Path(lookup.find(path, root) or root / path) for pair in found for path in (pair.left, pair.right)}
    return [Pair(paths[pair.left], paths[pair.right], pair.same, pair.where, pair.fold) for pair in found]


def _cfp_list(path: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    rows = read_rows(path, LIST, "`number path`", lambda line: re.split(r"[\s,;]+", line.strip(), maxsplit=1),
                     whole_number, str)
    for where, (number, name) in rows:
        parts = Path(name.replace("\\", "/")).parts
        if "Images" in parts:  # ../Data/Images/001/frontal/01.jpg
            parts = parts[parts.index("Images") + 1:]
        image = Path(*(part for part in parts if part not in ("..", "/")))
        if found.setdefault(number, image) != image:
            raise UserError(f"{where}: has another image of number {number}; remove the line that is wrong")
    return found


def _cfp_pairs(path: Path, same: bool, fold: str, lists: list[dict[int, Path]]) -> list[Pair]:
    found = []
    form = "`a,b`, two numbers of the pair lists"
    for where, numbers in read_rows(path, LIST, form, BOTH.findall, whole_number, whole_number):
        for number, names in zip(numbers, lists):
            if number not in names:
                raise UserError(f"{where}: the pair list has no image {number}")
        found.append(Pair(lists[0][numbers[0]], lists[1][numbers[1]], same, where, fold))
    return found


def _cfp_root(protocol: Path, images: Path | None, pairs: list[Pair], lookup: NameLookup) -> Path:
    top = protocol.parent if images is None else images
    candidates = [top, top / "Images", top / "Data" / "Images"]
    first = pairs[0].left if pairs else Path()
    return next((folder for folder in candidates if os.path.isfile(lookup.find(first, folder) or "")),
                candidates[2 if images is None else 0])


def read_csv(path: Path, images: Path | None) -> list[Pair]:
    """A table with the columns left, right, same and perhaps fold: in fold order, inside a fold in the file's order.

    Relative paths are taken from `images`, or from the table's own folder. same: 1/0, true/false, yes/no.
    """
    root = path.parent if images is None else images
    found, lookup = [], NameLookup(path)
    for row in read_table(path, CSV, CSV_FORM, _unnamed, ("left", "right", "same")):
        same = TRUTH.get(row["same"].lower())
        if not row["left"] or not row["right"] or same is None:
            why = (f"same is '{shown(row['same'][:30])}', not 1 or 0, true or false, yes or no" if same is None else
                   "a path is missing")
            raise UserError(f"{row.where} is not left,right,same[,fold]: {why}")
        left, right = (Path(lookup.find(row[side], root) or root / row[side]) for side in ("left", "right"))
        found.append(Pair(left, right, same, row.where, row["fold"]))
    return sorted(found, key=lambda pair: natural(pair.fold))


def _unnamed(fields: Sequence[str]) -> Sequence[str] | None:
    is_row = len(fields) in (3, 4) and all(map(is_image_name, fields[:2])) and fields[2].lower() in TRUTH
    return tuple(CSV)[:len(fields)] if is_row else None

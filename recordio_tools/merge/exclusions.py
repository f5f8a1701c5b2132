"""The table of `merge --exclude`: identities and images to leave out."""
from __future__ import annotations

import bisect
import re
from pathlib import Path, PurePosixPath
from typing import Collection, Sequence

import numpy as np

from common.errors import UserError
from common.name_forms import name_key
from common.name_lookup import canonical, canonical_path
from common.tables import header, read_table
from images.lists import PATHS
from recordio_tools.merge.plan import ANY_SET, NO_SET, Plan, find_source
from recordio_tools.records.identities import COLUMNS as NAMES

FORM = "a first line that names the columns: identity, or label (with set), or image"
COLUMNS = ("set", "label", "identity", "image")
WHOLE = re.compile(r"(?<=\d)\.0*$")  # 3.0, as pandas writes a number beside empty fields


def exclude(plan: Plan, path: Path) -> list[str]:
    """Remove what the table's rows name, and return a line for every row that matches nothing.

    Columns (others are ignored): `identity`, a name; `label`, a number, with `set` where there are several sets (as on
    the command line, or its folder's name); `image`, a record key (or a file that unpack named by it, 12.jpg, perhaps
    with its folder): then only that image is left out. UserError names an invalid row, a number that a spreadsheet made
    of a name, and a table of which no row matches anything.
    """
    by_name: dict[str, list[int]] = {}
    by_label: dict[tuple[int, int], int] = {}
    owners: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for number, identity in enumerate(plan.identities):
        by_name.setdefault(name_key(identity.name) or identity.name, []).append(number)
        by_label[identity.source, identity.label] = number
    by_value = {name.lstrip("0"): name for name in by_name if name.isdecimal()}
    rows, unknown = _rows(path, by_name), []
    for where, row in rows:
        source = _source(plan, row, where)
        key = _key(row["image"], where)
        if row["identity"] or source == NO_SET:
            numbers = by_name.get(name_key(row["identity"]) or row["identity"], [])
            value = WHOLE.sub("", row["identity"]).lstrip("0")
            if not numbers and row["identity"] and value in by_value:
                raise UserError(f"{where}: there is no identity {row['identity']}, but {by_value[value]}; spreadsheets "
                                "rewrite numbers: write the names as the set has them, or leave the row out")
        elif row["label"] or key is None:
            numbers = [by_label.get((source, int(row["label"])), -1)]
        else:
            if source not in owners:
                owners[source] = _owners(plan, source)
            keys, owner = owners[source]
            numbers = owner[np.searchsorted(keys, key):np.searchsorted(keys, key, "right")].tolist()
        numbers = [number for number in numbers if number >= 0 and _fits(plan, number, source, row, key)]
        for number in numbers:
            if key is None:
                plan.remove(number, f"excluded by {path.name}")
            else:
                plan.remove_image(number, key)
        if not numbers:
            unknown.append(f"{where}: there is no " + ", ".join(f"{name} {row[name]}" for name in COLUMNS if row[name]))
    if unknown and len(unknown) == len(rows):
        raise UserError(f"{unknown[0]}, and no other row matches anything; the table is of another set, or a program "
                        "has rewritten its names: correct it, or leave out `exclude`")
    return unknown


def _fits(plan: Plan, number: int, source: int, row: dict[str, str], key: int | None) -> bool:
    """Whether an identity is in the row's set, has its label and holds its image. A file's folder, where it is named,
    must be the identity's: files of another were not made by unpack, and their numbers are not record keys."""
    identity = plan.identities[number]
    if source not in (ANY_SET, identity.source) or row["label"] and identity.label != int(row["label"]):
        return False
    faces = plan.sets[identity.source]
    place = bisect.bisect_left(faces.labels, identity.label)
    folder = canonical_path(row["image"]).rpartition("/")[0].rpartition("/")[2]
    return key is None or key in faces.images[place] and (
        not folder or folder in map(canonical, (faces.folders[place], identity.name)))


def _owners(plan: Plan, source: int) -> tuple[np.ndarray, np.ndarray]:
    """(record keys, sorted; number of the identity of each) of one set."""
    numbers = [number for number, identity in enumerate(plan.identities) if identity.source == source]
    keys = np.concatenate(plan.sets[source].images)
    owner = np.repeat(numbers, list(map(len, plan.sets[source].images)))
    order = np.argsort(keys, kind="stable")
    return keys[order], owner[order]


def _source(plan: Plan, row: dict[str, str], where: str) -> int:
    """The set that a row means, NO_SET for one that is not there."""
    row["label"] = WHOLE.sub("", row["label"])
    if row["label"] and not re.fullmatch(r"\d{1,12}", row["label"], re.ASCII):
        raise UserError(f"{where}: label {row['label'][:20]!r} is not a whole number")
    if row["set"] or len(plan.sets) == 1:
        return find_source(plan, row["set"]) if row["set"] else 0
    if row["label"] or not row["identity"]:
        raise UserError(f"{where}: gives {'a label' if row['label'] else 'an image'} without its set; there are "
                        f"{len(plan.sets)} sets, so a column `set` must say which")
    return ANY_SET


def _key(text: str, where: str) -> int | None:
    if not text:
        return None
    stem = PurePosixPath(canonical_path(text)).stem
    if not re.fullmatch(r"\d{1,18}", stem, re.ASCII) or stem != text and stem != str(int(stem)):
        raise UserError(f"{where}: image {text[:40]!r} is not a record key, nor a file as unpack names it (12.jpg); "
                        "without that column whole identities are left out")
    return int(stem)


def _rows(path: Path, names: Collection[str]) -> list[tuple[str, dict[str, str]]]:
    """The table's rows; its first line may also be one of the `names` alone, as in a list of names."""
    def unnamed(fields: Sequence[str]) -> Sequence[str] | None:
        return ["identity"] if len(fields) == 1 and (name_key(fields[0]) or fields[0]) in names else None

    columns = {"set": (), "label": (), "identity": NAMES["identity"], "image": ("path", *PATHS), "action": ()}
    if not {"identity", "label", "image"} & header(path, columns, FORM, unnamed):
        raise UserError(f"{path}: line 1 names none of the columns identity, label (with set) and image")
    rows = []
    for row in read_table(path, columns, FORM, unnamed):
        if not row["identity"] and not row["label"] and not row["image"]:
            raise UserError(f"{row.where}: names neither an identity nor a label nor an image")
        if row["action"] != "joined":  # a row of matches.csv whose identities were the same, and stayed
            rows.append((row.where, {name: row[name] for name in COLUMNS}))
    return rows

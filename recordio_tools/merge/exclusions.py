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
from recordio_tools.merge.plan import Plan, find_source
from recordio_tools.records.identities import COLUMNS as NAMES

FORM = "a first line that names the columns: identity, or label (with set), or image"
COLUMNS = ("set", "label", "identity", "image")


def exclude(plan: Plan, path: Path) -> list[str]:
    """Remove what the table's rows name, and return a line for every row that matches nothing.

    Columns (others are ignored): `identity`, a name; `label`, a number, with `set` where there are several sets (as on
    the command line, or its folder's name); `image`, a record key (or a file that unpack named by it, 12.jpg, perhaps
    with its folder): then only that image is left out. UserError names an invalid row.
    """
    by_name: dict[str, list[int]] = {}
    by_label: dict[tuple[int, int], int] = {}
    owners: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for number, identity in enumerate(plan.identities):
        by_name.setdefault(name_key(identity.name) or identity.name, []).append(number)
        by_label[identity.source, identity.label] = number
    unknown = []
    for where, row in _rows(path, by_name):
        source = _source(plan, row, where)
        key = _key(row["image"], where)
        named = by_name.get(name_key(row["identity"]) or row["identity"], [])
        if source is None:
            if row["set"]:
                unknown.append(f"{where}: there is no set {row['set']}")
                continue
            if row["label"] or not row["identity"]:
                raise UserError(f"{where}: gives {'a label' if row['label'] else 'an image'} without its set; there "
                                f"are {len(plan.sets)} sets, so a column `set` must say which")
            numbers = named
        elif row["identity"]:
            numbers = named
        elif row["label"] or key is None:
            numbers = [by_label.get((source, int(row["label"])), -1)]
        else:
            if source not in owners:
                owners[source] = _owners(plan, source)
            keys, owner = owners[source]
            numbers = owner[np.searchsorted(keys, key):np.searchsorted(keys, key, "right")].tolist()
        numbers = [number for number in numbers if number >= 0 and _fits(plan, number, source, row["label"])]
        if key is None:
            for number in numbers:
                plan.remove(number, f"excluded by {path.name}")
        else:
            numbers = [number for number in numbers if key in plan.identities[number].images
                       and _is_folder_of(plan, number, row["image"])]
            for number in numbers:
                plan.remove_image(number, key)
        if not numbers:
            unknown.append(f"{where}: there is no " + ", ".join(f"{name} {row[name]}" for name in COLUMNS if row[name]))
    return unknown


def _fits(plan: Plan, number: int, source: int | None, label: str) -> bool:
    identity = plan.identities[number]
    return (source is None or identity.source == source) and (not label or identity.label == int(label))


def _is_folder_of(plan: Plan, number: int, image: str) -> bool:
    """Whether a file's folder, where it is named, is the identity's: files of another folder were not made by unpack,
    and their numbers are not record keys."""
    identity = plan.identities[number]
    faces = plan.sets[identity.source]
    known = (faces.folders[bisect.bisect_left(faces.labels, identity.label)], identity.name)
    folder = canonical_path(image).rpartition("/")[0].rpartition("/")[2]
    return not folder or folder in map(canonical, known)


def _owners(plan: Plan, source: int) -> tuple[np.ndarray, np.ndarray]:
    """(record keys, sorted; number of the identity of each) of one set."""
    own = [(number, identity.images) for number, identity in enumerate(plan.identities) if identity.source == source]
    keys = np.concatenate([images for _, images in own])
    owner = np.repeat([number for number, _ in own], [len(images) for _, images in own])
    order = np.argsort(keys, kind="stable")
    return keys[order], owner[order]


def _source(plan: Plan, row: dict[str, str], where: str) -> int | None:
    row["label"] = re.sub(r"(?<=\d)\.0*$", "", row["label"])  # 3.0, as pandas writes it beside empty fields
    if row["label"] and not re.fullmatch(r"\d{1,12}", row["label"], re.ASCII):
        raise UserError(f"{where}: label {row['label'][:20]!r} is not a whole number")
    if row["set"]:
        return find_source(plan, row["set"])
    return 0 if len(plan.sets) == 1 else None


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

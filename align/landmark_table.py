"""Tables of five landmarks for each photograph, in CSV: read, checked line by line, and written incrementally.

The columns are path, then x1,y1 to x5,y5: left eye, right eye, nose, left and right corner of the mouth as the image
shows them, in pixels of the upright photograph; with decimal commas where another mark separates the columns. A first
line may name them, in any order; image, file, filename or name stand for path too, left_eye_x and so on for x1, and go
before it, which beside them is a box's. Columns score, found and made_of are optional; others are ignored. CelebA's
lists are read as they are.
"""
from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping, Sequence

import numpy as np

from common import tables
from common.errors import UserError
from common.files import PathLike, write_atomic
from common.foreign import shown
from common.foreign_paths import ForeignPaths, is_foreign
from common.name_lookup import by_canonical_path, canonical_path
from images.alignment import FARTHEST
from images.sources import natural

POINTS = [f"{axis}{number}" for number in range(1, 6) for axis in "xy"]
COLUMNS = ["path", *POINTS, "score", "found", "made_of"]
JOURNAL_COLUMNS = ["path", *POINTS, "score", "found"]  # since the first version
PARTS = (("left_eye", "lefteye"), ("right_eye", "righteye"), ("nose",), ("mouth_left", "left_mouth", "leftmouth"),
         ("mouth_right", "right_mouth", "rightmouth"))
NAMES = {**dict.fromkeys(COLUMNS, ()), "path": ("image", "file", "filename", "name", "image_path", "image_id"),
         **{f"{axis}{number}": [*(f"{name}_{axis}" for name in names), f"{axis}{number}"]  # x1 may be a box's
            for number, names in enumerate(PARTS, 1) for axis in "xy"}}
FORM = "a first line that names the columns " + ",".join(COLUMNS[:11])


@dataclass(frozen=True)
class Row:
    """points: ten numbers as text, x1, y1, ..., so that a table written and read again is the same to the last digit;
    score: of the detector, or ""; found: how; made_of: a digest of the photograph and the settings that a crop was made
    of, or ""."""

    points: tuple[str, ...]
    score: str = ""
    found: str = "given"
    made_of: str = ""

    @staticmethod
    def of(points: np.ndarray, score: float, found: str) -> Row:
        """The row of (5, 2) landmarks, to a thousandth of a pixel."""
        return Row(tuple(f"{value:.3f}" for value in points.ravel()), f"{score:.4f}", found)

    def array(self) -> np.ndarray:
        """(5, 2) float64."""
        return np.array([float(text) for text in self.points]).reshape(5, 2)


def read_table(path: PathLike, root: PathLike) -> dict[str, Row]:
    """The rows by path, relative to `root` where it is below that; UserError names a line that is unusable or repeats a
    path."""
    rows: dict[str, Row] = {}
    lines: dict[str, str] = {}
    root = os.path.abspath(root)
    for where, name, row in _rows(path):
        if isinstance(row, str):
            raise UserError(f"{where}: {row}")
        inside = os.path.relpath(name, root) if os.path.isabs(name) else name
        name = os.path.normpath(name if inside.startswith("../") else inside)
        if name in rows:
            raise UserError(f"{where}: {shown(name)} is on {lines[name]} already")
        rows[name], lines[name] = row, where.rpartition(": ")[2]
    return rows


def match_names(rows: Mapping[str, Row], names: Sequence[str], root: PathLike = "", path: PathLike = "landmarks"
                ) -> dict[str, Row]:
    """The rows by the matching names of `names`, photographs below `root`: Unicode forms, the extension's case and the
    beginning of a Windows path or another machine's (see `ForeignPaths`) aside. A row of exactly that name goes before
    others; UserError, which names the table `path`, for two others of one name."""
    known = set(names)
    alike = by_canonical_path(names)
    matched = {name: row for name, row in rows.items() if name in known}
    by_row: dict[str, str] = {}
    elsewhere = ForeignPaths(root, path)
    for given, row in rows.items():
        if given in known:
            continue
        below = elsewhere.below(given, lambda end: canonical_path(end) in alike) if is_foreign(given) else given
        found = alike.get(canonical_path(below), []) if below is not None else []
        name = given if len(found) != 1 else found[0]
        other = by_row.setdefault(name, given)
        if other != given and rows[other] != row:
            raise UserError(f"{path}: {shown(other)} and {shown(given)} could both be {shown(name)}; leave the rows of "
                            "other photographs out, or name it as it is below SRC")
        matched.setdefault(name, row)
    return matched


def _rows(path: PathLike, ragged: bool = False) -> Iterator[tuple[str, str, Row | str]]:
    """`FILE: line N`, path and row, or its error; ragged: ignore rows of another length."""
    for row in tables.read_table(path, NAMES, FORM, _unnamed, COLUMNS[:11], ragged, counted=True):
        yield row.where, row["path"], _row(row)


def _unnamed(fields: Sequence[str]) -> Sequence[str] | None:
    """The columns of a table whose first line is a row already, its points numbers."""
    is_row = 11 <= len(fields) <= len(COLUMNS) and all(
        map(tables.NUMBER.fullmatch, map(tables.with_point, fields[1:11])))
    return COLUMNS[:len(fields)] if is_row else None


def _row(row: tables.Row) -> Row | str:
    if not row["path"] or "\0" in row["path"]:
        return "names no file"
    for column in POINTS:
        try:
            value = tables.number(row.decimal(column))
        except ValueError:
            value = math.nan
        if not abs(value) < FARTHEST:
            return f"{column} is '{shown(row[column])[:20]}', not a number of pixels; leave lines without a face out"
    points = tuple(row.decimal(column) for column in POINTS)
    return Row(points, row.decimal("score"), row["found"] or "given", row["made_of"])


def is_journal(path: Path) -> bool:
    """Whether a file has the columns of the table of an align, of this version or an older one, also as a spreadsheet
    saves it: with a byte order mark, or another separator."""
    try:
        named = tables.header(path, dict.fromkeys(JOURNAL_COLUMNS, ()), FORM)
    except (UserError, ValueError):
        return False
    return named == set(JOURNAL_COLUMNS)


class Journal:
    """OUT/landmarks.csv: rows are appended during the work, and sorted at its end.

    rows: by path; those of an earlier run that can be read, unless it stopped in the middle of one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        if path.exists():
            found = list(_rows(path, ragged=True))
            self.rows = {name: row for _, name, row in found if isinstance(row, Row)}
            if found and not self.rows:  # its crops would count as files of another origin
                where, _, why = found[0]
                raise UserError(f"{where}: {why}, and so in every row; was the table saved with decimal commas? "
                                "Save it with points, or name another OUT")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write_all()  # a truncated last line must not stay before what is appended
        self._stream = open(path, "ab")

    def add(self, name: str, row: Row | None) -> None:
        """Add a photograph's row; without one, remove an earlier one."""
        if row is None:
            self.rows.pop(name, None)
            return
        self.rows[name] = row
        self._stream.write(tables.csv_bytes((), [_fields((name, row))]))
        self._stream.flush()

    def close(self) -> None:
        """Write the rows in order."""
        self._stream.close()
        self._write_all()

    def _write_all(self) -> None:
        ordered = sorted(self.rows.items(), key=lambda item: (natural(item[0]), item[0]))
        write_atomic(self.path, tables.csv_bytes(COLUMNS, map(_fields, ordered)), named=False)


def _fields(item: tuple[str, Row]) -> list[str]:
    name, row = item
    return [name, *row.points, row.score, row.found, row.made_of]

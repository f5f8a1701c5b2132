"""Tables of five landmarks for each photograph, in CSV: read, checked line by line, and written while the work goes on.

The columns are path, then x1,y1 to x5,y5: left eye, right eye, nose, left and right corner of the mouth as the image
shows them, in pixels of the upright photograph. A first line may name them, in any order; image, file, filename or name
stand for path too, left_eye_x and so on for x1. Columns score, found and made_of are optional; others are passed over.
"""
from __future__ import annotations

import collections
import csv
import io
import itertools
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping, Sequence

import numpy as np

from common.errors import UserError
from common.files import PathLike, open_regular, write_atomic
from common.foreign import shown
from common.name_lookup import canonical_path
from common.text_files import open_text
from images.alignment import HELP, misfit
from images.sources import natural

POINTS = [f"{axis}{number}" for number in range(1, 6) for axis in "xy"]
COLUMNS = ["path", *POINTS, "score", "found", "made_of"]
JOURNAL_COLUMNS = ["path", *POINTS, "score", "found"]  # since the first version
LIKE_PATH = ("image", "file", "filename", "name")
PARTS = (("left_eye",), ("right_eye",), ("nose",), ("mouth_left", "left_mouth"), ("mouth_right", "right_mouth"))
ALIASES = {**dict.fromkeys(LIKE_PATH, "path"), **{f"{name}_{axis}": f"{axis}{number}" for number, names in
                                                  enumerate(PARTS, 1) for name in names for axis in "xy"}}
NUMBER = re.compile(r"[+-]?\d+\.?\d*(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
ENOUGH = 2  # wrong rows of which most may be said that the table is meant otherwise
FARTHEST = 1e6  # pixels; a landmark further away is no landmark


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
    """The rows by path, relative to `root`; UserError names the line that is unusable, or names a path again."""
    rows: dict[str, Row] = {}
    lines: dict[str, int] = {}
    root = os.path.abspath(root)
    for number, name, row in _rows(path):
        if isinstance(row, str):
            raise UserError(f"{path}: line {number}: {row}")
        name = os.path.normpath(os.path.relpath(name, root) if os.path.isabs(name) else name)
        if name in rows:
            raise UserError(f"{path}: line {number}: {shown(name)} stands in line {lines[name]} already")
        rows[name], lines[name] = row, number
    return rows


def check_fit(rows: Mapping[str, Row], path: PathLike) -> None:
    """UserError where most rows' points are no face's: the table is then meant otherwise."""
    faults = collections.Counter(misfit(row.array()) for row in rows.values())
    wrong = len(rows) - faults.pop("", 0)
    if wrong >= ENOUGH and 2 * wrong > len(rows):
        fault, count = faults.most_common(1)[0]
        raise UserError(f"{path}: {count} of its {len(rows)} rows have {fault}; {HELP[fault]}")


def match_names(rows: Mapping[str, Row], names: Sequence[str]) -> dict[str, Row]:
    """The rows by the names of `names` that they mean: Unicode forms, the ending's case and backslashes aside."""
    known = set(names)
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(canonical_path(name), []).append(name)
    matched = {}
    for given, row in rows.items():
        parts = canonical_path(given).split("/")
        ends = ["/".join(parts[first:]) for first in range(len(parts) if "\\" in given else 1)]
        found = next((alike[end] for end in ends if end in alike), [])
        matched[given if given in known or len(found) != 1 else found[0]] = row
    return matched


def _rows(path: PathLike) -> Iterator[tuple[int, str, Row | str]]:
    """Line, path and row, or what is wrong with it."""
    try:
        with open_text(path) as stream:
            first = stream.readline(1 << 16)
            separator = max(",;\t", key=first.count)
            names = _columns(path, next(csv.reader([first], delimiter=separator), []))
            lines_before = 1
            if names is None:
                names, lines_before = COLUMNS[:first.count(separator) + 1], 0
            places = [names.index(name) if name in names else len(names) for name in COLUMNS]
            table = csv.reader(stream if lines_before else itertools.chain([first], stream), delimiter=separator)
            for fields in table:
                if any(field.strip() for field in fields):
                    values = [*(field.strip() for field in fields), *[""] * (len(names) + 1 - len(fields))]
                    name, *points = [values[place] for place in places[:11]]
                    yield (lines_before + table.line_num, name,
                           _row(len(names) != len(fields), name, points, values, places))
    except csv.Error as error:
        raise UserError(f"{path}: is no CSV ({error})") from None


def _columns(path: PathLike, first: list[str]) -> list[str] | None:
    """What the first line calls the columns, in our words; None where it is a row already, its points numbers."""
    if 11 <= len(first) <= len(COLUMNS) and all(NUMBER.fullmatch(field.strip()) for field in first[1:11]):
        return None
    names = [name.strip().lower() for name in first]
    names = [ALIASES.get(name, name) if ALIASES.get(name) not in names else name for name in names]
    missing = [name for name in COLUMNS[:11] if name not in names]
    if missing:
        raise UserError(f"{path}: line 1 names no column {', '.join(missing[:3])}; expected {','.join(COLUMNS[:11])}")
    return names


def _row(ragged: bool, name: str, points: list[str], values: list[str], places: list[int]) -> Row | str:
    if ragged or not name or "\0" in name:
        return f"does not hold the columns that line 1 names, {','.join(COLUMNS[:11])}"
    for column, text in zip(POINTS, points):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not abs(value) < FARTHEST:
            return f"{column} is {shown(text)[:20]!r}, not a number of pixels"
    return Row(tuple(points), values[places[11]], values[places[12]] or "given", values[places[13]])


def is_journal(path: Path) -> bool:
    """Whether a file begins as the table of an align does, of this version or an older one."""
    try:
        with open_regular(path) as stream:
            first = stream.readline(1000).decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return False
    return first.split(",")[:len(JOURNAL_COLUMNS)] == JOURNAL_COLUMNS


class Journal:
    """OUT/landmarks.csv: rows are added as the work goes on, and put in order at its end.

    rows: by path; those of an earlier run that can be read, unless it stopped in the middle of one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        if path.exists():
            self.rows = {name: row for _, name, row in _rows(path) if isinstance(row, Row)}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write_all()  # a last line that was cut short must not stay before what is added
        self._stream = open(path, "a", newline="", encoding="utf-8", errors="surrogateescape")

    def add(self, name: str, row: Row | None) -> None:
        """Note a photograph's row; without one, forget an earlier one."""
        if row is None:
            self.rows.pop(name, None)
            return
        self.rows[name] = row
        self._stream.write(_text([(name, row)]))
        self._stream.flush()

    def close(self) -> None:
        """Write the rows in order."""
        self._stream.close()
        self._write_all()

    def _write_all(self) -> None:
        ordered = sorted(self.rows.items(), key=lambda item: (natural(item[0]), item[0]))
        text = ",".join(COLUMNS) + "\n" + _text(ordered)
        write_atomic(self.path, text.encode("utf-8", "surrogateescape"))


def _text(rows: list[tuple[str, Row]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(
        [name, *row.points, row.score, row.found, row.made_of] for name, row in rows)
    return stream.getvalue()

"""Reads text tables of any origin: any separator, quotes, byte order marks, column names in any spelling."""
from __future__ import annotations

import csv
import io
import itertools
import math
import re
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Optional, Sequence

from common.errors import UserError
from common.files import PathLike
from common.foreign import shown
from common.text_files import read_lines

SEPARATORS = ",;\t|"  # and blanks, where the first line has none of these
NUMBER = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})(e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)
COUNT_LINE = re.compile(r"\ufeff?\s*[0-9]{1,9}\s*")  # the number of rows, with which CelebA's lists begin
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's first line
Columns = Mapping[str, Sequence[str]]
Unnamed = Callable[[Sequence[str]], Optional[Sequence[str]]]


@dataclass(frozen=True)
class Row:
    """where: `FILE: line N`; values: by the names that were asked for, stripped, "" where the row has none; separator:
    of the table."""

    where: str
    values: dict[str, str]
    separator: str = ","

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def decimal(self, name: str) -> str:
        """A value with a point for a decimal comma, which tables have whose separator is none: German ones."""
        value = self.values[name]
        return with_point(value) if self.separator != "," else value


class _Layout(NamedTuple):
    """line: number of the first line; text: its beginning; fields: what it holds; places: of the columns that
    were asked for; has_names: whether it names them, else it is a row."""

    line: int
    text: str
    separator: str
    fields: list[str]
    places: dict[str, int]
    has_names: bool


def read_table(path: PathLike, columns: Columns, form: str, unnamed: Unnamed | None = None,
               required: Sequence[str] = (), ragged: bool = False, exact: bool = False,
               counted: bool = False) -> Iterator[Row]:
    """The rows of a table whose first line names its columns.

    columns: what is asked for, and the other names it goes by, which go before its own where they include that; names
    are compared in small letters, a blank or a dash like an underscore. Other columns are ignored, and so are empty
    rows. UserError where two columns have the name of one that is used. unnamed: given the fields of a first line that
    names nothing, it returns the columns in their order where that line can only be a row, else None. UserError with
    `form` for a first line that is neither, or that lacks one of the columns `required`; for a row of another length
    than the first line, which is ignored where `ragged`. exact: fields keep blanks around them. counted: the table
    may begin with a line of the number of its rows, and then name the columns behind the first of `required` alone, as
    CelebA's lists do.
    """
    lines = read_lines(path, "table", blank=True, with_ends=True)  # which a field in quotes may hold
    layout = _layout(path, lines, columns, form, unnamed, required[0] if counted else "")
    missing = [name for name in required if name not in layout.places]
    if missing:
        raise UserError(f"{path}: line {layout.line} is '{shown(layout.text)}', not {form}; it has no column "
                        + ", ".join(missing[:3]))
    if not layout.has_names:
        yield _row(f"{path}: line {layout.line}", layout.fields, layout, columns)
    number, width = layout.line, len(layout.fields)
    table = csv.reader((line for _, line in lines), delimiter=layout.separator, skipinitialspace=not exact)
    while True:
        try:
            fields = next(table, None)
        except csv.Error as error:
            raise UserError(f"{path}: line {number + table.line_num} is not a row of a table ({error})") from None
        if fields is None:
            return
        if not any(map(str.strip, fields)):
            continue
        fields = fields if exact else list(map(str.strip, fields))
        where = f"{path}: line {number + table.line_num}"
        if len(fields) != width and (len(fields) < width or any(fields[width:])):
            if ragged:
                continue
            raise UserError(f"{where} has {len(fields)} columns, line {number} has {width}")
        yield _row(where, fields, layout, columns)


def read_rows(path: PathLike, what: str, form: str, split: Callable[[str], Sequence[str]],
              *types: Callable[[str], Any]) -> Iterator[tuple[str, list[Any]]]:
    """(`FILE: line N`, the values) of every line of a list without a first line that names its columns.

    split: a line to its fields, one for each of `types`, which make values of them or raise ValueError. UserError with
    `form` for a line that is not valid.
    """
    for number, line in read_lines(path, what):
        fields = list(map(str.strip, split(line)))
        try:
            if len(fields) != len(types):
                raise ValueError
            values = [kind(field) for kind, field in zip(types, fields)]
        except ValueError:
            raise UserError(f"{path}: line {number} is not {form}") from None
        yield f"{path}: line {number}", values


class _Rows(io.StringIO):
    """Rows that end with a newline; the writer puts a carriage return in quotes only where rows end with one."""

    def write(self, row: str) -> int:
        return super().write(row[:-2] + "\n")


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence]) -> bytes:
    """A table as a file's content; a name need not be UTF-8, its bytes are kept."""
    return csv_text(columns, rows).encode("utf-8", "surrogateescape")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A table as text, to print."""
    text = _Rows()
    csv.writer(text, lineterminator="\r\n").writerows(itertools.chain([columns] if columns else (), rows))
    return text.getvalue()


def whole_number(text: str) -> int:
    """A number of up to nine digits; ValueError for anything else."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(text)
    return int(text)


def number(text: str) -> float:
    """A finite number as tables have it, 12, -0.5 or 1e-3; ValueError for all else, also what Python takes for one."""
    value = float(text) if NUMBER.fullmatch(text.strip()) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]!r} is not finite, or not a number")
    return value


def with_point(text: str) -> str:
    """A number with a decimal comma as one with a point; all else as it is."""
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text


def header(path: PathLike, columns: Columns, form: str, unnamed: Unnamed | None = None) -> set[str]:
    """Which of `columns` the table has; UserError where it has none of them."""
    return set(_layout(path, read_lines(path, "table", blank=True), columns, form, unnamed).places)


def _layout(path: PathLike, lines: Iterator[tuple[int, str]], columns: Columns, form: str, unnamed: Unnamed | None,
            leading: str = "") -> _Layout:
    lines = ((number, line.rstrip("\r\n")) for number, line in lines if line.strip())
    number, first = next(lines, (1, ""))
    if COUNT_LINE.fullmatch(first) and leading:
        number, first = next(lines, (number, first))
    else:
        leading = ""
    declared = SEPARATOR_LINE.fullmatch(first)
    if declared:
        number, first = next(lines, (number + 1, ""))
        separators = [declared.group(1)]
    else:
        separators = sorted(SEPARATORS, key=first.count, reverse=True)
        if not any(map(first.count, SEPARATORS)):
            separators = [separators[0], *([" "] if " " in first.strip() else [])]
    text = first.strip()[:60]
    try:
        split = {separator: list(map(str.strip, next(csv.reader(
            [first.strip() if separator == " " else first], delimiter=separator, skipinitialspace=True), [])))
            for separator in separators}
    except (csv.Error, TypeError):  # a zero byte; a separator that csv does not take
        split = {}
    plain = {separator: list(map(_plain, fields)) for separator, fields in split.items()}
    places = {separator: _places(names, columns) for separator, names in plain.items()}
    best = max(places, key=lambda separator: len(places[separator]), default="")
    if places and places[best]:
        fields, found = split[best], places[best]
        named = [plain[best][place] for place in found.values()]
        twice = next((name for name in named if plain[best].count(name) > 1), "")
        if twice:
            raise UserError(f"{path}: line {number} names two columns {shown(twice)}; rename the one that is not meant")
        if leading and leading not in found and 0 in found.values():
            fields, found = [leading, *fields], {leading: 0, **{name: place + 1 for name, place in found.items()}}
        return _Layout(number, text, best, fields, found, True)
    for separator, fields in split.items() if first.strip() else ():
        names = unnamed(fields) if unnamed else None
        if names is not None:
            return _Layout(number, text, separator, fields, {name: place for place, name in enumerate(names)}, False)
    raise UserError(f"{path}: line {number} is '{shown(text)}', not {form}")


def _row(where: str, fields: list[str], layout: _Layout, columns: Columns) -> Row:
    places = layout.places
    return Row(where, {name: fields[places[name]] if name in places and places[name] < len(fields) else ""
                       for name in columns}, layout.separator)


def _places(names: list[str], columns: Columns) -> dict[str, int]:
    found = {}
    for name, others in columns.items():
        tried = others if name in others else (name, *others)
        place = next((names.index(other) for other in tried if other in names), None)
        if place is not None:
            found[name] = place
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().strip("\ufeff").strip().lower())

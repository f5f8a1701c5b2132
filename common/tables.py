"""Tables in text, whoever wrote them: comma, semicolon or tab, quotes, byte order marks, capitals in line 1."""
from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Iterator, Mapping, Sequence

from common.errors import UserError
from common.files import PathLike
from common.text_files import read_lines

SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Row:
    """where: `FILE: line N`; values: by the names that were asked for, stripped, "" where the row has none."""

    where: str
    values: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values[name]


def read_table(path: PathLike, columns: Mapping[str, Sequence[str]], form: str,
               unnamed: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of a table that has a first line with names.

    columns: what is asked for, and the other names it goes by; names are compared without capitals, blanks around them
    and with a dash for an underscore. Columns that nobody asked for are passed over, and so are empty rows. unnamed:
    the columns, in order, of a table whose first line names nothing that is asked for; else that is a UserError with
    `form`. Which columns must be there the caller asks `header`. A row of another length than line 1 is a UserError.
    """
    lines = read_lines(path, "table", blank=True)
    number, first = next(((number, line) for number, line in lines if line.strip()), (1, ""))
    separator = max(SEPARATORS, key=first.count)
    names = [_plain(name) for name in _split(first, separator, f"{path}: line {number}", form)]
    places = _places(names, columns)
    if not places:
        if unnamed is None:
            raise UserError(f"{path}: line {number} is {first.strip()[:60]!r}, not {form}")
        places = {name: place for place, name in enumerate(unnamed[:len(names)])}
        yield _row(f"{path}: line {number}", [part.strip() for part in _split(first, separator, "", form)], places,
                   columns)
    yield from _rows(path, lines, separator, len(names), number, places, columns)


def header(path: PathLike, columns: Mapping[str, Sequence[str]], form: str) -> set[str]:
    """Which of `columns` the first line names; UserError where it names none of them."""
    number, first = next(read_lines(path, "table"), (1, ""))
    separator = max(SEPARATORS, key=first.count)
    found = _places([_plain(name) for name in _split(first, separator, f"{path}: line {number}", form)], columns)
    if not found:
        raise UserError(f"{path}: line {number} is {first.strip()[:60]!r}, not {form}")
    return set(found)


def _rows(path: PathLike, lines: Iterator[tuple[int, str]], separator: str, width: int, number: int,
          places: dict[str, int], columns: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    table = csv.reader((line + "\n" for _, line in lines), delimiter=separator, skipinitialspace=True)
    while True:
        try:
            fields = next(table, None)
        except csv.Error as error:
            raise UserError(f"{path}: line {number + table.line_num} is no row of a table ({error})") from None
        if fields is None:
            return
        fields = [field.strip() for field in fields]
        if not any(fields):
            continue
        where = f"{path}: line {number + table.line_num}"
        if len(fields) != width and (len(fields) < width or any(fields[width:])):
            raise UserError(f"{where} has {len(fields)} columns, line {number} has {width}")
        yield _row(where, fields, places, columns)


def _row(where: str, fields: list[str], places: dict[str, int], columns: Mapping[str, Sequence[str]]) -> Row:
    return Row(where, {name: fields[places[name]] if name in places and places[name] < len(fields) else ""
                       for name in columns})


def _places(names: list[str], columns: Mapping[str, Sequence[str]]) -> dict[str, int]:
    found = {}
    for name, others in columns.items():
        place = next((names.index(other) for other in (name, *others) if other in names), None)
        if place is not None:
            found[name] = place
    return found


def _plain(name: str) -> str:
    return name.strip().strip("\ufeff").strip().lower().replace("-", "_")


def _split(line: str, separator: str, where: str, form: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # a zero byte
        raise UserError(f"{where} is {line[:60]!r}, not {form}") from None

"""Lists of images to pack: InsightFace's `.lst`, and tables in CSV. Read line by line, with the line of every fault."""
from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path
from typing import BinaryIO, Iterator

from common.errors import UserError
from common.files import PathLike
from recordio_tools.sources import Source, is_image_name, shown

LST_FORM = "aligned TAB path TAB label [TAB box, 4 numbers [TAB landmarks, 10 numbers: x1..x5 y1..y5]]"
CSV_FORM = "a first line that names the columns: path or image, and identity or label"
LONGEST = 1 << 16  # bytes of a line
PATHS, IDENTITIES = ("path", "image", "file"), ("identity", "label")


def from_lst(path: PathLike, root: PathLike) -> Source:
    """An InsightFace list; the names of its identities are its labels, numbers in numerical order, before others.

    A relative image path is taken from `root`. Of lines with flag 1 nothing behind the label is looked at; those with
    flag 0 keep it, for `geometry`. UserError names the line that is none.
    """
    source, groups = Source(str(path), _root(root)), _Groups()
    for number, line in _lines(path):
        fields = line.strip().split(b"\t")
        fields = [part if place == 1 else part.strip() for place, part in enumerate(fields)]  # paths as they are
        if len(fields) < 3 or not fields[1] or not fields[2] or b"\0" in line:
            raise UserError(f"{path}: line {number} is not {LST_FORM}")
        if _is_im2rec(fields):
            raise UserError(f"{path}: line {number} is not InsightFace's but im2rec's (number TAB label TAB path); "
                            f"the form is {LST_FORM}")
        if fields[0] not in (b"0", b"1"):
            raise UserError(f"{path}: line {number} begins with {fields[0][:20].decode('utf-8', 'replace')!r}, not "
                            f"with 1 (aligned) or 0; the form is {LST_FORM}")
        label = _label(fields[2], f"{path}: line {number}")
        if fields[0] == b"1":
            source.add(groups[label], fields[1])
            continue
        if len(fields) not in (3, 7, 17):
            raise UserError(f"{path}: line {number} has {len(fields)} columns, not 3, 7 or 17: {LST_FORM}")
        try:
            list(map(float, fields[3:]))
        except ValueError:
            raise UserError(f"{path}: line {number} has a box or landmarks that are no numbers: {LST_FORM}") from None
        source.add(groups[label], fields[1] + b"\0" + b"\t".join(fields[3:]))
    if not source.images:
        raise UserError(f"{path}: is empty; each line is {LST_FORM}")
    return source.finish(groups.names)


def from_csv(path: PathLike, root: PathLike) -> Source:
    """A table with a line of column names; other columns are passed over. Separated by comma, semicolon or tab.

    A relative image path is taken from `root`. UserError names the line that is unusable.
    """
    source, groups = Source(str(path), _root(root)), _Groups()
    text = (line.decode("utf-8", "surrogateescape") for _, line in _lines(path, blank=True))
    first = next(text, "")
    separator = max(",;\t", key=first.count)
    try:
        columns = [name.strip().lower() for name in next(csv.reader([first.lstrip("\ufeff")], delimiter=separator), [])]
    except csv.Error:  # a zero byte
        columns = []
    image, identity = (next((columns.index(name) for name in names if name in columns), None)
                       for names in (PATHS, IDENTITIES))
    if image is None or identity is None:
        raise UserError(f"{path}: line 1 is {shown(first.strip())[:60]!r}, not {CSV_FORM}")
    rows = csv.reader(text, delimiter=separator)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise UserError(f"{path}: line {rows.line_num + 1} is no row of a table ({error})") from None
        if row is None:
            break
        if not any(row):
            continue
        where = f"{path}: line {rows.line_num + 1}"
        if len(row) != len(columns):
            raise UserError(f"{where} has {len(row)} columns, line 1 has {len(columns)}")
        entry = row[image].strip().encode("utf-8", "surrogateescape")
        if not entry or not row[identity].strip() or b"\0" in entry:
            raise UserError(f"{where} lacks the {columns[image] if not entry else columns[identity]}")
        source.add(groups[_label(row[identity].strip().encode("utf-8", "surrogateescape"), where)], entry)
    if not source.images:
        raise UserError(f"{path}: holds no rows; it begins with {CSV_FORM}")
    return source.finish(groups.names)


def geometry(entry: bytes) -> tuple[bytes, list[float] | None]:
    """(path, None) of an aligned image's entry, else (path, []), or with the 4 numbers of a box, or those and the 10
    of landmarks."""
    path, zero, rest = entry.partition(b"\0")
    return path, [float(part) for part in rest.split(b"\t") if part] if zero else None


class _Groups:
    """Numbers for names, in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    @property
    def names(self) -> list[str]:
        return list(self._numbers)


def _label(field: bytes, where: str) -> str:
    """The name that a label gives: 007 and 7 are one number; anything that is no number is a name as it stands."""
    text = field.decode("utf-8", "surrogateescape")
    if re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return str(int(text))
    if re.fullmatch(r"-\d+(\.0*)?", text, re.ASCII):
        raise UserError(f"{where} has the label {text[:20]}; leave such lines out, or name the identity otherwise")
    return text


def _is_im2rec(fields: list[bytes]) -> bool:
    number = re.compile(rb"[-+]?\d+(\.\d*)?(e[-+]?\d+)?")
    return bool(fields[0].isdigit() and number.fullmatch(fields[1]) and is_image_name(os.fsdecode(fields[-1]))
                and not is_image_name(os.fsdecode(fields[1])))


def _root(root: PathLike) -> bytes:
    return os.path.join(os.fsencode(Path(root)), b"")


def _lines(path: PathLike, blank: bool = False) -> Iterator[tuple[int, bytes]]:
    """(number, line) of a text file, LONGEST bytes at most; blank: those without content too."""
    try:
        with open(path, "rb", buffering=1 << 20) as stream:
            yield from _numbered(stream, path, blank)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _numbered(stream: BinaryIO | io.BufferedReader, path: PathLike, blank: bool) -> Iterator[tuple[int, bytes]]:
    number = 0
    while True:
        line = stream.readline(LONGEST)
        if not line:
            return
        number += 1
        if len(line) == LONGEST:
            raise UserError(f"{path}: line {number} is longer than {LONGEST} bytes; this is no list of images")
        if blank or line.strip():
            yield number, line

"""Lists of images to pack: InsightFace's `.lst`, and tables in CSV. Read line by line; errors name the line."""
from __future__ import annotations

import logging
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Callable, Sequence, Tuple

import numpy as np

from common.errors import UserError
from common.files import PathLike
from common.foreign import shown
from common.name_forms import as_text
from common.name_lookup import NameLookup
from common.tables import read_table
from common.text_files import read_lines
from images.landmark_faults import LandmarkFaults
from images.landmark_places import EvenSample, check_boxes, check_places
from images.sources import Source, is_image_name

log = logging.getLogger(__name__)
LST_FORM = "aligned TAB path TAB label [TAB box, 4 numbers [TAB landmarks, 10 numbers: x1..x5 y1..y5]]"
CSV_FORM = "a first line that names the columns: path or image, and identity or label"
PATHS = ("image", "file", "filename", "filepath", "image_path", "file_name", "file_path", "image_name", "img_path",
         "image_id")
REAL = re.compile(r"-?\d{1,40}(\.\d{0,40})?(e[+-]\d{1,3})?", re.ASCII | re.IGNORECASE)  # a label that is a number
ENOUGH = 5  # invalid faces from which on a different meaning of the list is suspected
MISSING = frozenset(["nan", "none", "null", "na", "n/a", "<na>"])  # as pandas and others write them
IDENTITIES = ("label", "person", "subject", "class", "person_id", "subject_id", "class_id", "identity_id", "id")


def from_lst(path: PathLike, root: PathLike, trust: bool = False) -> Source:
    """An InsightFace list; the names of its identities are its labels, numbers in numerical order, before others.

    A relative image path is taken from `root`. Lists of im2rec (number TAB label TAB path) are read as well, of several
    labels the first. In lines with flag 1 everything after the label is ignored; those with flag 0 keep it, for
    `geometry`. UserError names an invalid line. trust: landmarks that seem to be of another form are used all the same.
    """
    source, groups, im2rec = Source(str(path), _root(root)), _Groups(), False
    place = _places(path, source.root)
    faults, sample = LandmarkFaults(), EvenSample[Tuple[bytes, np.ndarray]]()
    for number, text in read_lines(path, "list of images"):
        line = text.encode("utf-8", "surrogateescape")
        fields = _fields(line)
        if len(fields) < 3 or not fields[1] or not fields[2] or b"\0" in line:
            raise UserError(f"{path}: line {number} is not {LST_FORM}; a table of paths and identities is for `csv`")
        of_im2rec = _is_im2rec(fields)  # number TAB label TAB ... TAB path
        if of_im2rec and source.images and not im2rec:
            raise UserError(f"{path}: line {number} is not InsightFace's but im2rec's (number TAB label TAB path), as "
                            "the lines before it are not; a list has one form")
        if of_im2rec:
            im2rec = True
            source.add(groups[_label(fields[1], f"{path}: line {number}")], place(fields[-1]))
            continue
        if fields[0] not in (b"0", b"1"):
            raise UserError(f"{path}: line {number} begins with {fields[0][:20].decode('utf-8', 'replace')!r}, not "
                            f"with 1 (aligned) or 0; the form is {LST_FORM}")
        label = _label(fields[2], f"{path}: line {number}")
        if fields[0] == b"1":
            source.add(groups[label], place(fields[1]))
            continue
        if len(fields) not in (3, 7, 17):
            raise UserError(f"{path}: line {number} has {len(fields)} columns, not 3, 7 or 17: {LST_FORM}")
        try:
            numbers = list(map(float, fields[3:]))
        except ValueError:
            raise UserError(f"{path}: line {number} has a box or landmarks that are not numbers: {LST_FORM}") from None
        placed = place(fields[1])
        if len(numbers) == 14:
            faults.add(np.array(numbers[4:]).reshape(2, 5).T)
            sample.add((os.path.join(source.root, placed), np.array(numbers)))
        source.add(groups[label], placed + b"\0" + b"\t".join(fields[3:]))
    faults.refuse(path, "faces", ENOUGH, trust)
    if sample.items:
        table = np.array([row for _, row in sample.items])
        points = table[:, 4:].reshape(-1, 2, 5).transpose(0, 2, 1)
        check_places(path, [(file, one) for (file, _), one in zip(sample.items, points)], trust)
        check_boxes(path, table[:, :4], points, trust)
    elif trust:
        log.warning("%s: holds no landmarks, so `trust_landmarks` is without effect", path)
    if not source.images:
        raise UserError(f"{path}: is empty; each line is {LST_FORM}")
    return source.finish(groups.checked(path, source.images))


def from_csv(path: PathLike, root: PathLike) -> Source:
    """A table with the columns path and identity, which its first line names unless it is a row of these two; other
    columns are ignored.

    A relative image path is taken from `root`. UserError names the line that is unusable.
    """
    source, groups = Source(str(path), _root(root)), _Groups()
    place = _places(path, source.root)
    columns = {"path": PATHS, "identity": IDENTITIES}
    for row in read_table(path, columns, CSV_FORM, _unnamed, tuple(columns)):
        entry = row["path"].encode("utf-8", "surrogateescape")
        if not entry or not row["identity"] or b"\0" in entry:
            raise UserError(f"{row.where} lacks the {'path' if not entry else 'identity'}")
        source.add(groups[_label(row["identity"].encode("utf-8", "surrogateescape"), row.where)], place(entry))
    if not source.images:
        raise UserError(f"{path}: holds no rows; it begins with {CSV_FORM}")
    return source.finish(groups.checked(path, source.images))


def _unnamed(fields: Sequence[str]) -> Sequence[str] | None:
    images = list(map(is_image_name, fields))
    if sorted(images) != [False, True]:
        return None
    return ("path", "identity") if images[0] else ("identity", "path")


def geometry(entry: bytes) -> tuple[bytes, list[float] | None]:
    """(path, None) of an aligned image's entry, else (path, []), or with the 4 numbers of a box, or those and the 10
    of landmarks."""
    path, zero, rest = entry.partition(b"\0")
    return path, [float(part) for part in rest.split(b"\t") if part] if zero else None


def _places(path: PathLike, root: bytes) -> Callable[[bytes], bytes]:
    """What makes a Windows path of the list, or another machine's, a path here."""
    lookup, folder = NameLookup(path), os.fsdecode(root)

    def place(entry: bytes) -> bytes:
        if b"\\" not in entry and entry[1:2] != b":" and entry[:1] != b"/":
            return entry
        return os.fsencode(lookup.place(os.fsdecode(entry), folder))

    return place


class _Groups:
    """Numbers for names, in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def checked(self, path: PathLike, images: int) -> list[str]:
        """The names; UserError where one says that there is none, and all others are numbers: it is no identity's."""
        if len(self._numbers) == images > 2:
            log.warning("%s: each of its %d images is an identity of its own (%s, %s, ...); if these are numbers of "
                        "rows, put the identities there, in a table as a column identity", path, images,
                        *map(shown, list(self._numbers)[:2]))
        missing = [name for name in self._numbers if name.lower() in MISSING]
        if missing and all(map(REAL.fullmatch, self._numbers.keys() - missing)):
            raise UserError(f"{path}: has the label {missing[0]}, and all others are numbers; leave such lines out, or "
                            "name the identity otherwise")
        return list(self._numbers)


def _label(field: bytes, where: str) -> str:
    """The name for a label: 007, 7, 7.000000 (im2rec) and 7.0e+00 (numpy.savetxt) are equal; 1e5, which may be a part
    of a hash, and all else that is not a whole number is a name unchanged, but for bytes of code page 1252."""
    text = as_text(field.decode("utf-8", "surrogateescape"))
    if not REAL.fullmatch(text):
        return text
    value = Decimal(text)
    if value < 0:
        raise UserError(f"{where} has the label {text[:20]}; leave such lines out, or name the identity otherwise")
    return str(int(value)) if value < 10 ** 18 and value == int(value) else text


def _fields(line: bytes) -> list[bytes]:
    """The columns, which tabs separate: then a path may hold blanks, also around it; else commas or blanks do."""
    if b"\t" in line.strip():
        return [part if place == 1 else part.strip() for place, part in enumerate(line.strip().split(b"\t"))]
    fields = list(map(bytes.strip, line.split(b"," if b"," in line else None)))
    has_path = len(fields) > 2 and is_image_name(os.fsdecode(fields[1])) or _is_im2rec(fields)
    return fields if has_path else []


def _is_im2rec(fields: list[bytes]) -> bool:
    number = re.compile(rb"[-+]?\d+(\.\d*)?(e[-+]?\d+)?")
    return bool(fields[0].isdigit() and all(map(number.fullmatch, fields[1:-1]))
                and is_image_name(os.fsdecode(fields[-1])))


def _root(root: PathLike) -> bytes:
    return os.path.join(os.fsencode(Path(root)), b"")

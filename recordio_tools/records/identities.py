"""The names of a packed set's labels: identities.csv beside it."""
from __future__ import annotations

import itertools
import logging
import re
from pathlib import Path
from typing import Callable, Iterable, Mapping, Sequence, TypeVar

from common.errors import DataError, UserError
from common.files import PathLike
from common.foreign import shown
from common.tables import csv_bytes, read_table

log = logging.getLogger(__name__)
COLUMNS = {"label": ("class", "id", "index", "class_id"), "identity": ("name", "person", "subject")}
FORM = "a first line that names the columns label and identity"
LABEL = re.compile("[0-9]{1,12}")
Found = TypeVar("Found")


def read_identities(path: PathLike, counts: Mapping[int, int] | None = None,
                    tell: Callable[[str], object] = log.warning) -> dict[int, str]:
    """Label to name, of a table with the columns label and identity; DataError names an invalid line.

    A name keeps its blanks, and bytes that are not UTF-8, as `pack` wrote them. counts: the images of each label in the
    set; `tell` is given the first row whose column images has another number.
    """
    found: dict[int, str] = {}
    try:
        for row in read_table(path, {**COLUMNS, "images": ()}, FORM, _unnamed, tuple(COLUMNS), exact=True):
            label, images = row["label"].strip(), row["images"].strip()
            if not LABEL.fullmatch(label) or int(label) in found:
                raise DataError(f"{row.where}: '{shown(label[:20])}' is not a valid label, or occurs twice")
            found[int(label)] = row["identity"]
            if counts is not None and LABEL.fullmatch(images) and int(images) != counts.get(int(label), 0):
                tell(f"{row.where}: says {images} images of label {label}, the records have "
                     f"{counts.get(int(label), 0)}; the names are of other records: correct the table, or remove it")
                counts = None  # one line is enough
    except UserError as error:
        raise DataError(f"{error}; correct it, or remove it: the identities then have no names") from None
    return found


def _unnamed(fields: Sequence[str]) -> Sequence[str] | None:
    """The columns of a table that begins with a row: a number beside a name, or the label 0."""
    numbers = [bool(LABEL.fullmatch(field)) for field in fields]
    if len(fields) == 2 or len(fields) == 3 and numbers[2]:
        if numbers[0] and (not numbers[1] or fields[0] == "0" != fields[1]):
            return "label", "identity"
        return ("identity", "label") if numbers[1] and not numbers[0] else None
    return None


def read_beside(path: Path, read: Callable[[Path], Found], tell: Callable[[DataError], object]) -> Found | None:
    """What `read` finds in a file beside a `.rec`; None where there is none, or where `tell` is given an error."""
    try:
        return read(path) if path.is_file() else None
    except DataError as error:
        tell(error)
        return None


def names_beside(rec_path: Path, labels: Sequence[int], counts: Sequence[int]) -> list[str]:
    """The names of a set's labels, which have so many images; "" where identities.csv has none, or is not there."""
    path = rec_path.with_name("identities.csv")
    known = read_identities(path, dict(zip(labels, counts))) if path.is_file() else {}
    return [known.get(label, "") for label in labels]


def identity_table(identities: Iterable[Sequence], columns: Sequence[str] = (), labels: Iterable[int] | None = None
                   ) -> bytes:
    """An identities.csv of (name, images, *values of further columns) of these labels (default: 0, 1, 2, ...)."""
    return csv_bytes(("label", "identity", "images", *columns),
                     ((label, *row) for label, row in zip(itertools.count() if labels is None else labels, identities)))

"""Who the labels of a packed set are: the identities.csv beside it."""
from __future__ import annotations

import csv
import io
import itertools
import re
from pathlib import Path
from typing import Iterable, Sequence

from common.errors import DataError, UserError
from common.files import PathLike
from common.text_files import open_text


def read_identities(path: PathLike) -> dict[int, str]:
    """Label to name, of a table with the columns label,identity; DataError names the line that is none.

    A name keeps bytes that are no UTF-8, as `pack` wrote them.
    """
    found: dict[int, str] = {}
    try:
        with open_text(path) as stream:
            table = csv.DictReader(stream)
            if not {"label", "identity"} <= set(table.fieldnames or []):
                raise DataError(f"{path}: line 1 is not label,identity[,images]")
            for row in table:
                label, name = (row["label"] or "").strip(), row["identity"] or ""
                if not re.fullmatch("[0-9]{1,12}", label) or int(label) in found:
                    raise DataError(f"{path}: line {table.line_num}: {label[:20]!r} is no label, or one that stands "
                                    "there already")
                found[int(label)] = name
    except DataError:
        raise
    except UserError as error:
        raise DataError(str(error)) from None
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV ({error})") from None
    return found


def names_beside(rec_path: Path) -> dict[int, str]:
    """Label to name of a set; none where there is no identities.csv."""
    path = rec_path.with_name("identities.csv")
    return read_identities(path) if path.is_file() else {}


def identity_table(identities: Iterable[Sequence], columns: Sequence[str] = (), labels: Iterable[int] | None = None
                   ) -> bytes:
    """An identities.csv of (name, images, *values of further columns) of these labels (default: 0, 1, 2, ...)."""
    return csv_bytes(("label", "identity", "images", *columns),
                     ((label, *row) for label, row in zip(itertools.count() if labels is None else labels, identities)))


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence]) -> bytes:
    """A table; a name need be no UTF-8, its bytes are kept."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")

"""The `property` file beside a `train.rec`."""
from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from common.errors import DataError, UserError
from common.files import PathLike, write_atomic
from common.foreign import shown
from common.text_files import read_lines


class Property(NamedTuple):
    """Number of identities, and the height and width of every image in pixels; images: their number, where a second
    line has it, which InsightFace's RecBuilder writes."""

    num_classes: int
    height: int
    width: int
    images: int | None = None


def read_property(path: PathLike) -> Property:
    """Read the file; DataError where the first line is not three positive numbers."""
    try:
        lines = [line.strip() for _, line in itertools.islice(read_lines(path, "property"), 2)]
    except UserError as error:
        raise DataError(str(error)) from None
    text, second = [*lines, "", ""][:2]
    words = [word.strip() for word in text.split(",")]
    numbers = [int(word) for word in words if re.fullmatch(r"[0-9]{1,12}", word)]
    if len(words) != 3 or len(numbers) != 3 or min(numbers) < 1:
        raise DataError(f"{path}: is {shown(text[:40])!r}, not `num_classes,height,width`, e.g. 10575,112,112")
    classes, height, width = numbers
    return Property(classes, height, width, int(second) if re.fullmatch(r"[0-9]{1,12}", second) else None)


def write_property(path: PathLike, value: Property) -> None:
    """Write the first line, atomically."""
    write_atomic(path, f"{value.num_classes},{value.height},{value.width}\n")

"""The `property` file beside a `train.rec`: `num_classes,height,width`, and perhaps a second line, the images."""
from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from common.errors import DataError, UserError
from common.files import PathLike, write_atomic
from common.foreign import shown
from common.text_files import read_lines


class Property(NamedTuple):
    """Number of identities, and the height and width of every image in pixels."""

    num_classes: int
    height: int
    width: int


def read_property(path: PathLike) -> Property:
    """Read the first line; DataError where it is not three positive numbers.

    Everything after it is ignored here; see `told_images`.
    """
    try:
        lines = [line for _, line in itertools.islice(read_lines(path, "property"), 1)]
    except UserError as error:
        raise DataError(str(error)) from None
    text = lines[0].strip() if lines else ""
    words = [word.strip() for word in text.split(",")]
    numbers = [int(word) for word in words if re.fullmatch(r"[0-9]{1,12}", word)]
    if len(words) != 3 or len(numbers) != 3 or min(numbers) < 1:
        raise DataError(f"{path}: is {shown(text[:40])!r}, not `num_classes,height,width`, e.g. 10575,112,112")
    return Property(*numbers)


def told_images(path: PathLike) -> int | None:
    """The number of images in a second line, which InsightFace's RecBuilder writes; None where there is none."""
    try:
        lines = [line.strip() for _, line in itertools.islice(read_lines(path, "property"), 2)]
    except UserError:
        return None
    return int(lines[1]) if len(lines) == 2 and re.fullmatch(r"[0-9]{1,12}", lines[1]) else None


def write_property(path: PathLike, value: Property) -> None:
    """Write the line, atomically."""
    write_atomic(path, f"{value.num_classes},{value.height},{value.width}\n")

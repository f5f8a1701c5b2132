"""The `property` file beside a `train.rec`: one line, `num_classes,height,width`."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from common.files import PathLike, write_atomic
from recordio_tools.errors import DataError


class Property(NamedTuple):
    """Number of identities, and the height and width of every image in pixels."""

    num_classes: int
    height: int
    width: int


def read_property(path: PathLike) -> Property:
    """Read the file; DataError where it is not three positive numbers."""
    try:
        text = Path(path).read_bytes()[:1000].decode("utf-8", "replace").strip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or min(numbers) < 1 or max(numbers) > 1 << 40:
        raise DataError(f"{path}: is {text[:40]!r}, not `num_classes,height,width`, e.g. 10575,112,112")
    return Property(*numbers)


def write_property(path: PathLike, value: Property) -> None:
    """Write the line, at once or not at all."""
    write_atomic(path, f"{value.num_classes},{value.height},{value.width}\n")

"""Checks whether a set will fit on the disk."""
from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

from images.sources import Source

log = logging.getLogger(__name__)
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
SAMPLE = 200  # files whose sizes are sampled to estimate the rest


def typical_size(source: Source) -> int:
    """The mean size in bytes of a sample of the files."""
    sizes = []
    for path in source.sample(SAMPLE):
        with contextlib.suppress(OSError, ValueError):
            sizes.append(os.stat(path).st_size)
    return sum(sizes) // max(len(sizes), 1)


def warn_of_little_space(source: Source, out: Path, size: int) -> None:
    need = source.images * (size + 60)
    place = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if need > free:
        log.warning("%s: about %s are needed and %s are free there; a set that is there now stays until the new one is "
                    "whole", out, amount(need), amount(free))


def amount(size: int) -> str:
    """Bytes in the largest unit that has a whole one: `950 bytes`, `12.3 MB`."""
    unit, name = next(((unit, name) for unit, name in UNITS if size >= unit), (1, "bytes"))
    return f"{size / unit:.1f} {name}" if unit > 1 else f"{size} {name}"

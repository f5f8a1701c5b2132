"""Checks whether a set will fit on the disk."""
from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

from images.sources import Source

log = logging.getLogger(__name__)
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
        log.warning("%s: about %.1f GB are needed and %.1f GB are free there; a set that is there now stays until the "
                    "new one is whole", out, need / 1e9, free / 1e9)

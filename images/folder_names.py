"""Names of identities as safe folder names that sort as the labels do, and of formats as extensions."""
from __future__ import annotations

import os
import unicodedata
from typing import Iterable, Sequence

from common.name_forms import folded
from images.sources import natural

ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "JPEG 2000": ".jp2",
           "GIF": ".gif"}
UNKNOWN = ".unknown"  # not an image file; `pack` ignores the extension
LONGEST = 200  # bytes; file systems take 255


def folder_names(labels: Sequence[int], names: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """A folder name for each of some sorted labels with these names ("" for none), none of them in `taken`.

    The names themselves where all can be folders and `pack` would sort them as they stand; else `0007_name`, or `0007`
    alone for a name that cannot be a folder's: so packing the folders gives the same labels again.
    """
    plain = all(map(is_safe, names)) and len(set(map(folded, names))) == len(names)
    if plain and not set(names) & set(taken) and list(names) == sorted(names, key=lambda name: (natural(name), name)):
        return list(names)
    width = len(str(max(labels, default=0)))
    return [f"{label:0{width}d}" + (f"_{name}" if is_safe(name) else "") for label, name in zip(labels, names)]


def is_safe(name: str) -> bool:
    """Whether a name can be a folder's: no path, nothing hidden, no control characters, not too long."""
    try:
        length = len(os.fsencode(name))
    except UnicodeEncodeError:
        return False
    return (0 < length <= LONGEST and not name.startswith(".") and not set(name) & set("/\\")
            and not any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name))


def ending(kind: str | None) -> str:
    """The extension for a format."""
    return ENDINGS.get(kind or "", UNKNOWN)

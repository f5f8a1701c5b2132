"""Photographs below a folder: their list, the names of their crops, and their pixels, at full or reduced size."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Sequence

import cv2
import numpy as np

from common.errors import UserError
from common.files import PathLike
from common.foreign import shown
from common.name_forms import folded
from images.codec import REDUCED, ImageError, decode
from images.prepare import Unusable, examine, read_file
from images.sources import THUMBNAILS, folder_identity, holds_image, identities_above, is_image_name, natural


@dataclass
class Listing:
    """Paths relative to the folder, in natural order: of image names, and of others; folders that cannot be listed."""

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    unreadable_folders: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Picture:
    """pixels: (H, W, 3) uint8 RGB, upright, perhaps scaled down; scale: (x, y), its size over the photograph's."""

    pixels: np.ndarray
    scale: tuple[float, float]


def list_photographs(folder: PathLike, leave_out: PathLike) -> Listing:
    """All below `folder` except what lies in the folder `leave_out`; UserError where there are no images.

    Names that begin with a dot are ignored, and so are folders of thumbnails. Links are followed, each folder is
    visited once.
    """
    folder = os.path.normpath(os.fspath(folder))
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: there is no such folder")
    found = Listing()
    visited = identities_above(folder) | ({folder_identity(leave_out)} if os.path.isdir(leave_out) else set())

    def blocked(error: OSError) -> None:
        found.unreadable_folders.append(f"{shown(os.fspath(error.filename))} ({error.strerror})")

    for base, folders, names in os.walk(folder, followlinks=True, onerror=blocked):
        visited.add(folder_identity(base))
        new: dict[str, tuple[int, int]] = {}
        for name in sorted(folders):
            hidden = name.startswith(".") or name == THUMBNAILS
            identity = None if hidden else folder_identity(os.path.join(base, name))
            if identity is not None and identity not in visited and identity not in new.values():
                new[name] = identity
        folders[:] = new
        for name in names:
            if not name.startswith("."):
                relative = os.path.relpath(os.path.join(base, name), folder)
                image = is_image_name(name) or holds_image(os.fsencode(os.path.join(base, name)))
                (found.images if image else found.others).append(relative)
    for paths in (found.images, found.others):
        paths.sort(key=lambda path: (natural(path), path))
    if not found.images:
        blocked_folders = f"; {found.unreadable_folders[0]} cannot be listed" if found.unreadable_folders else ""
        raise UserError(f"{folder}: holds no images{blocked_folders}; expected {os.path.basename(folder)}/<identity>/"
                        "*.jpg")
    return found


def crop_names(paths: Sequence[str]) -> list[str]:
    """The path of each photograph's crop: the same, ending in .jpg; a.png beside a.jpg becomes a.png.jpg.

    No two are equal, not even where case and Unicode forms are ignored.
    """
    wanted = [os.path.splitext(path)[0] + ".jpg" for path in paths]
    taken: set[str] = set()
    names: list[str] = [""] * len(paths)
    for number in sorted(range(len(paths)), key=lambda number: (wanted[number] != paths[number], number)):
        name, count = wanted[number], 1
        while folded(name) in taken:
            name, count = paths[number] + (f".{count}.jpg" if count > 1 else ".jpg"), count + 1
        taken.add(folded(name))
        names[number] = name
    return names


def read_photograph(path: PathLike) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file, upright; Unusable with the reason."""
    return photograph_of(read_file(path))


def photograph_of(data: bytes) -> np.ndarray:
    """The same of an image file's content."""
    examine(data)
    return _decoded(data, 1)


def read_picture(path: PathLike, longest: int) -> Picture:
    """The photograph, scaled down where its longer side exceeds `longest` pixels; Unusable with the reason.

    A JPEG that is at least twice as large is decoded to a half, a quarter or an eighth of its size to begin with.
    """
    return picture_of(read_file(path), longest)


def picture_of(data: bytes, longest: int) -> Picture:
    """The same of an image file's content."""
    told = examine(data)
    longer = max(told.height, told.width)
    reduced = max((part for part in REDUCED if longer >= part * longest), default=1) if told.kind == "JPEG" else 1
    pixels = _decoded(data, reduced)
    height, width = pixels.shape[:2]
    if reduced == 1 and max(height, width) <= longest:
        return Picture(pixels, (1.0, 1.0))
    size = [max(round(length * longest / max(height, width)), 1) for length in (width, height)]
    return Picture(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA),
                   (size[0] / width / reduced, size[1] / height / reduced))


def _decoded(data: bytes, reduced: int) -> np.ndarray:
    try:
        return decode(data, reduced)
    except ImageError:
        raise Unusable("damaged") from None  # the header could be read

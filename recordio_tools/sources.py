"""What is to be packed: folders by identity, or an InsightFace `.lst`. Nothing is decoded here."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError
from common.files import PathLike

EXTENSIONS = frozenset([".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".jp2", ".ppm",
                        ".pgm", ".pbm"])
LST_FORM = "aligned TAB path TAB label [TAB box TAB landmarks]"


@dataclass
class Source:
    """path: the folder or list; identities: (name, image paths), in the order in which they get their labels;
    other_files: no image names."""

    path: str
    identities: list[tuple[str, list[str]]] = field(default_factory=list)
    other_files: int = 0
    unaligned: int = 0

    @property
    def images(self) -> int:
        return sum(len(paths) for _, paths in self.identities)


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key: runs of digits by value (n9 before n10), the rest by code point; the same on every machine."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return [(0, int(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts)]


def from_folder(folder: PathLike) -> Source:
    """`folder/<identity>/*.jpg` and the like, images in folders below an identity's included; UserError without any.

    Names that begin with a dot are passed over. Links are followed; a broken one is listed and fails when it is read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    source, loose = Source(str(folder)), 0
    with os.scandir(folder) as entries:
        listed = sorted((entry for entry in entries if not entry.name.startswith(".")),
                        key=lambda entry: (natural(entry.name), entry.name))
    for entry in listed:
        if entry.is_dir():
            paths = _images_below(entry.path, source)
            if paths:
                source.identities.append((entry.name, paths))
        elif is_image_name(entry.name):
            loose += 1
        else:
            source.other_files += 1
    if not source.identities:
        hint = (f"it holds {loose} images, but no folder for each identity" if loose else
                "it holds no images in a folder for each identity")
        raise UserError(f"{folder}: {hint}; expected {folder.name}/<identity>/*.jpg")
    source.other_files += loose
    return source


def is_image_name(name: str) -> bool:
    """Whether the name ends as an image's does."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _images_below(folder: str, source: Source) -> list[str]:
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if is_image_name(name) and not name.startswith("."):
                found.append(os.path.join(base, name))
            else:
                source.other_files += 1
    return sorted(found, key=lambda path: (natural(path), path))


def from_lst(path: PathLike, root: PathLike) -> Source:
    """An InsightFace list; its labels become 0, 1, 2, ... in their numerical order, the old ones are the names.

    A relative image path is taken from `root`. UserError names the line that is none.
    """
    try:
        text = Path(path).read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    by_label: dict[int, list[str]] = {}
    source = Source(str(path))
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        fields = line.rstrip("\r\n").split("\t")
        if len(fields) < 3 or not re.fullmatch(r"\d{1,9}", fields[2].strip(), re.ASCII) or not fields[1]:
            raise UserError(f"{path}: line {number} is not {LST_FORM}")
        if fields[0].strip() not in ("0", "1"):
            raise UserError(f"{path}: line {number} begins with {fields[0][:20]!r}, not with 1 (aligned) or 0; "
                            f"the form is {LST_FORM}")
        source.unaligned += fields[0].strip() == "0"
        by_label.setdefault(int(fields[2]), []).append(os.path.join(root, fields[1]))
    if not by_label:
        raise UserError(f"{path}: is empty; each line is {LST_FORM}")
    source.identities = [(str(label), by_label[label]) for label in sorted(by_label)]
    return source

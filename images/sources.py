"""The images to pack, by identity, in a few bytes each; reads folders of images. Nothing is decoded."""
from __future__ import annotations

import array
import collections
import itertools
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import AbstractSet, Iterator, Sequence, Tuple

import numpy as np

from common.counts import MOST_NAMES
from common.errors import UserError
from common.files import PathLike
from common.foreign import shown
from common.name_forms import folded
from common.progress import progress
from images.folder_depth import Inside, check_depth
from images.formats import kind_of

EXTENSIONS = frozenset([".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".jp2", ".ppm",
                        ".pgm", ".pbm"])
UNREADABLE = frozenset([".gif", ".heic", ".heif", ".avif"])  # images all the same, so they are counted as such
THUMBNAILS = "@eaDir"  # folders of small copies, which a Synology puts beside images
SLASH = ord("/")
DIGITS = re.compile(r"\d+", re.ASCII)
ENDINGS = frozenset(map(str.encode, EXTENSIONS | UNREADABLE))
Identity = Tuple[int, int]  # of a folder, equal for all of its paths: device and inode


@dataclass
class Source:
    """path: the folder or list; root: what relative entries begin at; names: the identities, in the order of labels.

    An entry is the path of an image as bytes (file names need not be valid text), for a list perhaps with a zero byte
    and the rest of its line. All entries lie in one buffer, so that millions cost little more than their characters.
    other_files: files that are not images by name, and other_names the first of them; notes: names of what else was
    found, by kind.
    """

    path: str
    root: bytes = b""
    names: list[str] = field(default_factory=list)
    other_files: int = 0
    other_names: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=lambda: collections.defaultdict(list))
    _bytes: bytearray = field(default_factory=bytearray)
    _ends: array.array = field(default_factory=lambda: array.array("Q", [0]))
    _groups: array.array = field(default_factory=lambda: array.array("I"))
    _order: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # both by `finish`
    _first: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))

    @property
    def images(self) -> int:
        """How many entries there are."""
        return len(self._groups)

    def add(self, group: int, entry: bytes) -> None:
        """Append an entry to identity number `group`."""
        self._bytes += entry
        self._ends.append(len(self._bytes))
        self._groups.append(group)

    def add_other(self, path: str | bytes) -> None:
        """Count a file that is no image."""
        self.other_files += 1
        if self.other_files <= MOST_NAMES:
            self.other_names.append(shown(os.fsdecode(path)))

    def extend(self, group: int, entries: Sequence[bytes]) -> None:
        """Append some entries to identity number `group`."""
        ends = itertools.accumulate(map(len, entries), initial=len(self._bytes))
        self._ends.extend(itertools.islice(ends, 1, None))
        self._bytes += b"".join(entries)
        self._groups.extend(itertools.repeat(group, len(entries)))

    def finish(self, names: list[str]) -> Source:
        """Give the groups their names, and the natural order of the names; adding ends here."""
        ranks = sorted(range(len(names)), key=lambda group: (natural(names[group]), names[group]))
        self.names = [names[group] for group in ranks]
        rank = np.empty(len(names), np.int64)
        rank[ranks] = np.arange(len(names))
        ranked = rank[np.frombuffer(self._groups, f"u{self._groups.itemsize}")] if self.images else rank[:0]
        self._order = np.argsort(ranked, kind="stable")
        self._first = np.searchsorted(ranked[self._order], np.arange(len(names) + 1))
        self._note_twins()
        return self

    def count(self, identity: int) -> int:
        """The number of entries of an identity."""
        return int(self._first[identity + 1] - self._first[identity])

    def entries(self, identity: int, positions: Sequence[int]) -> list[bytes]:
        """The entries at some positions in an identity's list, their paths made whole."""
        data, ends, root, first = self._bytes, self._ends, self.root, int(self._first[identity])
        numbers = self._order[[first + position for position in positions]].tolist()
        spans = [(ends[number], ends[number + 1]) for number in numbers]
        return [bytes(data[begin:end]) if data[begin] == SLASH else root + data[begin:end] for begin, end in spans]

    def entry(self, identity: int, position: int) -> bytes:
        """One of them."""
        return self.entries(identity, [position])[0]

    def file(self, identity: int, position: int) -> str:
        """The path in an entry, to be shown."""
        return shown(os.fsdecode(self.entry(identity, position).split(b"\0")[0]))

    def sample(self, most: int) -> Iterator[bytes]:
        """The paths of up to `most` entries, evenly spaced."""
        for number in np.unique(np.linspace(0, self.images - 1, min(most, self.images)).astype(int)).tolist():
            identity = int(np.searchsorted(self._first, number, "right")) - 1
            yield self.entry(identity, number - int(self._first[identity])).split(b"\0")[0]

    def _note_twins(self) -> None:
        """Identities whose names look equal, or are equal on another file system."""
        same: dict[str, list[str]] = {}
        for name in self.names:
            same.setdefault(folded(name), []).append(name)
        self.notes["names_alike"] += [" | ".join(map(shown, twins)) for twins in same.values() if len(twins) > 1]


def natural(name: str) -> str:
    """Sort key: runs of digits by value (n9 before n10), the rest by code point; the same on every machine.

    A number becomes a zero byte, which no name holds and which sorts first, its number of digits, and the digits.
    """
    return DIGITS.sub(_digits, name)


def _digits(found: re.Match[str]) -> str:
    number = found.group().lstrip("0")
    return f"\0{chr(len(number))}{number}"


def readable(name: str) -> str:
    """A name as valid UTF-8: other bytes, which a file name may have, become escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def from_folder(folder: PathLike) -> Source:
    """`folder/<identity>/*.jpg` and the like, images in folders below an identity's included; UserError without any.

    A file is an image by its extension or by its first bytes. Names that begin with a dot are ignored. Links are
    followed, except a link to a parent folder; a broken one is listed and fails when it is read. Folders that cannot be
    listed or hold no image are noted, and so are folders of thumbnails and images that lie beside the folders.
    """
    folder = os.path.normpath(os.fspath(folder))
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: there is no such folder")
    source, loose = Source(folder, os.fsencode(folder) + b"/"), []
    names: list[str] = []  # of the identities
    inside: list[Inside] = []
    first: list[bytes] = []  # images of the first identity
    listed = _scan(os.fsencode(folder), folder, source)
    above = identities_above(folder) | {folder_identity(folder)}
    for entry in progress(listed, len(listed), "list", "folders"):
        if _is_folder(entry):
            if _is_loop(entry, above, source):
                continue
            found = sorted(_images_below(entry.path, b"/", source, above), key=_by_name)
            if found:
                source.extend(len(names), [entry.name + path for path in found])
                names.append(os.fsdecode(entry.name))
                inside.append(Inside.of(found))
                first = first or found
            else:
                source.notes["folders_without_images"].append(shown(os.fsdecode(entry.name)))
        elif _is_image(entry.name) or holds_image(entry.path):
            loose.append(shown(os.fsdecode(entry.name)))
        else:
            source.add_other(entry.path)
    source.notes["images_beside_the_folders"] += loose
    if not names:
        blocked = source.notes["unreadable_folders"]
        packed = [name for name in source.other_names if name.lower().endswith(".rec")]
        hint = (f"it holds a packed set, {os.path.basename(packed[0])}; unpack makes such folders of it" if packed else
                f"it holds {len(loose)} images, but no folder for each identity" if loose else
                f"{len(blocked)} folders cannot be listed (e.g. {blocked[0]})" if blocked else
                "it holds no images in a folder for each identity")
        raise UserError(f"{folder}: {hint}; expected {os.path.basename(folder)}/<identity>/*.jpg")
    check_depth(folder, names, inside, first)
    return source.finish(names)


def is_image_name(name: str) -> bool:
    """Whether the name has an image's extension."""
    return _is_image(os.fsencode(name))


def _is_image(name: bytes) -> bool:
    dot = name.rfind(b".")
    return dot > 0 and name[dot:].lower() in ENDINGS


def holds_image(path: bytes) -> bool:
    """Whether a file without a known extension begins as an image does: .jfif, or no extension."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(handle).st_mode) and kind_of(os.read(handle, 64)) is not None
    except OSError:
        return False
    finally:
        os.close(handle)


def _by_name(path: bytes) -> tuple[str, bytes]:
    return natural(os.fsdecode(path)), path


def folder_identity(folder: PathLike | bytes) -> Identity | None:
    """Device and inode, equal for all paths of a folder; None where it may not be looked at."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def identities_above(folder: PathLike) -> set[Identity | None]:
    """Of the folders that one lies in: a link to one of them, below it, is a loop. Without those that may not be looked
    at."""
    return {folder_identity(parent) for parent in Path(folder).resolve().parents} - {None}


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that may not be entered
        return False


def _scan(folder: bytes, shown_as: str, source: Source) -> list[os.DirEntry]:
    """What is in a folder, in the same order everywhere, but for hidden names and thumbnails."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(b".")]
    except OSError as error:
        source.notes["unreadable_folders"].append(f"{shown(shown_as)} ({error.strerror})")
        return []
    kept = [entry for entry in sorted(found, key=lambda entry: entry.name) if entry.name != os.fsencode(THUMBNAILS)]
    if len(kept) < len(found):
        source.notes["folders_of_thumbnails_skipped"].append(shown(os.path.join(shown_as, THUMBNAILS)))
    return kept


def _is_loop(entry: os.DirEntry, above: AbstractSet[Identity | None], source: Source) -> bool:
    """Whether a folder is a link to one of those that it lies in, which is noted."""
    loop = entry.is_symlink() and folder_identity(entry.path) in above
    if loop:
        source.notes["link_loops"].append(shown(os.fsdecode(entry.path)))
    return loop


def _images_below(folder: bytes, relative: bytes, source: Source, above: AbstractSet[Identity | None]) -> list[bytes]:
    """The images in a folder and in those below it, each as `relative` + its path there; the rest is noted."""
    found = []
    for entry in _scan(folder, os.fsdecode(folder), source):
        name = entry.name
        if _is_folder(entry):
            here = above | {folder_identity(folder)}
            if not _is_loop(entry, here, source):
                found += _images_below(entry.path, relative + name + b"/", source, here)
        elif _is_image(name) or holds_image(entry.path):
            found.append(relative + name)
        else:
            source.add_other(entry.path)
    return found

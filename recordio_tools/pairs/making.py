"""`pairs make`: samples pairs from a packed set, or from folders of images, to a `.bin` and a table of the pairs."""
from __future__ import annotations

import collections
import dataclasses
import hashlib
import logging
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import UserError, writing
from common.files import check_new_file, write_atomic
from common.progress import progress
from common.tables import csv_bytes
from common.workers import ordered_map
from images.codec import examine_image
from images.folder_names import ending
from images.formats import kind_of
from images.pair_drawing import Drawn, draw_pairs
from images.prepare import Prepared, Unusable, Wanted, treat
from recordio_tools.bins.binfile import is_bin, write_bin
from recordio_tools.faces import Faces, open_faces

log = logging.getLogger(__name__)
COLUMNS = ("left", "right", "same", "fold")
REPAIR = "python -m recordio_tools check --repair makes a set without such images"
REPACK = "unpack the set, remove or convert that file, and pack it again"
REMOVE = "remove or replace it"


class Made(NamedTuple):
    """identities, images: how many were used; changes: how many images were 'copied', 'converted' to upright JPEGs."""

    identities: int
    images: int
    changes: dict[str, int]


class Loaded(NamedTuple):
    """image: the bytes of a `.bin`; kind: the format of the image in the set; change: what was done to it."""

    image: bytes
    kind: str | None
    change: str


def make_pairs(path: Path, out: Path, table: Path | None, pairs: int, folds: int, seed: int, min_images: int,
               workers: int, overwrite: bool = False) -> Made:
    """Write the `.bin`, and the table where that is asked for.

    UserError where the set cannot give so many pairs, or a sampled image does not decode, is truncated or has another
    size than the first.
    """
    for path_to_write in filter(None, (out, table)):
        check_new_file(path_to_write, overwrite)
    if pairs < folds:
        raise UserError(f"`pairs` {pairs}: are fewer than the {folds} folds")
    if is_bin(path):
        raise UserError(f"{path}: is a verification set already; pairs are sampled from a packed set or image folders")
    with open_faces(path) as faces:
        faces = _without_copies(faces, workers)
        chosen = [place for place, images in enumerate(faces.images) if len(images) >= min_images]
        counts = [len(faces.images[place]) for place in chosen]
        too_small = any(0 < len(images) < min_images for images in faces.images)
        drawn = draw_pairs(counts, pairs, folds, seed, str(path), too_small)
        sides = [(chosen[one], number) for pair in drawn for one, number in (pair.left, pair.right)]
        images = _load(faces, list(dict.fromkeys(sides)), workers)
        with writing(out):
            write_bin(out, [images[side].image for side in sides], [pair.same for pair in drawn], overwrite)
        if table:
            with writing(table):
                write_atomic(table, csv_bytes(COLUMNS, _rows(faces, drawn, sides, images)), overwrite)
    changes = collections.Counter(one.change for one in images.values())
    return Made(len({identity for identity, _ in images}), len(images), dict(sorted(changes.items())))


def _without_copies(faces: Faces, workers: int) -> Faces:
    """The faces without copies of images: of an identity's copies the first is kept; an image of several identities is
    ambiguous, and removed from all."""
    def digest(number: int) -> bytes:
        try:
            return hashlib.blake2b(faces.read(number), digest_size=16).digest()
        except (OSError, UserError):
            return b"%d" % number  # reported where it is sampled

    numbers = np.concatenate([np.asarray(images) for images in faces.images]).tolist()
    owners = np.repeat(np.arange(len(faces.images)), [len(images) for images in faces.images]).tolist()
    first: dict[bytes, int] = {}
    shared, kept = set(), []
    contents = list(progress(ordered_map(digest, numbers, workers), len(numbers), "look for copies"))
    for content, owner in zip(contents, owners):
        if first.setdefault(content, owner) != owner:
            shared.add(content)
    seen: set[bytes] = set()
    for content in contents:
        kept.append(content not in shared and content not in seen)
        seen.add(content)
    if all(kept):
        return faces
    log.warning("%s: %d images are copies of others, and are not sampled", faces.path, kept.count(False))
    flags = np.split(np.array(kept), np.cumsum([len(images) for images in faces.images])[:-1])
    return dataclasses.replace(faces, images=[np.asarray(images)[flag] for images, flag in zip(faces.images, flags)])


def _load(faces: Faces, sides: list[tuple[int, int]], workers: int) -> dict[tuple[int, int], Loaded]:
    """The images, each validated; those that not every reader of a `.bin` decodes, or turns, as upright JPEGs."""
    def work(side: tuple[int, int]) -> tuple[Loaded, tuple[int, int]]:
        number = int(faces.images[side[0]][side[1]])
        where = faces.where(number)
        try:
            content = faces.read(number)
        except OSError as error:
            raise UserError(f"{where}: cannot be read ({error.strerror})") from None
        found = examine_image(content)
        if found.kind or not found.size:
            raise UserError(f"{where}: {found.message}; {REPAIR if faces.folders else REMOVE}")
        try:
            made: Prepared = treat(content, Wanted(*found.size, any_kind=True))
        except Unusable as error:
            raise UserError(f"{where}: {error}; {REPACK if faces.folders else REMOVE}") from None
        turned = ", rotated by EXIF" if "rotated by EXIF" in made.odd else ""
        return Loaded(made.image, kind_of(content), made.change + turned), found.size

    loaded, first = {}, None
    for side, (one, size) in zip(sides, progress(ordered_map(work, sides, workers), len(sides), "pairs")):
        first = first or size
        if size != first:
            where = faces.where(int(faces.images[side[0]][side[1]]))
            raise UserError(f"{where}: is {size[0]}x{size[1]}, others are {first[0]}x{first[1]} (height x width); a "
                            "verification set has one size")
        loaded[side] = one
    return loaded


def _rows(faces: Faces, drawn: list[Drawn], sides: list[tuple[int, int]],
          images: dict[tuple[int, int], Loaded]) -> list[tuple]:
    """left, right as `unpack` names the files of a packed set, or by their paths below their folder."""
    names = []
    for identity, place in sides:
        number = int(faces.images[identity][place])
        names.append(f"{faces.folders[identity]}/{number}{ending(images[identity, place].kind)}" if faces.folders
                     else os.path.relpath(faces.where(number), faces.path))
    return [(names[2 * place], names[2 * place + 1], int(pair.same), pair.fold + 1) for place, pair in enumerate(drawn)]

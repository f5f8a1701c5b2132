"""Reads images as network input: aligned crops, or faces detected and cropped from photographs."""
from __future__ import annotations

import collections
import functools
import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Callable, Iterable, Iterator

import numpy as np

from align.cutting import CutFace, FaceCutter
from align.mtcnn.finding import FoundFace
from align.photographs import Picture
from common.environment import usable_cores
from common.errors import UserError
from common.workers import ordered_map
from deploy.image_sets import ImageSet
from images.codec import ImageError, decode
from images.prepare import Unusable, examine

GROUP = 16  # photographs per batch of detection
AHEAD = 8  # photographs per task of a thread
SAMPLE = 21  # images sampled for the image size of a set
NAMED = 3  # images of a set that a message names
NOT_FOUND = "no face found"


@dataclass(frozen=True)
class ReadImage:
    """number: of the image in its set. sha256: of its content, b"" where it is not available. faces: those in it, none
    where there is a reason."""

    number: int
    sha256: bytes = b""
    faces: list[CutFace] = field(default_factory=list)
    reason: str = ""


Reader = Callable[[Iterable[int]], Iterator[ReadImage]]


def content_digest(images: ImageSet, number: int) -> bytes:
    """sha256 of an image's content, b"" where it is not available."""
    try:
        return hashlib.sha256(images.read(number)).digest()
    except Unusable:
        return b""


def crop_reader(images: ImageSet, size: tuple[int, int]) -> Reader:
    """Reader of aligned crops of `size`, (H, W); another size is a reason."""
    def one(number: int) -> ReadImage:
        sha256 = b""
        try:
            data = images.read(number)
            sha256 = hashlib.sha256(data).digest()
            examine(data)
            crop = decode(data)
        except Unusable as error:
            return ReadImage(number, sha256, reason=str(error))
        except ImageError:
            return ReadImage(number, sha256, reason="damaged")  # the header could be read
        if crop.shape[:2] != size:
            return ReadImage(number, sha256, reason="is {}x{}, not {}x{}".format(*crop.shape[:2], *size))
        return ReadImage(number, sha256, [CutFace(crop)])

    return lambda numbers: ordered_map(one, numbers, usable_cores())


def face_reader(images: ImageSet, cutter: FaceCutter) -> Reader:
    """Reader of photographs; one without a face has a reason. A few are in memory at a time."""
    def look(number: int) -> tuple[ReadImage, bytes, Picture | None]:
        sha256 = b""
        try:
            data = images.read(number)
            sha256 = hashlib.sha256(data).digest()
            return ReadImage(number, sha256), data, cutter.picture(data)
        except Unusable as error:
            return ReadImage(number, sha256, reason=str(error)), b"", None

    def search(looked: Iterator[tuple[ReadImage, bytes, Picture | None]]
               ) -> Iterator[tuple[ReadImage, bytes, Picture | None, list[FoundFace]]]:
        for group in iter(lambda: list(itertools.islice(looked, GROUP)), []):
            found = iter(cutter.find([picture for _, _, picture in group if picture is not None]))
            for image, data, picture in group:
                yield image, data, picture, next(found) if picture is not None else []

    def cut(searched: tuple[ReadImage, bytes, Picture | None, list[FoundFace]]) -> ReadImage:
        image, data, picture, found = searched
        if picture is None:
            return image
        try:
            faces = cutter.crops(data, picture, found)
        except Unusable as error:
            return ReadImage(image.number, image.sha256, reason=str(error))
        return ReadImage(image.number, image.sha256, faces, "" if faces else NOT_FOUND)

    mapped = functools.partial(ordered_map, workers=usable_cores(), chunk=AHEAD)
    return lambda numbers: mapped(cut, search(mapped(look, numbers)))


def undecodable(images: ImageSet) -> str:
    """One line on a set of which `common_size` could decode no image."""
    tried = _sample(images)
    found = "; ".join(f"{images.names[one.number]}: cannot be used: {one.reason}"
                      for one in crop_reader(images, (0, 0))(tried[:NAMED]))
    if len(tried) <= NAMED:
        return found
    return (f"{found}; nor can any other of the {len(tried)} images of {images.path} that were tried; if others can, "
            "give their size as `image_size` H,W")


def _sample(images: ImageSet) -> list[int]:
    return np.unique(np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int)).tolist()


def common_size(images: ImageSet) -> tuple[int, int] | None:
    """(H, W) of a set's images: that of a packed set, else of most of a sample; None where none of these can be
    decoded. UserError where they are of many sizes, as photographs are."""
    if images.size is not None:
        return images.size
    sizes: collections.Counter = collections.Counter()
    for number in _sample(images):
        try:
            data = images.read(number)
            examine(data)
            sizes[decode(data).shape[:2]] += 1
        except (Unusable, ImageError):
            continue
    if not sizes:
        return None
    size, count = sizes.most_common(1)[0]
    if 2 * count <= sum(sizes.values()) and len(sizes) > 2:
        raise UserError(f"{images.path}: its images are of {len(sizes)} sizes, so they are not aligned crops; "
                        "`detector` MODELDIR crops the faces from photographs, `image_size` H,W uses the crops of "
                        "one size")
    return size

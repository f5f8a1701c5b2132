"""All images of one identity: photographs rendered, aligned and written, and their rows of landmarks."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from images import alignment
from synth import landmarks, photograph, protocol, seeds, shot
from synth.identity import draw_person
from synth.model import model_of

POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
COLUMNS = ["path", *(f"{point}_{axis}" for point in POINTS for axis in "xy"),
           *(f"true_{point}_{axis}" for point in POINTS for axis in "xy"), "yaw", "pitch", "roll"]


@dataclass(frozen=True)
class Album:
    """One person's images: `who` and `identity` of seeds; images: (path below the output folder, kind, index)."""

    who: int
    identity: int
    images: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Settings:
    """folder: where to write; size: (height, width) of crops in pixels; quality: of their JPEGs."""

    folder: Path
    seed: int
    size: tuple[int, int] = (112, 112)
    quality: int = 95
    keep_photographs: bool = False


def albums(identities: int, images: int, people: int) -> list[Album]:
    """The albums: training identities, then verification identities with their LFW-like and CFP-like images."""
    digits = max(4, len(str(identities)))
    found = [Album(seeds.TRAIN, person, tuple((f"train/{person + 1:0{digits}d}/{image + 1:03d}.jpg", seeds.ALBUM, image)
                                              for image in range(images))) for person in range(identities)]
    for person in range(people):
        name = protocol.lfw_name(person)
        wanted = [(f"verify/images/{name}/{name}_{image + 1:04d}.jpg", seeds.LFW, image)
                  for image in range(protocol.LFW_IMAGES)]
        for kind, folder, count in ((seeds.FRONTAL, "frontal", protocol.FRONTAL_IMAGES),
                                    (seeds.PROFILE, "profile", protocol.PROFILE_IMAGES)):
            wanted += [(f"cfp/Data/Images/{person + 1:03d}/{folder}/{image + 1:02d}.jpg", kind, image)
                       for image in range(count)]
        found.append(Album(seeds.VERIFY, person, tuple(wanted)))
    return found


def draw_album(album: Album, settings: Settings) -> list[list[str]]:
    """Render and write one identity's images; returns their rows of landmarks.csv, in COLUMNS' order."""
    model = model_of(draw_person(seeds.stream(settings.seed, album.who, album.identity, seeds.PERSON)))
    rows = []
    for path, what, index in album.images:
        random = seeds.stream(settings.seed, album.who, album.identity, what, index)
        conditions = shot.draw_shot(random, what)
        taken = photograph.take(model, conditions, random)
        found = landmarks.detect(taken, conditions, random)
        data = _jpeg(taken.image, conditions.quality)
        if settings.keep_photographs:
            _write(settings.folder / "photographs" / path, data)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        crop = alignment.align(np.ascontiguousarray(image), found, *settings.size)
        _write(settings.folder / path, _jpeg(crop, settings.quality))
        camera = conditions.camera
        rows.append([path, *(f"{value:.2f}" for value in np.concatenate([found.ravel(), taken.points.ravel()])),
                     *(f"{value:.1f}" for value in (camera.yaw, camera.pitch, camera.roll))])
    return rows


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)

"""Embedded faces of photographs, for comparison and search."""
from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any, Iterator, Sequence

import numpy as np

from align.cutting import ALL
from common.errors import UserError
from deploy.cropping import alignment, crop_size, open_cutter, open_embedder
from deploy.embedding import embed_images
from deploy.image_sets import image_files
from deploy.models import ServedModel
from deploy.reading import NOT_FOUND, crop_reader, face_reader


@dataclass(frozen=True)
class Photograph:
    """name: as given. unit: (faces, D), norms: (faces,), boxes: by face, as `Embedded` has them. reason: why there is
    no face, or ""."""

    name: str
    unit: np.ndarray
    norms: np.ndarray
    boxes: list[tuple[float, ...] | None]
    scores: list[float | None]
    reason: str = ""

    @property
    def without_face(self) -> bool:
        """Whether it could be read, and shows no face."""
        return self.reason == NOT_FOUND

    def face(self, number: int) -> str:
        """A face's name on the screen."""
        box = self.boxes[number]
        if box is None:
            return self.name
        left, top, right, bottom = box
        return (f"{self.name} face {number + 1} of {len(self.boxes)} at {left:.0f},{top:.0f} to {right:.0f},"
                f"{bottom:.0f}")

    def as_json(self) -> dict[str, Any]:
        """Without the embeddings."""
        faces = [{"box": None if box is None else [round(side, 1) for side in box], "detector_score": score,
                  "norm": float(norm)} for box, score, norm in zip(self.boxes, self.scores, self.norms)]
        return {"path": self.name, "faces": faces, "reason": self.reason or None}


class FaceFinder:
    """Model, detector and flags, set up for some photographs; UserError where they are inconsistent."""

    def __init__(self, args: argparse.Namespace, model: ServedModel, paths: Sequence[str],
                 size: tuple[int, int] | None = None) -> None:
        self.images = image_files(paths)
        if size and args.image_size and tuple(args.image_size) != tuple(size):
            raise UserError(f"`image_size` {args.image_size[0]},{args.image_size[1]}: the crops of the gallery are "
                            f"{size[0]}x{size[1]}; leave it out")
        self.size = size or crop_size(args, model, self.images)
        cutter = open_cutter(args, self.size, ALL)
        self.alignment = alignment(cutter, self.size)
        self._reader = face_reader(self.images, cutter) if cutter else crop_reader(self.images, self.size)
        self._embedder = open_embedder(args, model, self.size, self.images)
        self.dimension, self._flip = self._embedder.dimension, model.flip

    def photographs(self) -> Iterator[Photograph]:
        """Each, in the order given, with all of its faces, the largest first."""
        for ready in embed_images(self._embedder, self._reader(range(len(self.images))), self._flip):
            for one in ready:
                yield Photograph(self.images.names[one.image.number], one.unit, one.norms, one.boxes, one.scores,
                                 one.image.reason)

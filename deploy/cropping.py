"""Crop settings from the flags: size, and detection."""
from __future__ import annotations

import argparse
import logging
from typing import Any

from align.cutting import FaceCutter
from common.devices import parse_devices
from common.errors import UserError
from deploy.image_sets import ImageSet
from deploy.models import ServedModel
from deploy.reading import common_size, undecodable
from eval.embedding_store import alignment_of_crops
from inference.engine import AnyEmbedder

log = logging.getLogger(__name__)
SIZE = (112, 112)


def crop_size(args: argparse.Namespace, model: ServedModel, images: ImageSet) -> tuple[int, int]:
    """(H, W) of the model's crops: from the flags, the model or the images."""
    known = args.image_size or model.image_size
    if known or args.detector:
        return known or SIZE
    size = common_size(images) or SIZE
    if size != SIZE and images.size is None:
        log.warning("%s: the images are assumed to be aligned crops of %dx%d; `detector` MODELDIR crops faces from "
                    "photographs", images.path, *size)
    return size


def open_embedder(args: argparse.Namespace, model: ServedModel, size: tuple[int, int], images: ImageSet) -> AnyEmbedder:
    """The model for crops of `size`, by the flags; UserError where it does not take this size, or where that had to be
    assumed because no image can be decoded."""
    try:
        return model.embedder(size)
    except UserError as error:
        if args.image_size or size == model.image_size or str(error).startswith(("`devices`", "`engine`")):
            raise
        if args.detector:
            raise UserError(f"{error}; set `image_size` H,W to its input size") from None
        if common_size(images) is None:
            raise UserError(undecodable(images)) from None
        raise UserError(f"{error}; `detector` MODELDIR crops faces from photographs, of the size "
                        "`image_size`") from None


def open_cutter(args: argparse.Namespace, size: tuple[int, int], select: str) -> FaceCutter | None:
    """The face cropper, None where images are crops."""
    if not args.detector:
        return None
    return FaceCutter(args.detector, parse_devices(args.devices), select, size, args.min_face)


def alignment(cutter: FaceCutter | None, size: tuple[int, int]) -> dict[str, Any]:
    """How crops were made, for `meta`."""
    return {"image_size": list(size), **cutter.describe()} if cutter else alignment_of_crops(size)

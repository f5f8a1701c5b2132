"""Embeddings of a labelled set by what the flags of a command name, and the sides of the pairs to score."""
from __future__ import annotations

import argparse
import hashlib
import logging
from pathlib import Path

import numpy as np

from common.devices import parse_devices
from common.errors import UserError
from common.progress import meter
from eval.all_pairs import Side, count_pairs
from eval.embedding_file import Embeddings, load_embeddings, save_embeddings
from eval.face_sets import FaceSet
from eval.models import ModelName, checkpoint_digest, embed_batches
from images.codec import ImageError, decode
from inference.embedder import Embedder
from inference.model import load_model

log = logging.getLogger(__name__)


def choose_sides(args: argparse.Namespace, labels: np.ndarray,
                 groups: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The numbers of the images on each side; None where all are scored against each other."""
    if not args.between:
        sides: tuple[np.ndarray, np.ndarray | None] = (np.arange(len(labels)), None)
    else:
        named = [part.strip() for part in args.between.split(",")]
        if len(named) != 2 or not all(named):
            raise UserError(f"--between {args.between}: expected two groups, e.g. frontal,profile")
        for name in named:
            if name not in set(groups.tolist()):
                there = sorted(set(groups.tolist()) - {""})
                raise UserError(f"--between {args.between}: no image is of the group {name}; there "
                                f"{'are ' + ', '.join(there[:8]) if there else 'are no groups: give --groups'}")
        one, other = (np.flatnonzero(groups == name) for name in named)
        sides = (one, None) if named[0] == named[1] else (one, other)
    dummy = [Side(np.empty(0), labels[side]) if side is not None else None for side in sides]
    genuine, impostors = count_pairs(*dummy)
    if not genuine or not impostors:
        raise UserError(f"--set {args.set}: has {genuine} genuine and {impostors} impostor pairs; both are "
                        "needed")
    return sides


def embeddings_of(model: ModelName, faces: FaceSet, args: argparse.Namespace) -> Embeddings:
    """Those of a model for every image of the set, made now or read from its file; UserError where they are unlike."""
    if model.embeddings:
        made = load_embeddings(model.embeddings)
        if not np.array_equal(made.names, np.array(faces.names)):
            raise UserError(f"--model {model.text}: holds {len(made.names)} embeddings of other images than --set "
                            f"{args.set}, which has {len(faces.names)}")
        if made.meta.get("flip", True) == args.no_flip:
            raise UserError(f"--model {model.text}: was made {'with' if args.no_flip else 'without'} mirror images; "
                            f"{'leave out' if args.no_flip else 'give'} --no-flip")
        return made
    embedder = open_embedder(model, args, image_size(faces))
    digest = hashlib.sha256()
    with meter(len(faces.names), model.text, "images") as bar:
        unit, norms = embed_batches(embedder, faces.batches(embedder.batch_size, embedder.image_size, digest),
                                    not args.no_flip, bar.update)
    meta = {"model": {"name": model.text, "sha256": checkpoint_digest(model.prefix, model.epoch)},
            "set": {"path": faces.path, "sha256": digest.hexdigest()}, "layer": args.layer, "flip": not args.no_flip}
    made = Embeddings(unit, norms, np.array(faces.names), faces.labels, meta)
    if getattr(args, "embeddings", None):
        place = Path(args.embeddings) / f"{Path(model.prefix).name}-{model.epoch:04d}-{digest.hexdigest()[:8]}.npz"
        save_embeddings(place, made)
        log.info("%s: embeddings in %s", model.text, place)
    return made


def open_embedder(model: ModelName, args: argparse.Namespace, size: tuple[int, int]) -> Embedder:
    """A checkpoint ready to embed images of `size` as the flags say."""
    return Embedder(*load_model(model.prefix, model.epoch, args.layer), parse_devices(args.devices), args.batch_size,
                    size)


def image_size(faces: FaceSet) -> tuple[int, int]:
    """(H, W) of the set's first image."""
    try:
        return decode(faces.read(0)).shape[:2]
    except ImageError as error:
        raise UserError(f"{faces.path}: {faces.names[0]} {error}") from None

"""Embeddings of a labelled set by a command's flags, and the sides of the pairs to score."""
from __future__ import annotations

import argparse
import hashlib
import logging
from typing import Collection, Sequence

import numpy as np

from common.errors import UserError
from common.progress import meter
from eval.all_pairs import Side, count_pairs
from eval.embedding_file import Embeddings, load_embeddings
from eval.embedding_store import check_manner, meta_of, stored, warn_of_zeros, write_stored
from eval.face_sets import FaceSet
from eval.models import ModelName, embed_views
from eval.opening import AnyEmbedder, EmbeddingSettings, OpenModel
from eval.projection import check_possible
from images.codec import ImageError, decode

log = logging.getLogger(__name__)


def two_groups(between: str, there: Collection[str]) -> list[str]:
    """The groups that `between`, A,B, names: where their names have commas, the first two that are `there`."""
    parts = between.split(",")
    ways = ([",".join(parts[:count]).strip(), ",".join(parts[count:]).strip()] for count in range(1, len(parts)))
    return next((way for way in ways if set(way) <= set(there)), [part.strip() for part in parts])


def choose_sides(args: argparse.Namespace, labels: np.ndarray,
                 groups: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The indices of the images on each side; None where all are scored against each other."""
    if not args.between:
        sides: tuple[np.ndarray, np.ndarray | None] = (np.arange(len(labels)), None)
    else:
        named = two_groups(args.between, groups.tolist())
        if len(named) != 2 or not all(named):
            raise UserError(f"`between` {args.between}: expected two groups, e.g. frontal,profile")
        for name in named:
            if name not in set(groups.tolist()):
                there = sorted(set(groups.tolist()) - {""})
                others = f"there are {', '.join(there[:8])}" if there else "the set has no groups, give `groups`"
                raise UserError(f"`between` {args.between}: no image is of the group {name}; {others}")
        one, other = (np.flatnonzero(groups == name) for name in named)
        sides = (one, None) if named[0] == named[1] else (one, other)
    left, right = sides
    genuine, impostors = count_pairs(Side(np.empty(0), labels[left]),
                                     None if right is None else Side(np.empty(0), labels[right]))
    if not genuine or not impostors:
        raise UserError(f"`set` {args.set}: has {genuine} genuine and {impostors} impostor pairs; both are "
                        "needed")
    return sides


def embeddings_of(model: ModelName, faces: FaceSet, args: argparse.Namespace,
                  failed: Collection[str] = ()) -> Embeddings:
    """Those of a model for every image of the set: computed, or read from its file or the cache of --embeddings;
    UserError where they do not match. failed: images that a file need not have; they get zeros."""
    settings = EmbeddingSettings.of(args)
    if model.embeddings:
        return _read(model, faces, settings, failed)
    return embed_faces(OpenModel(model, settings), faces)


def check_models(models: Sequence[ModelName], faces: FaceSet, args: argparse.Namespace) -> None:
    """UserError, before any image is embedded, where a network does not take the set's images, or its embeddings have
    fewer components than --pca."""
    networks = [model for model in models if not model.embeddings]
    if not networks:
        return
    settings, size = EmbeddingSettings.of(args), image_size(faces)
    for model in networks:
        opened = OpenModel(model, settings)  # again when it embeds: of many models one is in memory at a time
        try:
            dimension = opened.dimension(size)
        except UserError as error:
            raise UserError(f"`set` {faces.path} with `model` {model.text}: {error}") from None
        if args.pca:
            check_possible(args.pca, dimension if args.threshold_from else len(faces.names), dimension)


def embed_faces(opened: OpenModel, faces: FaceSet) -> Embeddings:
    """Those of an open model for every image of the set: computed, or read from the cache of its settings."""
    settings, digest = opened.settings, ""
    if settings.keep:
        with meter(len(faces.names), f"{faces.path}: sha256", "images") as bar:
            digest = faces.digest(bar.update)
        found = stored(opened, digest, settings)
        if found is not None and np.array_equal(found.names, np.array(faces.names)):
            return found
    embedder = opened.embedder(image_size(faces))
    seen = hashlib.sha256()
    with meter(len(faces.names), f"{opened.name.text}: {faces.path}", "images") as bar:
        unit, norms, views = embed_views(embedder, faces.batches(embedder.batch_size, embedder.image_size, seen),
                                         settings.flip, bar.update)
    made = Embeddings(unit, norms, np.array(faces.names), faces.labels,
                      meta_of(opened, faces.path, seen.hexdigest(), settings, embedder.image_size), views)
    if settings.keep:
        write_stored(opened, made, settings)
    return made


def _read(model: ModelName, faces: FaceSet, settings: EmbeddingSettings, failed: Collection[str]) -> Embeddings:
    made = _in_order(_filled(load_embeddings(model.embeddings), faces, failed), faces)
    if not np.array_equal(made.names, np.array(faces.names)):
        lacking = sorted(set(faces.names) - set(made.names.tolist()))
        if lacking and len(lacking) + len(made.names) == len(faces.names):
            raise UserError(f"`model` {model.text}: lacks {len(lacking)} images of `set` {faces.path}, as "
                            f"{lacking[0]}; list them with `failures` (X.failures.csv, which deploy embed writes)")
        raise UserError(f"`model` {model.text}: holds {len(made.names)} embeddings of other images than `set` "
                        f"{faces.path}, which has {len(faces.names)}")
    check_manner(model.text, made, settings)
    warn_of_zeros(model.text, made.embeddings, made.names, failed)
    theirs = made.digest_of("set")
    if theirs is None:
        log.warning("%s: has no sha256 of its set; names and their order are those of %s", model.text,
                    faces.path)
    else:
        with meter(len(faces.names), f"{faces.path}: sha256", "images") as bar:
            ours = faces.digest(bar.update)
        if theirs != ours:
            raise UserError(f"`model` {model.text}: is of other images than `set` {faces.path} holds now, though of "
                            "the same names; recompute it")
    return made


def _in_order(made: Embeddings, faces: FaceSet) -> Embeddings:
    """With the rows in the order of the set's images, where they are of just these."""
    there = {name: row for row, name in enumerate(made.names.tolist())}
    if len(there) != len(made.names) or set(there) != set(faces.names) or list(there) == faces.names:
        return made
    rows = np.array([there[name] for name in faces.names])
    views = None if made.view_norms is None else made.view_norms[rows]
    return Embeddings(made.embeddings[rows], made.norms[rows], made.names[rows], faces.labels, made.meta, views)


def _filled(made: Embeddings, faces: FaceSet, failed: Collection[str]) -> Embeddings:
    """With zeros for the images of the set that failed and that the file does not have."""
    there = {name: row for row, name in enumerate(made.names.tolist())}
    wanted = set(faces.names)
    lacking = {name for name in failed if name in wanted and name not in there}
    if not lacking or len(lacking) + len(there) != len(wanted) or not set(there) <= wanted:
        return made
    rows = np.array([there.get(name, -1) for name in faces.names])
    arrays = []
    for array in (made.embeddings, made.norms):
        filled = array[rows].copy()
        filled[rows < 0] = 0
        arrays.append(filled)
    return Embeddings(arrays[0], arrays[1], np.array(faces.names), faces.labels, made.meta)


def open_embedder(model: ModelName, args: argparse.Namespace, size: tuple[int, int]) -> AnyEmbedder:
    """A checkpoint or an ONNX file opened for images of `size`, by the flags."""
    return OpenModel(model, EmbeddingSettings.of(args)).embedder(size)


def image_size(faces: FaceSet) -> tuple[int, int]:
    """(H, W) of the set's first image."""
    try:
        height, width = decode(faces.read(0)).shape[:2]
        return height, width
    except ImageError as error:
        raise UserError(f"{faces.path}: {faces.names[0]} {error}") from None

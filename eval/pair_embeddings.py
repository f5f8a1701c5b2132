"""Embeddings of a set of pairs: computed, or read from a file, which must be of this set, model and settings."""
from __future__ import annotations

import numpy as np

from common.errors import UserError
from eval.embedding_file import Embeddings, load_embeddings
from eval.embedding_store import check_manner, meta_of, stored, warn_of_zeros, write_stored
from eval.models import ModelName, embed_views
from eval.opening import EmbeddingSettings, OpenModel
from eval.verification import VerificationSet


def read_pair_embeddings(model: ModelName, target: VerificationSet, settings: EmbeddingSettings,
                         given: Embeddings | None = None) -> Embeddings:
    """Read them from an embeddings file, a row for each position of the set, left, right, left, ...

    given: the file's contents, where they are read already, and embeddings of zeros are warned of. UserError where it
    is of another set (by sha256, where the file has one) or has other settings, or lacks an image.
    """
    made = load_embeddings(model.embeddings) if given is None else given
    if given is None:
        warn_of_zeros(model.text, made.embeddings, made.names)
    digest = made.digest_of("set")
    if digest is not None and digest != target.digest:
        raise UserError(f"`model` {model.text}: is of another set than {target.path}: its embeddings are of "
                        f"{_named(made.meta['set'])}")
    check_manner(model.text, made, settings)
    rows = _rows(made, target)
    if rows is None:
        raise UserError(f"`model` {model.text}: holds {len(made.names)} embeddings, and not one for each of the "
                        f"{len(target.order)} images of {target.path}")
    views = None if made.view_norms is None else made.view_norms[rows]
    return Embeddings(made.embeddings[rows], made.norms[rows], places(target), None, made.meta, views)


def embed_pairs(model: OpenModel, target: VerificationSet, settings: EmbeddingSettings) -> Embeddings:
    """Compute them with a model, or read them from the cache `settings.keep`, a row for each position of the set.

    UserError, naming the set and the model, where the network does not take its images.
    """
    found = stored(model, target.digest, settings) if settings.keep else None
    if found is not None and np.array_equal(found.names, places(target)):
        return found
    try:
        embedder = model.embedder(target.image_size)
    except UserError as error:
        raise UserError(f"{target.path} with `model` {model.name.text}: {error}") from None
    made = [array[target.order] for array in
            embed_views(embedder, target.batches(embedder.batch_size, True), settings.flip)]
    embeddings = Embeddings(made[0], made[1], places(target), None,
                            meta_of(model, str(target.path), target.digest, settings, target.image_size), made[2])
    if settings.keep:
        write_stored(model, embeddings, settings)
    return embeddings


def places(target: VerificationSet) -> np.ndarray:
    """(2 * pairs,) the names of a set's images in embeddings files: their places, from 0."""
    return np.arange(len(target.order)).astype(str)


def _rows(made: Embeddings, target: VerificationSet) -> np.ndarray | None:
    """For each place of the set the row of the file: by name, in order where the names are not places; None where a
    place has none, or the file has more than the set."""
    by_name = {name: row for row, name in enumerate(made.names.tolist())}
    if len(made.names) > len(target.order):
        return None
    if len(made.names) == len(target.order) and not by_name.keys() >= set(places(target).tolist()):
        return np.arange(len(target.order))
    first = np.unique(target.order, return_index=True)[1]  # an image may be in the file once for all its positions
    rows = [by_name.get(str(place), by_name.get(str(first[image])))
            for place, image in enumerate(target.order.tolist())]
    return None if None in rows else np.array(rows)


def _named(origin: object) -> str:
    return str(origin.get("path") or origin.get("sha256")) if isinstance(origin, dict) else "an unknown set"

"""Embeddings of a set of pairs: computed, or read from a file, which must be of this set, model and settings."""
from __future__ import annotations

from typing import Collection

import numpy as np

from common.errors import UserError
from eval.embedding_file import Embeddings, load_embeddings
from eval.embedding_store import check_manner, meta_of, stored, warn_of_zeros, write_stored
from eval.models import ModelName, embed_views
from eval.opening import EmbeddingSettings, OpenModel
from eval.verification import VerificationSet


def read_pair_embeddings(model: ModelName, target: VerificationSet, settings: EmbeddingSettings,
                         given: Embeddings | None = None, failed: Collection[str] = ()) -> Embeddings:
    """Read them from an embeddings file, a row for each position of the set, left, right, left, ...

    given: the file's contents, where they are read already, and embeddings of zeros are warned of. failed: positions
    that the file need not have; they get zeros, and NaN as `view_norms`. UserError where it is of another set (by
    sha256, where the file has one) or has other settings, or lacks an image.
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
    lacking = [place for place in np.flatnonzero(rows < 0).astype(str).tolist() if place not in failed]
    if lacking and digest is not None:
        raise UserError(f"`model` {model.text}: lacks {len(lacking)} of the {len(rows)} images of {target.path}, "
                        f"{lacking[0]} (from 0) the first; verify takes a list of them as `failures`, the "
                        "X.failures.csv that deploy embed writes")
    if lacking or len(made.names) > len(rows):
        raise UserError(f"`model` {model.text}: holds {len(made.names)} embeddings, and not one for each of the "
                        f"{len(rows)} images of {target.path}")
    views = None if made.view_norms is None else _taken(made.view_norms, rows, np.nan)
    return Embeddings(_taken(made.embeddings, rows, 0), _taken(made.norms, rows, 0), places(target), None, made.meta,
                      views)


def dimension_on(model: OpenModel, target: VerificationSet) -> int:
    """D of a model's embeddings of a set; UserError, naming both, where the network does not take its images."""
    try:
        return model.dimension(target.image_size)
    except UserError as error:
        raise UserError(f"{target.path} with `model` {model.name.text}: {error}") from None


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


def _rows(made: Embeddings, target: VerificationSet) -> np.ndarray:
    """For each place of the set the row of the file, -1 where it has none: by name, in order where the names are not
    places."""
    by_name = {name: row for row, name in enumerate(made.names.tolist())}
    if len(made.names) == len(target.order) and not by_name.keys() >= set(places(target).tolist()):
        return np.arange(len(target.order))
    first = np.unique(target.order, return_index=True)[1]  # an image may be in the file once for all its positions
    return np.array([by_name.get(str(place), by_name.get(str(first[image]), -1))
                     for place, image in enumerate(target.order.tolist())])


def _taken(array: np.ndarray, rows: np.ndarray, absent: float) -> np.ndarray:
    """Rows of an array, `absent` for -1."""
    found = array[rows]
    found[rows < 0] = absent
    return found


def _named(origin: object) -> str:
    return str(origin.get("path") or origin.get("sha256")) if isinstance(origin, dict) else "an unknown set"

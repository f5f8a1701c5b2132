"""Warns of images of a labelled set that are equal byte for byte: their pairs do not measure a model."""
from __future__ import annotations

import logging

import numpy as np

from common.errors import UserError
from eval.face_sets import FaceSet

log = logging.getLogger(__name__)


def warn_of_copies(faces: FaceSet) -> None:
    """Log, in one line, how many images are a second time in their identity, and how many under several identities.

    From the hashes of a pass over the images, which is made here where there was none.
    """
    if len(faces.hashes) < len(faces.names):
        try:
            faces.digest()
        except (OSError, UserError):  # an image that no model needs: the embeddings are given
            return
    twice, several = find_copies(np.array(faces.hashes, np.uint64), faces.labels)
    kinds = ((twice, "in an identity again"), (several, "under several identities"))
    lines = [f"{len(found)} {'image is' if len(found) == 1 else 'images are'} {what} (the first is "
             f"{faces.names[found[0]]})" for found, what in kinds if len(found)]
    if lines:
        log.warning("%s: %s; their pairs do not measure a model", faces.path, "; ".join(lines))


def find_copies(hashes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(images that their identity has already, images that another identity has too): indices, ascending.

    hashes, labels: (N,) of the contents and the identities.
    """
    order = np.lexsort((np.arange(len(hashes)), labels, hashes))
    content, label = hashes[order], labels[order]
    equal = content[1:] == content[:-1]
    twice = order[1:][equal & (label[1:] == label[:-1])]
    start = np.flatnonzero(np.append(True, ~equal)) if len(order) else order
    mixed = np.maximum.reduceat(label, start) != np.minimum.reduceat(label, start) if len(order) else equal
    several = order[np.repeat(mixed, np.diff(np.append(start, len(order))))]
    return np.sort(twice), np.sort(several)

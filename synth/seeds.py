"""Random generators that depend on what is rendered, never on the worker or the order."""
from __future__ import annotations

import numpy as np

TRAIN, VERIFY = 0, 1  # who: training identities, verification identities
PERSON, ALBUM, LFW, FRONTAL, PROFILE = range(5)  # what: the identity, training images, the two protocols' images


def stream(seed: int, who: int, identity: int, what: int, index: int = 0) -> np.random.RandomState:
    """The generator of one identity, or of one image of it.

    RandomState, because numpy guarantees that its sequences never change.
    """
    return np.random.RandomState([seed, who, identity, what, index])

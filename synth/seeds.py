"""Random numbers that depend on what is drawn, never on who draws it or in what order."""
from __future__ import annotations

import numpy as np

TRAIN, VERIFY = 0, 1  # who: training people, verification people
PERSON, ALBUM, LFW, FRONTAL, PROFILE = range(5)  # what: the person, training images, the two protocols' images


def stream(seed: int, who: int, identity: int, what: int, index: int = 0) -> np.random.RandomState:
    """The generator of one person, or of one image of a person.

    RandomState, because numpy keeps its sequences the same for ever.
    """
    return np.random.RandomState([seed, who, identity, what, index])

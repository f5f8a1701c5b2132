"""MATLAB's lists and the journals of `deploy embed`, mutated, and their readers at work on them."""
from __future__ import annotations

import functools
import io
import random
import tempfile
from pathlib import Path

import numpy as np
from scipy.io import savemat

from common.matlab import read_variable
from deploy.journal import ROWS, VALUES, Journal, Row
from stress.fuzzing.mutations import mutate, mutate_text

MAKING = {"model": "0" * 64, "flip": True}
DIMENSION = 4


def matlab(chance: random.Random) -> dict[str, bytes]:
    """X.mat with a list of splits as AgeDB's protocol has it, its bytes damaged."""
    return {"x.mat": mutate(_splits(), chance, 3)}


@functools.lru_cache(None)
def _splits() -> bytes:
    stream = io.BytesIO()
    savemat(stream, {"splits": np.array([[1, 2, -1], [3, 4, 1]] * 8), "names": np.array(["a", "b"], object)})
    return stream.getvalue()


def journal(chance: random.Random) -> dict[str, bytes]:
    """The two files of a journal, one or both of them damaged."""
    made = dict(_journal())
    for name in chance.sample(sorted(made), chance.choice((1, 1, 2))):
        made[name] = mutate_text(made[name], chance) if name == ROWS else mutate(made[name], chance, 3)
    return made


@functools.lru_cache(None)
def _journal() -> tuple[tuple[str, bytes], ...]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "x.npz.partial"
        with Journal(folder, MAKING, DIMENSION) as kept:
            kept.add([Row(f"{number}.jpg", f"{number:064x}", [1.0] * (number % 3), [1.0] * (number % 3))
                      for number in range(6)], np.ones((6, DIMENSION), np.float32))
        return tuple((name, (folder / name).read_bytes()) for name in (ROWS, VALUES))


def read_matlab(folder: Path) -> None:
    """The variable that AgeDB's protocol is in."""
    read_variable(folder / "x.mat", "splits")


def read_journal(folder: Path) -> None:
    """As a resumed run: the complete rows are loaded, and embeddings of as many faces."""
    place = folder / "x.npz.partial"
    place.mkdir()
    for name in (ROWS, VALUES):
        (place / name).write_bytes((folder / name).read_bytes())
    with Journal(place, MAKING, DIMENSION) as kept:
        if len(kept.embeddings()) != sum(len(row.norms) for row in kept.rows):
            raise AssertionError("embeddings are not those of the rows")

"""The classification layer of a checkpoint's run, for the initialisation of a new run."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import mxnet as mx
import numpy as np

from training.saving.fingerprint import NAMES, WHOLE_SET
from training.saving.names import STATE
from training.saving.state import generations, read_generation_header, read_generation_part, shown

HEAD_ARRAYS = ("fc7_weight", "fc7_bias")
Arrays = Mapping[str, mx.nd.NDArray]


def head_beside(prefix: str, number: int, identity: Mapping[str, Any], shape: tuple[int, int]) -> tuple[Arrays, str]:
    """fc7's arrays of the state beside checkpoint `number` of PREFIX, and where they are from.

    identity: of the new run; shape: of its fc7_weight. Without arrays the text is the reason.
    """
    folder = Path(prefix).parent / STATE
    found, why = generations(folder), f"there is no state of a run in {folder}"
    # The newest whose last checkpoint is this one, else the newest.
    for path in sorted(found, key=lambda path: (_saves(path) == number, found.index(path)), reverse=True):
        try:
            header = read_generation_header(path)
            head = read_generation_part(path, header, "head", _most_bytes(shape))
        except (OSError, ValueError) as error:
            why = f"the state {path} cannot be read ({shown(error)})"
            continue
        theirs = header.identity
        if Path(str(theirs.get("prefix", ""))).name != Path(prefix).name:
            return {}, f"the state {path} is of another run, with `prefix` {theirs.get('prefix')}"
        if not _same_people(theirs, identity):
            return {}, f"the state {path} is of other identities, or not known to be of the same"
        fc7 = {name: value for name, value in head.items() if name in HEAD_ARRAYS}
        theirs_shape = tuple(fc7["fc7_weight"].shape) if "fc7_weight" in fc7 else ()
        if theirs_shape != tuple(shape):
            return {}, f"that in the state {path} is {theirs_shape}, not {tuple(shape)}"
        if not all(_is_sound(value, (shape[0], *shape[1:][:value.ndim - 1])) for value in fc7.values()):
            return {}, f"that in the state {path} is damaged"
        later = "" if header.progress.saves == number else f", which was trained longer than checkpoint {number}"
        return fc7, f"loaded from the state {path}{later}"
    return {}, why


def _is_sound(value: mx.nd.NDArray, shape: tuple[int, ...]) -> bool:
    return value.dtype == np.float32 and tuple(value.shape) == shape and bool(np.isfinite(value.asnumpy()).all())


def _most_bytes(shape: tuple[int, int]) -> int:
    """An upper bound of the size of such a layer, with biases and momentum."""
    return 8 * shape[0] * (shape[1] + 1) + (1 << 20)


def _saves(path: Path) -> int:
    """How many checkpoints the run had saved by a state; -1 where it cannot be read."""
    try:
        return read_generation_header(path).progress.saves
    except (OSError, ValueError):
        return -1


def _same_people(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> bool:
    """Whether the classes are the same identities: by name, or because it is the same set."""
    if theirs.get(NAMES) and mine.get(NAMES):
        return theirs[NAMES] == mine[NAMES]
    return theirs.get("data") == mine["data"] or theirs.get(WHOLE_SET, "") == mine[WHOLE_SET]

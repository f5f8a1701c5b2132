"""The classification layer of a checkpoint's run, for the initialisation of a new run."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import mxnet as mx
import numpy as np

from training.saving.fingerprint import NAMES, WHOLE_SET
from training.saving.header import Header
from training.saving.names import STATE
from training.saving.state import generations, read_generation_header, read_generation_part, shown

MOST_TRIED = 4  # states; a run keeps two
ROUNDING = 1e-3  # of the largest value of an array
# What a state is to a checkpoint, the least suitable first.
EARLIER, LATER = "is from before checkpoint {number}", "was trained longer than checkpoint {number}"
OTHER, SAME = "is of another step than checkpoint {number}", ""
ORDER = (EARLIER, LATER, OTHER, SAME)
Arrays = Mapping[str, mx.nd.NDArray]


def head_shapes(shape: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """The arrays of a classification layer whose weight has `shape`, with their shapes."""
    return {"fc7_weight": tuple(shape), "fc7_bias": tuple(shape[:1])}


def head_beside(prefix: str, number: int, identity: Mapping[str, Any], shape: tuple[int, int],
                network: Arrays) -> tuple[Arrays, str]:
    """fc7's arrays of the state beside checkpoint `number` of PREFIX, and where they are from.

    identity: of the new run; shape: of its fc7_weight; network: the checkpoint's arrays. Without arrays the text is
    the reason.
    """
    folder = Path(prefix).parent / STATE
    found, why = generations(folder)[-MOST_TRIED:], f"there is no state of a run in {folder}"
    headers = {path: _header(path) for path in found}
    relations = {path: _relation(path, header, number, network) for path, header in headers.items()}
    # That of the same step, else the newest whose last checkpoint is this one, else the newest.
    for path in sorted(found, key=lambda path: (ORDER.index(relations[path]), found.index(path)), reverse=True):
        try:
            header = headers[path] or read_generation_header(path)  # which says what is wrong
            head = read_generation_part(path, header, "head", _most_bytes(shape[0] * (shape[1] + 1)))
        except (OSError, ValueError, MemoryError) as error:
            why = f"the state {path} cannot be read ({shown(error)})"
            continue
        theirs = header.identity
        if Path(str(theirs.get("prefix", ""))).name != Path(prefix).name:
            return {}, f"the state {path} is of another run, with `prefix` {theirs.get('prefix')}"
        if not _same_people(theirs, identity):
            return {}, f"the state {path} is of other identities, or not known to be of the same"
        fc7 = {name: value for name, value in head.items() if name in head_shapes(shape)}
        theirs_shape = tuple(fc7["fc7_weight"].shape) if "fc7_weight" in fc7 else ()
        if theirs_shape != tuple(shape):
            return {}, f"that in the state {path} is {theirs_shape}, not {tuple(shape)}"
        if not all(_is_sound(value, head_shapes(shape)[name]) for name, value in fc7.items()):
            return {}, f"that in the state {path} is damaged"
        relation = relations[path].format(number=number)
        return fc7, f"loaded from the state {path}{relation and f', which {relation}'}"
    return {}, why


def _header(path: Path) -> Header | None:
    """The header of a state; None where it cannot be used."""
    try:
        return read_generation_header(path)
    except (OSError, ValueError, MemoryError):
        return None


def _relation(path: Path, header: Header | None, number: int, network: Arrays) -> str:
    """Which of ORDER a state is to checkpoint `number`: SAME where its network is the checkpoint's."""
    if header is None:
        return EARLIER
    saves = header.progress.saves
    if saves != number:
        return LATER if saves > number else EARLIER
    try:
        there = read_generation_part(path, header, "net", _most_bytes(sum(value.size for value in network.values())))
    except (OSError, ValueError, MemoryError):
        return OTHER
    return SAME if all(_is_close(there[name], value) for name, value in network.items() if name in there) else OTHER


def _is_close(there: mx.nd.NDArray, here: mx.nd.NDArray) -> bool:
    """Whether two arrays are the same up to the rounding of a published checkpoint to float16."""
    if tuple(there.shape) != tuple(here.shape):
        return False
    first, second = there.asnumpy(), here.asnumpy()
    return bool(np.abs(first - second).max() <= ROUNDING * max(np.abs(first).max(), np.abs(second).max()))


def _is_sound(value: mx.nd.NDArray, shape: tuple[int, ...]) -> bool:
    return value.dtype == np.float32 and tuple(value.shape) == shape and bool(np.isfinite(value.asnumpy()).all())


def _most_bytes(values: int) -> int:
    """An upper bound of the size of a file of so many values, with momentum."""
    return 8 * values + (1 << 20)


def _same_people(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> bool:
    """Whether the classes are the same identities: by name, or because it is the same set."""
    if theirs.get(NAMES) and mine.get(NAMES):
        return theirs[NAMES] == mine[NAMES]
    return theirs.get("data") == mine["data"] or theirs.get(WHOLE_SET, "") == mine[WHOLE_SET]

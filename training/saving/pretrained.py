"""`pretrained`: initialises a new run from a checkpoint, and from the state beside it."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

import mxnet as mx
import numpy as np

from common.cli import parse_checkpoint_name
from common.errors import UserError
from inference.model import Arrays, read_parameters
from training.saving.checkpoint import checkpoint_path
from training.saving.matching_network import looks_like, trunk
from training.saving.pretrained_head import head_beside, head_shapes
from training.specs import PretrainedSpec

# InsightFace's own MobileFaceNet files have an older name for this weight.
ALIASES = {"fc1_weight": "pre_fc1_weight"}
MOST = 0.5  # fraction of the trunk, on either side, that must match
Shapes = Mapping[str, "tuple[int, ...]"]


@dataclass(frozen=True)
class Pretrained:
    """taken: arrays that fit the network, by its names; fc7: those of a classification layer that fits, if any; lines:
    what is loaded and what is not, on either side, for the log."""

    taken: Arrays
    fc7: Arrays
    lines: list[str]


def open_pretrained(spec: PretrainedSpec, shapes: Shapes, identity: Mapping[str, Any], head_shape: tuple[int, int],
                    with_head: bool = True) -> Pretrained:
    """The checkpoint of `pretrained` for a network whose parameters have `shapes`.

    identity: of the run, to see whether the classification layer of the checkpoint's run is of the same people;
    head_shape: of this run's fc7_weight; with_head: look for it. UserError, naming the file, where it is not a
    checkpoint, holds numbers that are not finite, has embeddings of another size or does not fit most of the network,
    unless `pretrained_partial` allows it.
    """
    prefix, number = parse_checkpoint_name(spec.pretrained, "`pretrained`")
    arguments, auxiliary = read_parameters(prefix, number, "`pretrained`")
    path = checkpoint_path(prefix, number)
    given = _renamed({**arguments, **auxiliary}, shapes)
    for title, value in given.items():
        if not np.isfinite(value.asnumpy()).all():
            raise UserError(f"{path}: {title} holds numbers that are not finite, so training cannot start from it; "
                            "use an earlier checkpoint")
    taken = {title: value for title, value in given.items() if shapes.get(title) == value.shape}
    if not spec.pretrained_partial:
        _check_fit(taken, given, shapes, spec.emb_size, path)
    if not taken:
        raise UserError(f"{path}: no parameter fits this network")
    fc7, source = _fc7(prefix, number, given, identity, head_shape) if with_head else ({}, "as worker 0 has it")
    missing = [f"{title} {shape}" for title, shape in shapes.items() if title not in taken]
    unused = [f"{title} {value.shape}" for title, value in given.items() if title not in {**taken, **fc7}]
    lines = [f"pretrained: {len(taken)} of {len(shapes)} parameters loaded from {path}",
             f"pretrained: fc7 {source}"]
    return Pretrained(taken, fc7, _other_trunk(taken, given, shapes, path) + lines + [
        f"pretrained: {len(names)} {title}: {', '.join(names)}"
        for title, names in (("left at their initial values", missing), ("in the checkpoint but not loaded", unused))
        if names])


def _fc7(prefix: str, number: int, given: Arrays, identity: Mapping[str, Any],
         shape: tuple[int, int]) -> tuple[Arrays, str]:
    """A classification layer that fits, from the checkpoint itself or from the state beside it, and its source."""
    if "fc7_weight" in given:
        if tuple(given["fc7_weight"].shape) == tuple(shape):
            fc7 = {name: given[name] for name, wanted in head_shapes(shape).items()
                   if name in given and tuple(given[name].shape) == wanted}
            return fc7, "loaded from the checkpoint, whose classes must be this set's: it has as many"
        return {}, f"initialised: that in the checkpoint is {given['fc7_weight'].shape}, not {tuple(shape)}"
    beside, source = head_beside(prefix, number, identity, shape, given)
    return dict(beside), source if beside else f"initialised: {source}"


def _renamed(loaded: Mapping[str, mx.nd.NDArray], shapes: Shapes) -> dict[str, mx.nd.NDArray]:
    """`loaded` by the network's names of its arrays."""
    given = {}
    for name, value in loaded.items():
        new_name = ALIASES.get(name, name)
        value = value if value.dtype == np.float32 else value.astype(np.float32)  # some are published in float16
        given[new_name if name not in shapes and new_name in shapes else name] = value
    return given


def _check_fit(taken: Arrays, given: Arrays, shapes: Shapes, emb_size: int, path: Path) -> None:
    """UserError where less than half of the network's trunk is in the checkpoint, or vice versa, or the embedding has
    another size: one that names all flags that are to change."""
    here, there, fits = trunk(shapes), trunk(given), trunk(taken)
    theirs = given["fc1_gamma"].shape[0] if "fc1_gamma" in given else emb_size
    size = f"`emb_size` {theirs}"
    if len(fits) < MOST * max(len(here), len(there)):
        likely = _likely(given, shapes)
        likely += f" {size}" if likely and theirs != emb_size else ""
        hint = f"it looks like {likely}: give that" if likely else "give the flags of the network it is of"
        raise UserError(f"`pretrained`: {len(fits)} of the {len(here)} parameters of this network's trunk are in "
                        f"{path}, which has {len(there)}; {hint}, or `pretrained_partial` to load what fits anyway")
    if theirs != emb_size:
        raise UserError(f"`emb_size` {emb_size}: the embedding of {path} has {theirs}; give {size}, or "
                        "`pretrained_partial` to load the layers before the embedding")


def _other_trunk(taken: Arrays, given: Arrays, shapes: Shapes, path: Path) -> list[str]:
    """A warning, where a part of one trunk, the network's or the checkpoint's, is not in the other."""
    here, there, fits = trunk(shapes), trunk(given), trunk(taken)
    if here <= fits and there <= fits:
        return []
    likely = _likely(given, shapes)
    likely = likely and f", which looks like {likely}"
    if here <= fits:
        return [f"warning: {len(there - fits)} of the {len(there)} parameters of the trunk in {path}{likely} have no "
                "place in this network: without them its other layers compute something else than they did there"]
    return [f"warning: {len(here - fits)} of the {len(here)} parameters of this network's trunk are not in {path}"
            f"{likely}: they are left at their initial values"]


def _likely(given: Arrays, here: Shapes) -> str:
    return looks_like({name: tuple(value.shape) for name, value in given.items()}, here)

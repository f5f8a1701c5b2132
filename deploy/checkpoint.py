"""A checkpoint for export, untrusted: the network up to its embedding, all in float32."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Dict

import mxnet as mx

from common.errors import UserError
from eval.models import checkpoint_digest
from inference.embedder import check_parameters
from inference.model import EMBEDDING, in_float32, load_model
from symbols.graph import layer_of

Arrays = Dict[str, mx.nd.NDArray]


@dataclass(frozen=True)
class Checkpoint:
    """name: as it was given. sha256: of its symbol's bytes, then its parameters'. layer: the embedding's. dimension:
    its length. image_size: (H, W) that it is to embed."""

    name: str
    sha256: str
    layer: str
    symbol: mx.sym.Symbol
    arguments: Arrays
    auxiliary: Arrays
    image_size: tuple[int, int]
    dimension: int

    @property
    def parameters(self) -> Arrays:
        """Arguments and auxiliary states."""
        return {**self.arguments, **self.auxiliary}

    @property
    def count(self) -> int:
        """The number of its parameters."""
        return sum(int(value.size) for value in self.parameters.values())


def open_checkpoint(prefix: str, epoch: int, image_size: tuple[int, int], layer: str = EMBEDDING) -> Checkpoint:
    """The checkpoint up to `layer`, as `load_model` finds it.

    Parameters in float16 become float32, in which CPUs compute. UserError where it is not a checkpoint, has no such
    layer, or takes no images of image_size.
    """
    name = f"{prefix},{epoch}"
    symbol, arguments, auxiliary = in_float32(*load_model(prefix, epoch, layer))
    try:
        dimension = check_parameters(symbol, arguments, auxiliary, (1, 3, *image_size))
    except UserError as error:
        raise UserError(f"`model` {name}: {error}; set `image_size` H,W to its input size") from None
    (output,) = symbol.list_outputs()
    return Checkpoint(name, checkpoint_digest(prefix, epoch), layer_of(output), symbol, arguments, auxiliary,
                      image_size, dimension)

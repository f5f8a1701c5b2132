"""The model of a command: a checkpoint or an ONNX file, read once, known by its sha256."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Protocol

import numpy as np

from common.cli import parse_checkpoint_name
from common.devices import parse_devices
from common.errors import UserError
from deploy.run_folder import size_of_run
from eval.models import checkpoint_digest
from inference.embedder import Embedder
from inference.model import load_model
from inference.onnx_embedder import OnnxEmbedder
from inference.onnx_file import OnnxModel, read_onnx


class Embeds(Protocol):
    """What `Embedder` and `OnnxEmbedder` share."""

    image_size: tuple[int, int]
    batch_size: int
    dimension: int

    def embed(self, batches: Iterable[np.ndarray], flip: bool = False) -> Iterator[np.ndarray]:
        """Embeddings of each batch, those of its mirror images too."""


@dataclass(frozen=True)
class ModelFile:
    """name: as it was given. sha256: of a checkpoint's symbol and parameters, or of the ONNX file. image_size: (H, W)
    that it says it takes, None where it does not say. parts: what an Embedder is made of."""

    name: str
    sha256: str
    layer: str
    image_size: tuple[int, int] | None
    parts: Any

    def embedder(self, devices: str | None, batch_size: int, size: tuple[int, int]) -> Embeds:
        """Ready to embed images of `size`, (H, W); UserError where they do not suit it, naming the model."""
        try:
            if isinstance(self.parts, OnnxModel):
                return OnnxEmbedder(self.parts, batch_size, size)
            return Embedder(*self.parts, parse_devices(devices), batch_size, size)
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith(("--", self.name)) else f"--model {self.name}: {text}") from None


def read_model(text: str, layer: str) -> ModelFile:
    """What `--model` names, `PREFIX,EPOCH` or `X.onnx`; UserError where it is none."""
    if text.endswith(".onnx"):
        model = read_onnx(text)
        return ModelFile(text, model.sha256, model.output, model.image_size, model)
    if text.endswith(".npz"):
        raise UserError(f"--model {text}: is embeddings made before; give the model, PREFIX,EPOCH or X.onnx")
    prefix, epoch = parse_checkpoint_name(text, "--model")
    parts = load_model(prefix, epoch, layer)
    return ModelFile(f"{prefix},{epoch}", checkpoint_digest(prefix, epoch), layer, size_of_run(prefix), parts)

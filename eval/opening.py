"""Opens models for embedding: a checkpoint in MXNet or onnxruntime, an ONNX file in onnxruntime."""
from __future__ import annotations

import argparse
import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.environment import load_mxnet
from common.errors import UserError
from eval.models import ModelName, checkpoint_digest
from inference.engine import AnyEmbedder, open_engine
from inference.onnx_embedder import OnnxEmbedder
from inference.onnx_file import read_onnx

if TYPE_CHECKING:
    import mxnet as mx

log = logging.getLogger(__name__)
LAYER = "fc1"


@dataclass(frozen=True)
class EmbeddingSettings:
    """How images are embedded. layer: whose output is the embedding. flip: mirror images are added. batch_size: images
    per forward pass, over all devices. devices: as `--devices` writes them, None for all GPUs, else the CPU. keep: a
    cache folder of embeddings files, read where they are of the same model, set, layer and flip, and written where not.
    engine: what computes a checkpoint, one of `inference.engine.ENGINES`."""

    layer: str = LAYER
    flip: bool = True
    batch_size: int = 64
    devices: str | None = None
    keep: Path | None = None
    engine: str = "mxnet"

    @staticmethod
    def of(args: argparse.Namespace) -> EmbeddingSettings:
        """What `arguments.add_embedding_flags` parsed."""
        folder = getattr(args, "embeddings", None)
        return EmbeddingSettings(args.layer, not args.no_flip, args.batch_size, args.devices,
                                 Path(folder) if folder else None, getattr(args, "engine", "mxnet"))

    def contexts(self) -> list[mx.Context]:
        """The devices; UserError for absent ones."""
        load_mxnet()
        from common.devices import parse_devices

        return parse_devices(self.devices)


@functools.lru_cache(maxsize=None)  # once for a model that is opened again
def _tell_input(name: str, raw: bool) -> None:
    log.info("%s: the input is RGB pixels %s, by the names of its first nodes as in InsightFace's loader", name,
             "from 0 to 255" if raw else "as (x - 127.5) / 127.5")


class OpenModel:
    """A model whose files are read and validated; its network is built for each image size on demand.

    digest: sha256 of its files. UserError where it is not a network that embeds images, or its files are missing.
    """

    def __init__(self, name: ModelName, settings: EmbeddingSettings) -> None:
        if name.embeddings:
            raise ValueError(f"{name.text} holds embeddings and is not a network")
        self.name, self.settings = name, settings
        self._embedders: dict[tuple[int, int], AnyEmbedder] = {}
        self._devices = settings.contexts()
        if name.onnx:
            self._onnx = read_onnx(name.onnx)
            if settings.layer not in (LAYER, self._onnx.output):
                raise UserError(f"`layer` {settings.layer}: {name.text} is an ONNX file with one output, "
                                f"{self._onnx.output}; leave `layer` out")
            self.digest = self._onnx.sha256
            _tell_input(name.text, (self._onnx.mean, self._onnx.scale) == (0.0, 1.0))
        else:
            from inference.model import in_float32, load_model  # imports MXNet, as above

            self._parts = in_float32(*load_model(name.prefix, name.epoch, settings.layer))
            self.digest = checkpoint_digest(name.prefix, name.epoch)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(H, W) fixed by an ONNX file; None where it is dynamic, and for a checkpoint."""
        return self._onnx.image_size if self.name.onnx else None

    def dimension(self, image_size: tuple[int, int]) -> int:
        """D of the embeddings of images of (H, W), without building a checkpoint's network; UserError where it does not
        take them."""
        if self.name.onnx:
            return self.embedder(image_size).dimension
        from inference.embedder import check_parameters

        return check_parameters(*self._parts, (1, 3, *image_size))

    def embedder(self, image_size: tuple[int, int]) -> AnyEmbedder:
        """The network for images of (H, W); UserError where it does not take them."""
        if image_size not in self._embedders:
            self._embedders[image_size] = (
                OnnxEmbedder(self._onnx, self.settings.batch_size, image_size) if self.name.onnx
                else open_engine(self.settings.engine, *self._parts, self._devices, self.settings.batch_size,
                                 image_size))
        return self._embedders[image_size]

    def close(self) -> None:
        """Release the networks that were built; they are built again on demand."""
        self._embedders.clear()

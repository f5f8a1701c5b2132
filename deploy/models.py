"""The model of a command: a checkpoint or an ONNX file, identified by its sha256."""
from __future__ import annotations

import argparse

from common.errors import UserError
from deploy.run_folder import size_of_run
from eval.models import parse_models
from eval.opening import EmbeddingSettings, OpenModel
from inference.engine import AnyEmbedder


class ServedModel:
    """A model whose files are read and validated, and whose network is built for one image size.

    name: in messages. sha256: of its files. layer: whose output is the embedding. flip: mirror images are added.
    image_size: (H, W) of its training, or fixed by its file; None where not known. UserError where `--model` names
    none, or several.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        names = parse_models([args.model])
        if len(names) > 1:
            raise UserError(f"`model` {args.model}: is {len(names)} checkpoints; give one, as {names[-1].text}")
        if names[0].embeddings:
            raise UserError(f"`model` {args.model}: is precomputed embeddings; give the model, PREFIX,EPOCH or X.onnx")
        self.settings = EmbeddingSettings.of(args)
        self._opened = OpenModel(names[0], self.settings)
        self.name, self.sha256 = names[0].text, self._opened.digest
        self.layer, self.flip = self.settings.layer, self.settings.flip
        self.image_size = self._opened.image_size or (size_of_run(names[0].prefix) if names[0].prefix else None)

    def embedder(self, size: tuple[int, int]) -> AnyEmbedder:
        """The embedder for images of `size`, (H, W); UserError, naming the model, where they do not fit."""
        try:
            return self._opened.embedder(size)
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith(("`", self.name)) else f"`model` {self.name}: {text}") from None

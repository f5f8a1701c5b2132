"""The process of the PyTorch side, in a Python of its own: executes JSON commands, one per line, and answers in JSON.

It is started with the network, the file with a checkpoint, images and labels, and `compiled` or `eager`. The images
are bytes (N, H, W, 3), as ours get them. "check" writes embeddings, loss and gradients into the file that it names;
"step" and "embed" do that once; "memory" answers with the peak, in bytes.
"""
from __future__ import annotations

import json
import sys

import numpy as np
import torch

from benchmarks.torch_side.networks import NETWORKS, load, tensors_by_name
from benchmarks.torch_side.step import ArcFace, make_step
from common.own_memory import own_peak_memory


class Side:
    """A network and its head with a checkpoint's values, in channels last."""

    def __init__(self, network: str, path: str, compiled: bool) -> None:
        with np.load(path, allow_pickle=False) as file:
            given = {name: file[name] for name in file.files}
        self.images, self.labels = given.pop("images"), torch.from_numpy(given.pop("labels").astype(np.int64))
        fc7 = given.pop("fc7_weight")
        self.model = ArcFace(NETWORKS[network](fc7.shape[1]), *fc7.shape)
        load(self.model.network, given)
        with torch.no_grad():
            self.model.fc7_weight.copy_(torch.from_numpy(fc7))
        self.model = self.model.to(memory_format=torch.channels_last)
        compile_ = torch.compile if compiled else lambda module: module
        self.step_ = make_step(self.model, compile_(self.model))
        self.network = compile_(self.model.network)

    def _floats(self, images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(images).permute(0, 3, 1, 2).float()  # which is channels last

    def step(self) -> None:
        """One training step."""
        self.model.train()
        self.step_(self._floats(self.images), self.labels)

    def embed(self) -> np.ndarray:
        """The embeddings of twice the images."""
        self.model.eval()
        with torch.inference_mode():
            return np.concatenate([self.network(self._floats(self.images)).numpy() for _ in range(2)])

    def check(self, path: str) -> None:
        """Write embeddings, and loss and gradients of a step without an update."""
        embeddings = self.embed()[:len(self.images)]
        self.model.train()
        loss = self.model(self._floats(self.images), self.labels)
        loss.backward()
        tensors = {**tensors_by_name(self.model.network), "fc7_weight": self.model.fc7_weight}
        gradients = {f"gradient {name}": tensor.grad.contiguous().numpy() for name, tensor in tensors.items()
                     if tensor.grad is not None}
        np.savez(path, embeddings=embeddings, loss=loss.item(), **gradients)


def main() -> None:
    """Answer until the standard input ends."""
    network, path, how = sys.argv[1:]
    side = Side(network, path, how == "compiled")
    for line in sys.stdin:
        wanted = json.loads(line)
        answer = {}
        if wanted["do"] == "memory":
            answer["peak"] = own_peak_memory()
        elif wanted["do"] == "check":
            side.check(wanted["path"])
        else:
            getattr(side, {"step": "step", "embed": "embed"}[wanted["do"]])()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

"""A training step in PyTorch: ArcFace's loss over a network, its gradients, SGD with momentum."""
from __future__ import annotations

import math
from typing import Callable

import torch
from torch import nn
from torch.nn import functional

SCALE, MARGIN = 64.0, 0.5
TINY = 1e-12


class ArcFace(nn.Module):
    """The mean cross-entropy of scaled cosines, the target class's angle larger by MARGIN (arXiv:1801.07698)."""

    def __init__(self, network: nn.Module, classes: int, emb_size: int) -> None:
        super().__init__()
        self.network, self.fc7_weight = network, nn.Parameter(torch.zeros(classes, emb_size))

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of images (N, 3, H, W) and labels (N,)."""
        cosines = functional.linear(functional.normalize(self.network(images)), functional.normalize(self.fc7_weight))
        own = cosines.gather(1, labels[:, None])
        sine = torch.sqrt(((1 - own) * (1 + own)).clamp(TINY, 1.0))
        moved = torch.where(own > math.cos(math.pi - MARGIN), own * math.cos(MARGIN) - sine * math.sin(MARGIN),
                            own - math.sin(math.pi - MARGIN) * MARGIN)
        return functional.cross_entropy(SCALE * cosines.scatter(1, labels[:, None], moved), labels)


def make_step(model: ArcFace, forward: Callable[..., torch.Tensor], lr: float = 0.01
              ) -> Callable[[torch.Tensor, torch.Tensor], float]:
    """A function that makes a step and returns the loss; forward: `model`, or what was compiled of it."""
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr, 0.9, weight_decay=5e-4)

    def step(images: torch.Tensor, labels: torch.Tensor) -> float:
        optimizer.zero_grad()
        loss = forward(images, labels)
        loss.backward()
        optimizer.step()
        return float(loss)
    return step

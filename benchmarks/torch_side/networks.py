"""MobileFaceNet++ and LResNet18E with GNAP in PyTorch, the layers under the names that MXNet's checkpoints give them.

MobileFaceNet is that of arXiv:1804.07573, LResNet18E ArcFace's (arXiv:1801.07698), GNAP the paper's section 3.2.
"""
from __future__ import annotations

from typing import Mapping

import numpy as np
import torch
from torch import nn

DENSE_EPS, MOBILE_EPS, MOMENTUM = 2e-5, 1e-3, 0.1  # 0.1 is MXNet's momentum of 0.9
LAST = 512  # channels of the last map


class GnapHead(nn.Module):
    """(N, LAST, H, W) to (N, emb_size): BN, each feature scaled to the image's mean norm, average pooling, BN."""

    def __init__(self, emb_size: int) -> None:
        super().__init__()
        self.bn6f = nn.BatchNorm2d(LAST, DENSE_EPS, MOMENTUM)
        self.bn6w: nn.BatchNorm1d | None = None
        self.pre_fc1: nn.Linear | None = None
        if emb_size < LAST:
            self.bn6w, self.pre_fc1 = nn.BatchNorm1d(LAST, DENSE_EPS, MOMENTUM), nn.Linear(LAST, emb_size)
        self.fc1 = nn.BatchNorm1d(emb_size, DENSE_EPS, MOMENTUM)
        for norm in (self.bn6f, self.bn6w, self.fc1):
            if norm is not None:
                norm.weight.requires_grad_(False)  # a fixed gamma of 1

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """The embeddings."""
        data = self.bn6f(data)
        norms = torch.sqrt(data.square().sum(1, keepdim=True) + 1e-30)
        data = (data * (norms.mean((2, 3), keepdim=True) / norms)).mean((2, 3))
        if self.bn6w is not None and self.pre_fc1 is not None:
            data = self.pre_fc1(self.bn6w(data))
        return self.fc1(data)


class MobileFaceNet(nn.Module):
    """The blocks (1, 4, 6, 2), then GNAP."""

    def __init__(self, emb_size: int = 128) -> None:
        super().__init__()
        stages = [_conv("conv_1", 3, 64, 3, 2), _conv("conv_2_dw", 64, 64, 3, groups=64)]
        for before, width, filters, name, residual, count, inner in (
                (64, 128, 64, "dconv_23", "res_3", 4, 128), (64, 256, 128, "dconv_34", "res_4", 6, 256),
                (128, 512, 128, "dconv_45", "res_5", 2, 256)):
            stages.append(_bottleneck(name, before, width, filters, 2))
            stages += [_Residual(_bottleneck(f"{residual}_block{number}", filters, inner, filters))
                       for number in range(count)]
        self.body = nn.Sequential(*stages, _conv("conv_6sep", 128, LAST, 1))
        self.head = GnapHead(emb_size)

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, emb_size) of images (N, 3, 112, 112), 0 to 255."""
        return self.head(self.body((data - 127.5) * 0.0078125))


class LResNet18E(nn.Module):
    """A 3x3 stem without stride, two of ArcFace's units in each of four stages, then GNAP."""

    def __init__(self, emb_size: int = 512) -> None:
        super().__init__()
        stem = nn.Sequential()
        stem.add_module("conv0", nn.Conv2d(3, 64, 3, 1, 1, bias=False))
        stem.add_module("bn0", nn.BatchNorm2d(64, DENSE_EPS, MOMENTUM))
        stem.add_module("relu0", nn.PReLU(64))
        units, before = [], 64
        for stage, filters in enumerate((64, 128, 256, 512), start=1):
            units += [_Unit(f"stage{stage}_unit1", before, filters, 2),
                      _Unit(f"stage{stage}_unit2", filters, filters, 1)]
            before = filters
        self.body = nn.Sequential(stem, *units)
        self.head = GnapHead(emb_size)

    forward = MobileFaceNet.forward


NETWORKS = {"MobileFaceNet": MobileFaceNet, "LResNet18E": LResNet18E}


class _Residual(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        return data + self.block(data)


class _Unit(nn.Module):
    """BN - conv - BN - PReLU - conv - BN, the stride on the second convolution, beside a shortcut."""

    def __init__(self, name: str, before: int, filters: int, stride: int) -> None:
        super().__init__()
        self.main, self.shortcut = nn.Sequential(), nn.Sequential()
        for layer, module in (("bn1", nn.BatchNorm2d(before, DENSE_EPS, MOMENTUM)),
                              ("conv1", nn.Conv2d(before, filters, 3, 1, 1, bias=False)),
                              ("bn2", nn.BatchNorm2d(filters, DENSE_EPS, MOMENTUM)), ("relu1", nn.PReLU(filters)),
                              ("conv2", nn.Conv2d(filters, filters, 3, stride, 1, bias=False)),
                              ("bn3", nn.BatchNorm2d(filters, DENSE_EPS, MOMENTUM))):
            self.main.add_module(f"{name}_{layer}", module)
        if stride > 1:
            self.shortcut.add_module(f"{name}_conv1sc", nn.Conv2d(before, filters, 1, stride, bias=False))
            self.shortcut.add_module(f"{name}_sc", nn.BatchNorm2d(filters, DENSE_EPS, MOMENTUM))

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        return self.main(data) + self.shortcut(data)


def _linear(name: str, before: int, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    made = nn.Sequential()
    made.add_module(f"{name}_conv2d",
                    nn.Conv2d(before, filters, kernel, stride, kernel // 2, groups=groups, bias=False))
    made.add_module(f"{name}_batchnorm", nn.BatchNorm2d(filters, MOBILE_EPS, MOMENTUM))
    return made


def _conv(name: str, before: int, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    made = _linear(name, before, filters, kernel, stride, groups)
    made.add_module(f"{name}_relu", nn.PReLU(filters))
    return made


def _bottleneck(name: str, before: int, inner: int, filters: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv(f"{name}_conv_sep", before, inner, 1),
                         _conv(f"{name}_conv_dw", inner, inner, 3, stride, groups=inner),
                         _linear(f"{name}_conv_proj", inner, filters, 1))


def tensors_by_name(network: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and running statistics by their names in MXNet's checkpoints."""
    found = {}
    for path, module in network.named_modules():
        name = path.rpartition(".")[2]
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            found.update({f"{name}_gamma": module.weight, f"{name}_beta": module.bias,
                          f"{name}_moving_mean": module.running_mean, f"{name}_moving_var": module.running_var})
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            found[f"{name}_weight"] = module.weight
            if module.bias is not None:
                found[f"{name}_bias"] = module.bias
        elif isinstance(module, nn.PReLU):
            found[f"{name}_gamma"] = module.weight
    return found


def load(network: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Load a checkpoint's arrays; ValueError where names or shapes are not those of the network."""
    tensors = tensors_by_name(network)
    if set(tensors) != set(arrays):
        raise ValueError(f"names that only one side has: {sorted(set(tensors) ^ set(arrays))[:5]}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(arrays[name])).reshape(tensor.shape))

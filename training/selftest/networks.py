"""Every network family with every head, forward and backward, and PReLU's slopes by finite differences."""
from __future__ import annotations

from typing import Any, Iterator, Sequence

import mxnet as mx
import numpy as np

import symbols
from common.devices import device_name
from symbols.prelu_check import SHAPE, slope_gradients
from symbols.prelu_rewrite import for_training
from training.selftest.reference import by_basic_operators, draw, furthest, train_block, train_bound, without_dropout
from training.selftest.report import Row, guarded

HEADS = ("E", "FC", "GDC", "GAP", "GNAP")
NETWORKS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "LResNet18": ("r18", 512, {}), "MobileFaceNet": ("y1", 128, {})}
MORE: dict[str, tuple[str, int, str, dict[str, Any]]] = {
    "LResNet50, squeeze and excitation, E": ("r50", 512, "E", {"version_se": 1}),
    "LResNet18, unit 1, 7x7 input, E": ("r18", 512, "E", {"version_unit": 1, "version_input": 0}),
    "LResNet18, unit 2, ReLU, GAP": ("r18", 512, "GAP", {"version_unit": 2, "version_act": "relu"}),
    "MobileFaceNet y2, GDC": ("y2", 256, "GDC", {})}
SIDE, SMALL_SIDE = 112, 32  # of images; GDC needs the first
BATCH, SMALL_BATCH = 8, 4
TOLERANCE = 0.05  # relative to an array's norm; a last bit may flip a feature at 0, and gradients then differ by 0.01


def rows(devices: Sequence[mx.Context], quick: bool) -> Iterator[Row]:
    """A row per network on the first device, one network on the others, and the slopes on all."""
    first, *others = devices
    for device in devices:
        yield from slopes(device)
    for family, (network, size, more) in NETWORKS.items():
        for version_output in HEADS:
            yield forward_backward(f"{family}, {version_output}", first, quick, network, size, version_output, more)
    if not quick:
        for name, (network, size, version_output, more) in MORE.items():
            yield forward_backward(name, first, quick, network, size, version_output, more)
    for device in others:
        yield forward_backward("MobileFaceNet, GNAP", device, quick, "y1", 128, "GNAP", {})


def forward_backward(name: str, device: mx.Context, quick: bool, network: str, size: int, version_output: str,
                     more: dict[str, Any]) -> Row:
    """A row: embeddings and gradients on `device`, as training computes them, against basic operators on the CPU."""
    def check() -> tuple[bool, str]:
        side = SMALL_SIDE if quick and version_output != "GDC" else SIDE
        shape = (SMALL_BATCH if quick else BATCH, 3, side, side)
        symbol = without_dropout(symbols.build(network, size, version_output, **more))
        values = draw(symbol, shape)
        outside = np.random.RandomState(1).normal(0, 1, (shape[0], size)).astype(np.float32)
        expected = train_bound(by_basic_operators(symbol), values, outside)
        shapes = {key: value.shape for key, value in values.items()}
        found = train_block(for_training(symbol, shape, [device]), values, outside, device, shapes)
        worst, whose = furthest(found, expected)
        return worst <= TOLERANCE, f"off by {worst:.1e} at most ({whose})"
    return guarded(f"{name}: forward and backward, {device_name(device)}", check)


def slopes(device: mx.Context) -> Iterator[Row]:
    """Two rows: MXNet's own PReLU, which may be wrong, and the form that training uses on this device, which may
    not."""
    where = device_name(device)

    def own() -> tuple[None, str]:
        given, expected = slope_gradients(device)
        worst, _ = furthest({"slopes": given}, {"slopes": expected})
        return None, (f"right (off by {worst:.1e})" if worst <= TOLERANCE else "wrong, "
                      f"{', '.join(f'{ratio:.3g}' for ratio in given / expected)} times the true one; not used")

    def trained() -> tuple[bool, str]:
        given, expected = slope_gradients(device, lambda symbol: for_training(symbol, SHAPE, [device]))
        worst, _ = furthest({"slopes": given}, {"slopes": expected})
        return worst <= TOLERANCE, f"off by {worst:.1e}"
    yield guarded(f"PReLU's slopes by finite differences, MXNet's own kernel, {where}", own)
    yield guarded(f"PReLU's slopes by finite differences, as trained, {where}", trained)

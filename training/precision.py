"""Mixed precision in float16: device support, and dynamic loss scaling, which keeps small gradients above zero.

The largest float16 is 65504, and values below 6e-8 are 0, where gradients of a face embedding often are. So the mean
loss is multiplied by a scale before the backward pass, and gradients are divided by it in float32. The scale doubles
after many good steps; a step whose gradients overflow is skipped, and halves it.
"""
from __future__ import annotations

import logging
from typing import Sequence

import mxnet as mx
from mxnet import autograd

from common.devices import device_name
from common.errors import UserError
from training.errors import NotFinite

log = logging.getLogger(__name__)
FIRST, LEAST, MOST = 2.0 ** 16, 1.0, 2.0 ** 24
GOOD_STEPS = 2000  # after as many without an overflow the scale doubles
MOST_FAILURES = 100  # synchronisations, each of which may raise one failure


class LossScale:
    """value: factor of the mean loss; good: steps since it changed; skipped: all that overflowed."""

    def __init__(self, value: float = FIRST, good: int = 0, skipped: int = 0) -> None:
        self.value, self.good, self.skipped = float(value), int(good), int(skipped)

    def after(self, finite: bool) -> None:
        """Update after a step; the scale changes by powers of two, which are exact.

        NotFinite where gradients overflow without any scale.
        """
        if not finite and self.value == LEAST:
            raise NotFinite(f"`dtype` float16: gradients overflow at a loss scale of {LEAST:g}",
                            "a lower `lr`, or with `dtype` float32,")
        if not finite:
            self.skipped += 1
            self.value, self.good = max(LEAST, self.value / 2), 0
            log.warning("`dtype` float16: gradients overflow, so the step is skipped and the loss scale is now %g "
                        "(skipped so far: %d)", self.value, self.skipped)
            return
        self.good += 1
        if self.good >= GOOD_STEPS and self.value < MOST:
            self.value, self.good = self.value * 2, 0

    def state(self) -> tuple[float, int, int]:
        """The arguments of `LossScale(*state)` on resume, exact in float32."""
        return self.value, self.good, self.skipped


def check_precision(dtype: str, devices: Sequence[mx.Context]) -> None:
    """UserError, naming the device, where `dtype` is float16 and one does not support it; found by trying."""
    for device in devices if dtype == "float16" else []:
        try:
            _multiply(device)
        except mx.MXNetError as error:
            _forget_failures()
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise UserError(f"`dtype` float16: {device_name(device)} has no float16 convolutions or "
                            f"fully connected layers ({lines[-1][-120:]}); use `dtype` float32, or a GPU") from None


def _forget_failures() -> None:
    """Synchronise with what was queued after the failed operator: it fails too, and would raise at a later wait."""
    for _ in range(MOST_FAILURES):
        try:
            mx.nd.waitall()
            return
        except mx.MXNetError:
            pass


def _multiply(device: mx.Context) -> None:
    """A convolution and a fully connected layer in float16, forward and backward."""
    data = mx.nd.ones((1, 8, 4, 4), ctx=device, dtype="float16")
    kernel, weight = (mx.nd.ones(shape, ctx=device, dtype="float16") for shape in ((8, 8, 3, 3), (8, 32)))
    for array in (data, kernel, weight):
        array.attach_grad()
    with autograd.record():
        maps = mx.nd.Convolution(data, kernel, num_filter=8, kernel=(3, 3), no_bias=True)
        result = mx.nd.FullyConnected(mx.nd.Flatten(maps), weight, no_bias=True, num_hidden=8)
    result.backward()
    for array in (result, data.grad, kernel.grad, weight.grad):
        array.asnumpy()

"""The flag --devices: which GPUs or CPU contexts to work on."""
from __future__ import annotations

import logging
import re

import mxnet as mx

from common.errors import UserError

log = logging.getLogger(__name__)
MOST_CPU_DEVICES = 64


def parse_devices(text: str | None, flag: str = "--devices") -> list[mx.Context]:
    """The contexts that `cpu:0,cpu:1` or `gpu:0,gpu:1` names; without text all visible GPUs, else the CPU.

    `cpu` and `gpu` alone mean number 0. Several CPU contexts share the same cores: they are there to try what several
    GPUs would do. UserError, naming the device, where one is not there, is named twice or is no device.
    """
    gpus = _count_gpus()
    if not text or not text.strip():
        return [mx.gpu(number) for number in range(gpus)] or [mx.cpu(0)]
    devices: list[mx.Context] = []
    for name in (part.strip() for part in text.split(",")):
        found = re.fullmatch(r"(cpu|gpu)(?::(\d{1,4}))?", name)
        if not found:
            raise UserError(f"{flag} {text}: {name!r} is no device; expected e.g. cpu:0,cpu:1 or gpu:0,gpu:1")
        kind, number = found.group(1), int(found.group(2) or 0)
        if kind == "gpu" and number >= gpus:
            raise UserError(f"{flag} {text}: {name} is not there; " + _gpus_there(gpus))
        if kind == "cpu" and number >= MOST_CPU_DEVICES:
            raise UserError(f"{flag} {text}: {name} is not there; CPU contexts are cpu:0 to cpu:{MOST_CPU_DEVICES - 1}")
        device = mx.Context(kind, number)
        if device in devices:
            raise UserError(f"{flag} {text}: {name} is named twice")
        devices.append(device)
    if len({device.device_type for device in devices}) > 1:
        raise UserError(f"{flag} {text}: GPUs and CPU contexts cannot work together; name one kind")
    return devices


def _count_gpus() -> int:
    try:
        return mx.context.num_gpus()
    except mx.MXNetError as error:  # a driver that is missing or too old for the wheel
        log.warning("no GPU is used: %s", str(error).strip().splitlines()[-1])
        return 0


def _gpus_there(count: int) -> str:
    if count:
        return f"MXNet sees gpu:0 to gpu:{count - 1}" if count > 1 else "MXNet sees gpu:0"
    try:
        with_cuda = mx.runtime.Features().is_enabled("CUDA")
    except RuntimeError:
        with_cuda = False
    wheel = "" if with_cuda else "; this is its CPU wheel, mxnet-cu112 or its neighbours see them"
    return "MXNet sees no GPU" + wheel

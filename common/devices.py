"""Which GPUs or CPU contexts to work on. Each GPU is tested before it is used."""
from __future__ import annotations

import ctypes
import logging
import os
import re

import mxnet as mx
import numpy as np

from common.errors import UserError
from common.mxnet_compat import in_host_memory

log = logging.getLogger(__name__)
MOST_CPU_DEVICES = 64
DRIVER = "450.80"  # the oldest driver that runs CUDA 11
GPU_NODE = "/dev/nvidiactl"  # there where a driver of NVIDIA's is loaded
NO_KERNELS = ("MXNet has no machine code for this GPU: its wheels run on Maxwell to Ada (compute capability 5.0 to "
              "8.9), not on Hopper or Blackwell")


def parse_devices(text: str | None) -> list[mx.Context]:
    """The contexts that `cpu:0,cpu:1` or `gpu:0,gpu:1` names; without text all GPUs that work, else the CPU.

    `cpu` and `gpu` alone mean number 0. Several CPU contexts share the same cores: they serve to try what several
    GPUs would do. A GPU works if it computes one small operator; where one does not, or there is none although MXNet's
    wheel is for GPUs, a warning says why. UserError, naming the device, where one that is named is not there, does not
    work, is named twice or is not a device.
    """
    if not text or not text.strip():
        return _default_devices()
    gpus = None
    devices: list[mx.Context] = []
    for name in (part.strip() for part in text.split(",")):
        found = re.fullmatch(r"(cpu|gpu)(?::(\d{1,4}))?", name, re.ASCII)
        if not found:
            raise UserError(f"`devices` {text}: {name!r} is not a valid device; expected e.g. cpu:0,cpu:1 or "
                            "gpu:0,gpu:1")
        kind, number = found.group(1), int(found.group(2) or 0)
        if kind == "gpu":
            gpus = _count_gpus() if gpus is None else gpus
            if number >= gpus:
                raise UserError(f"`devices` {text}: {name} does not exist; " + _gpus_there(gpus))
        elif number >= MOST_CPU_DEVICES:
            raise UserError(f"`devices` {text}: {name} does not exist; CPU contexts are cpu:0 to "
                            f"cpu:{MOST_CPU_DEVICES - 1}")
        device = mx.Context(kind, number)
        if device in devices:
            raise UserError(f"`devices` {text}: {name} is named twice")
        devices.append(device)
    if len({device.device_type for device in devices}) > 1:
        raise UserError(f"`devices` {text}: GPUs and CPU contexts cannot work together; name one kind")
    for device in devices:
        fault = probe(device) if device.device_type == "gpu" else None
        if fault:
            raise UserError(f"`devices` {text}: {device_name(device)} does not compute: {fault}; name "
                            "another device, or cpu:0")
    return devices


def device_name(device: mx.Context) -> str:
    """As `parse_devices` takes it: cpu:0, gpu:1."""
    return f"{device.device_type}:{device.device_id}"


def put(values: np.ndarray, device: mx.Context) -> mx.nd.NDArray:
    """`values` on `device`, of their type; the copy to it is queued. mx.nd.array with a GPU would wait for it."""
    return in_host_memory(values).as_in_context(device)


def probe(device: mx.Context) -> str | None:
    """Why `device` does not compute one small operator, in a line; None where it does.

    Where only operators that MXNet fuses and compiles at run time fail, fusion is switched off, and a warning says so.
    """
    try:
        _add(device)
    except mx.MXNetError as error:
        return explain_fault(error)
    if device.device_type == "gpu" and os.environ.get("MXNET_USE_FUSION") != "0":
        try:
            _fuse(device)
        except mx.MXNetError as error:
            os.environ["MXNET_USE_FUSION"] = "0"
            log.warning("%s:%d: fused operators cannot be compiled for it (%s): continuing without, as with "
                        "MXNET_USE_FUSION=0; NVRTC 11.8 and a driver of 520 or newer would compile them",
                        device.device_type, device.device_id, explain_fault(error))
    return None


def explain_fault(error: Exception) -> str:
    """A device error of MXNet's in one line, with a remedy where one is known."""
    lines = [line.strip() for line in str(error).split("Stack trace")[0].splitlines() if line.strip()]
    line = " ".join(lines)
    if "no kernel image" in line:
        return NO_KERNELS
    if "insufficient for CUDA runtime" in line:
        return f"NVIDIA's driver is too old for CUDA 11, which needs {DRIVER} or newer"
    if "out of memory" in line:
        return "its memory is full; nvidia-smi shows what else is using it"
    if "GPU is not enabled" in line or "not implemented for GPU" in line:
        return "this is MXNet's CPU wheel; make venv GPU=cu117 installs the GPU's"
    return lines[-1][-200:] if lines else type(error).__name__


def _add(device: mx.Context) -> None:
    result = (mx.nd.ones((4,), ctx=device) + 1).asnumpy()  # which waits for it
    if (result != 2).any():
        raise mx.MXNetError(f"1 + 1 is {result[0]:g} on it; the driver or the GPU is damaged")


def _fuse(device: mx.Context) -> None:
    data = mx.sym.Variable("data", dtype="float32")
    block = mx.gluon.SymbolBlock(mx.sym.relu(data) * 2 + 1, data)
    block.hybridize(static_alloc=True, static_shape=True)
    block(mx.nd.ones((4,), ctx=device)).asnumpy()


def _default_devices() -> list[mx.Context]:
    gpus, working = _count_gpus(), []
    for number in range(gpus):
        fault = probe(mx.gpu(number))
        if fault:
            log.warning("gpu:%d is left out: %s", number, fault)
        else:
            working.append(mx.gpu(number))
    if working:
        return working
    if gpus:
        log.warning("no GPU computes, so the CPU is used")
    elif _with_cuda():
        log.warning("MXNet's GPU wheel sees no GPU, so the CPU is used: %s", _why_no_gpu())
    elif os.path.exists(GPU_NODE):
        log.warning("this machine has a GPU, but this is MXNet's CPU wheel; make venv GPU=cu117 installs the GPU's")
    return [mx.cpu(0)]


def _count_gpus() -> int:
    try:
        return mx.context.num_gpus()
    except mx.MXNetError as error:
        log.warning("no GPU is used: %s", explain_fault(error))
        return 0


def _with_cuda() -> bool:
    try:
        return mx.runtime.Features().is_enabled("CUDA")
    except RuntimeError:
        return False


def _gpus_there(count: int) -> str:
    if count:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return (f"MXNet sees gpu:0 to gpu:{count - 1}" if count > 1 else "MXNet sees gpu:0") + (
            f"; it numbers those of CUDA_VISIBLE_DEVICES={hidden} from 0" if hidden else "")
    if _with_cuda():
        return f"MXNet sees no GPU: {_why_no_gpu()}"
    return "MXNet sees no GPU; this is its CPU wheel, make venv GPU=cu117 installs the GPU's"


def _why_no_gpu() -> str:
    """Queries the driver directly, since MXNet 1.9.1 reports a missing driver, an old one and no GPU alike: as no
    GPU."""
    try:
        driver, version = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
        answers = driver.cuDriverGetVersion(ctypes.byref(version)), driver.cuInit(0)
    except OSError:
        return f"NVIDIA's driver is missing; install {DRIVER} or newer, or start the container with --gpus all"
    except AttributeError:
        return "the libcuda.so.1 that is found is not a driver; nvidia-smi shows whether NVIDIA's is installed"
    if answers[0] == 0 and version.value < 11000:
        return (f"NVIDIA's driver is too old: it knows CUDA {version.value // 1000}.{version.value % 1000 // 10}, and "
                f"CUDA 11 needs {DRIVER} or newer")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (f"the driver answers with error {answers[1]}" if answers[1] else "the driver shows none") + (
        f"; CUDA_VISIBLE_DEVICES is {hidden!r}" if hidden is not None else "; nvidia-smi says more")

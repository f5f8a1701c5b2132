"""The --devices flag: what is taken without it, what cannot be taken, and GPUs that are there but do not compute."""
from __future__ import annotations

import ctypes
import types

import mxnet as mx
import pytest

from common import devices
from common.devices import parse_devices
from common.errors import UserError

NO_KERNEL = """Traceback (most recent call last):
  [bt] (8) /x/libmxnet.so(+0x1) [0x7f]
  File "../include/mshadow/./stream_gpu-inl.h", line 81
MXNetError: Check failed: e == cudaSuccess: CUDA: no kernel image is available for execution on the device"""
NVRTC = """Traceback (most recent call last):
  File "../src/operator/fusion/fused_op.cu", line 650
MXNetError: Check failed: compileResult == NVRTC_SUCCESS (5 vs. 0) : NVRTC Compilation failed. Please set environment \
variable MXNET_USE_FUSION to 0."""


@pytest.fixture
def gpus(monkeypatch):
    """gpus(2, {1: NO_KERNEL}, fused={0: NVRTC}): as many GPUs, and what those that do not compute say."""
    def pretend(count, faults=None, fused=None, with_cuda=True):
        def operator(said):
            def call(device):
                if device.device_id in said:
                    raise mx.MXNetError(said[device.device_id])
            return call
        monkeypatch.setenv("MXNET_USE_FUSION", "1")  # which the test's end restores
        monkeypatch.setattr(mx.context, "num_gpus", lambda: count)
        monkeypatch.setattr(devices, "_add", operator(faults or {}))
        monkeypatch.setattr(devices, "_fuse", operator(fused or {}))
        monkeypatch.setattr(devices, "_with_cuda", lambda: with_cuda)
    return pretend


def test_names_become_contexts_in_their_order():
    assert parse_devices("cpu:1, cpu:0") == [mx.cpu(1), mx.cpu(0)]
    assert parse_devices("cpu") == [mx.cpu(0)]


@pytest.mark.parametrize("count, expected", [(0, [mx.cpu(0)]), (2, [mx.gpu(0), mx.gpu(1)])])
def test_default_is_every_gpu_else_the_cpu(gpus, caplog, count, expected):
    gpus(count, with_cuda=False)
    assert parse_devices(None) == parse_devices("") == expected
    assert not caplog.records


@pytest.mark.parametrize("fault, said", [
    (NO_KERNEL, "not on Hopper or Blackwell"), ("CUDA: out of memory", "its memory is full"),
    ("CUDA driver version is insufficient for CUDA runtime version", "450.80 or newer"),
    ("Operator _ones is not implemented for GPU.", "make venv GPU=cu117"), ("x\nMXNetError: odd", "odd")])
def test_a_gpu_that_does_not_compute_is_reported_and_not_used(gpus, caplog, fault, said):
    gpus(2, {1: fault})
    assert parse_devices("") == [mx.gpu(0)]
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("gpu:1 is left out: ")
    with pytest.raises(UserError) as caught:
        parse_devices("gpu:0,gpu:1")
    for line in (caplog.messages[0], str(caught.value)):
        assert said in line and "\n" not in line and "libmxnet" not in line
    assert str(caught.value).startswith("`devices` gpu:0,gpu:1: gpu:1 does not compute: ")


def test_where_no_gpu_computes_the_cpu_is_used_with_a_warning(gpus, caplog):
    gpus(1, {0: NO_KERNEL})
    assert parse_devices(None) == [mx.cpu(0)]
    assert caplog.messages[-1] == "no GPU computes, so the CPU is used"


@pytest.mark.skipif(devices._with_cuda(), reason="the GPU wheel may have a GPU, which computes")
def test_a_gpu_that_is_really_asked_answers_for_itself(monkeypatch, caplog):
    """The CPU wheel, told that there are GPUs: the probe itself, not a fake of it."""
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 1)
    assert parse_devices(None) == [mx.cpu(0)]
    assert "gpu:0 is left out: this is MXNet's CPU wheel" in caplog.text
    assert devices.probe(mx.cpu(0)) is None
    devices._fuse(mx.cpu(0))


def test_where_fused_operators_do_not_compile_fusion_is_switched_off(gpus, caplog):
    gpus(2, fused={0: NVRTC, 1: NVRTC})
    assert parse_devices("gpu:0,gpu:1") == [mx.gpu(0), mx.gpu(1)]
    assert devices.os.environ["MXNET_USE_FUSION"] == "0"
    assert len(caplog.messages) == 1 and "MXNET_USE_FUSION=0" in caplog.text


def driver(version=0, init=0, absent=False):
    def load(name):
        if absent:
            raise OSError(f"{name}: cannot open shared object file")

        def tell(pointer):
            pointer._obj.value = version
            return 0
        return types.SimpleNamespace(cuDriverGetVersion=tell, cuInit=lambda flags: init)
    return load


@pytest.mark.parametrize("library, visible, said", [
    (driver(absent=True), None, "driver is missing; install 450.80"),
    (driver(10020), None, "it knows CUDA 10.2, and CUDA 11 needs 450.80"),
    (driver(12040, 100), "7", "error 100; CUDA_VISIBLE_DEVICES is '7'"),
    (driver(12040), None, "shows none; nvidia-smi")])
def test_the_gpu_wheel_without_a_gpu_says_why(gpus, monkeypatch, caplog, library, visible, said):
    gpus(0)
    monkeypatch.setattr(ctypes, "CDLL", library)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert parse_devices("") == [mx.cpu(0)]
    assert said in caplog.text and "the CPU is used" in caplog.text
    with pytest.raises(UserError, match="gpu:0 does not exist; MXNet sees no GPU: ") as caught:
        parse_devices("gpu:0")
    assert said in str(caught.value)
    caplog.clear()
    assert parse_devices("cpu:0") == [mx.cpu(0)] and not caplog.records


def test_gpus_that_cannot_be_counted_are_reported_in_one_line(gpus, monkeypatch, caplog):
    def fail():
        raise mx.MXNetError("x\nCheck failed: e == cudaSuccess: CUDA driver version is insufficient for CUDA runtime "
                            "version")
    gpus(0, with_cuda=False)
    monkeypatch.setattr(mx.context, "num_gpus", fail)
    assert parse_devices("") == [mx.cpu(0)]
    assert caplog.messages == ["no GPU is used: NVIDIA's driver is too old for CUDA 11, which needs 450.80 or newer"]


def test_the_cpu_wheel_beside_a_gpu_says_which_to_install(gpus, monkeypatch, tmp_path, caplog):
    gpus(0, with_cuda=False)
    monkeypatch.setattr(devices, "GPU_NODE", str(tmp_path))
    assert parse_devices("") == [mx.cpu(0)]
    assert "make venv GPU=cu117" in caplog.text


@pytest.mark.parametrize("text, count, said", [
    ("gpu:7", 0, "gpu:7 does not exist; MXNet sees no GPU"),
    ("gpu:0,gpu:2", 2, "gpu:2 does not exist; MXNet sees gpu:0 to"),
    ("cpu:99", 0, "cpu:99 does not exist"), ("cpu:0,cpu", 0, "cpu is named twice"),
    ("tpu:0", 0, "'tpu:0' is not a valid device"),
    ("cpu:0,,cpu:1", 0, "'' is not a valid device"), ("cpu:-1", 0, "'cpu:-1' is not a valid device"),
    ("cpu:0,gpu:0", 1, "name one kind")])
def test_a_device_that_is_not_there_is_named(gpus, text, count, said):
    gpus(count)
    with pytest.raises(UserError) as caught:
        parse_devices(text)
    assert said in str(caught.value) and str(caught.value).startswith(f"`devices` {text}: ")


def test_a_gpu_by_its_number_outside_of_cuda_visible_devices_is_explained(gpus, monkeypatch):
    gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with pytest.raises(UserError, match="MXNet sees gpu:0 to gpu:1; .* CUDA_VISIBLE_DEVICES=2,3 from 0"):
        parse_devices("gpu:2,gpu:3")
    assert parse_devices("gpu:0,gpu:1") == [mx.gpu(0), mx.gpu(1)]

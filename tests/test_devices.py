"""The --devices flag."""
from __future__ import annotations

import mxnet as mx
import pytest

from common.devices import parse_devices
from common.errors import UserError


def test_names_become_contexts_in_their_order():
    assert parse_devices("cpu:1, cpu:0") == [mx.cpu(1), mx.cpu(0)]
    assert parse_devices("cpu") == [mx.cpu(0)]


@pytest.mark.parametrize("gpus, expected", [(0, [mx.cpu(0)]), (2, [mx.gpu(0), mx.gpu(1)])])
def test_default_is_every_gpu_else_the_cpu(monkeypatch, gpus, expected):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: gpus)
    assert parse_devices(None) == parse_devices("") == expected


@pytest.mark.parametrize("text, gpus, said", [
    ("gpu:7", 0, "gpu:7 is not there; MXNet sees no GPU"),
    ("gpu:0,gpu:2", 2, "gpu:2 is not there; MXNet sees gpu:0 to"),
    ("cpu:99", 0, "cpu:99 is not there"), ("cpu:0,cpu", 0, "cpu is named twice"), ("tpu:0", 0, "'tpu:0' is no device"),
    ("cpu:0,,cpu:1", 0, "'' is no device"), ("cpu:-1", 0, "'cpu:-1' is no device"),
    ("cpu:0,gpu:0", 1, "name one kind")])
def test_a_device_that_is_not_there_is_named(monkeypatch, text, gpus, said):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: gpus)
    with pytest.raises(UserError) as caught:
        parse_devices(text)
    assert said in str(caught.value) and str(caught.value).startswith(f"--devices {text}: ")

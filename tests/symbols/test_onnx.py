"""Every head leaves as ONNX, ours and `mx.onnx`'s, and gives in onnxruntime what MXNet gives; it can be cast to other
types."""
from __future__ import annotations

import json

import mxnet as mx
import numpy as np
import onnxruntime
import pytest
from mx_onnx import traced_onnx
from small_nets import draw_values

import symbols
from symbols import fresnet
from symbols.gnap import GNAP, norm_aware_pooling
from symbols.onnx_export import to_onnx

HEADS = ("E", "FC", "GDC", "GAP", "GNAP")
CASES = [*((network, head, 16) for network in ("y1", "r18") for head in HEADS), ("y1", "GNAP", 512),
         ("r18", "GNAP", 32), ("r18", "GNAP", 40)]
SHAPE = (1, 3, 112, 112)


def drawn(symbol, shape=SHAPE, seed=1):
    """Parameters as a trained network might have them, by name, as numpy: maps stay of the size of 1."""
    return draw_values(symbol, shape, lambda name: (-0.2, 0.2) if name.endswith(("beta", "mean", "bias")) else (
        (0.1, 0.4) if "relu" in name else (0.6, 1.4)), seed)


def by_mxnet(symbol, values, images, dtype="float32"):
    given = {name: mx.nd.array(value, dtype=dtype) for name, value in values.items()}
    states = {name: given.pop(name) for name in symbol.list_auxiliary_states()}
    given["data"] = mx.nd.array(images, dtype=dtype)
    bound = symbol.bind(mx.cpu(), given, aux_states=states, grad_req="null")
    return bound.forward(is_train=False)[0].asnumpy()


def by_onnxruntime(symbol, values, shape=SHAPE, convert=to_onnx):
    model = convert(symbol, {name: mx.nd.array(value) for name, value in values.items()}, shape)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"data": images})[0]


def images(count, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count, *SHAPE[1:])).astype(np.float32)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Networks of few channels and blocks: the exporters write millions of numbers one by one."""
    monkeypatch.setitem(symbols.MOBILEFACENETS, "y1", (1, 1, 1, 1))
    monkeypatch.setattr(fresnet, "STEM", 8)
    monkeypatch.setattr(fresnet, "FILTERS", (8, 16, 16, 32))


def built(network, emb_size, head):
    return symbols.build(network, emb_size, head, net_multiplier=0.25 if network == "y1" else 1.0)


@pytest.mark.parametrize("network, head, emb_size", CASES)
def test_onnxruntime_gives_the_same(network, head, emb_size):
    symbol = built(network, emb_size, head)
    values = drawn(symbol)
    run = by_onnxruntime(symbol, values)
    for count in (1, 3):
        found, expected = run(images(count)), by_mxnet(symbol, values, images(count))
        assert found.shape == (count, emb_size)
        assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("network, head, emb_size", [*(("r18", head, 16) for head in HEADS), ("y1", "GDC", 16),
                                                     ("y1", "GNAP", 16), ("r18", "GNAP", 32), ("r18", "GNAP", 40)])
def test_mxnets_exporter_takes_it_too(network, head, emb_size):
    symbol = built(network, emb_size, head)
    values = drawn(symbol)
    run = by_onnxruntime(symbol, values, convert=traced_onnx)
    for count in (1, 3):
        found, expected = run(images(count)), by_mxnet(symbol, values, images(count))
        assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("head, emb_size", [(head, 16) for head in HEADS] + [("GNAP", 40)])
def test_a_network_can_be_cast(head, emb_size):
    symbol = symbols.build("r18", emb_size, head)
    types = dict.fromkeys(("data", *(name for name in symbol.list_arguments() if name.endswith("weight"))), np.float16)
    assert symbol.infer_type(**types)[1] == [np.float16]  # MXNet's CPU multiplies no float16 matrices
    values = drawn(symbol)
    double = by_mxnet(symbol, values, images(2), "float64")
    assert double.dtype == np.float64
    single = by_mxnet(symbol, values, images(2))
    assert np.linalg.norm(double - single) < 1e-5 * np.linalg.norm(double)


@pytest.mark.parametrize("reweight", [True, False])
def test_the_block_can_be_cast(reweight, dtype="float64"):
    maps = np.random.RandomState(3).normal(0, 1, (2, 6, 4, 4))
    maps[1] = 0
    outputs = []
    for kind in ("float32", dtype):
        block = GNAP(6, first_bn=False, reweight=reweight)
        block.initialize()
        block.cast(kind)
        block.hybridize()
        outputs.append(block(mx.nd.array(maps, dtype=kind)).asnumpy())
    assert outputs[1].dtype == np.dtype(dtype)
    assert np.allclose(*outputs, rtol=1e-2, atol=1e-2) and (outputs[1][1] == 0).all()


class WithoutProducts:
    """mx.nd, with the two operators that MXNet's CPU does not have for float16 computed by others."""

    def __getattr__(self, name):
        return getattr(mx.nd, name)

    @staticmethod
    def Convolution(data, weight, **_):
        return mx.nd.sum(mx.nd.broadcast_mul(data, weight), axis=1, keepdims=True)

    @staticmethod
    def batch_dot(left, right):
        return mx.nd.sum(mx.nd.broadcast_mul(left, right.transpose((0, 2, 1))), axis=2, keepdims=True)


@pytest.mark.parametrize("mean_over", ["image", "batch"])
def test_the_equations_hold_in_float16(mean_over):
    maps = np.random.RandomState(3).normal(0, 1, (4, 6, 4, 5)).astype(np.float16)
    maps[1], maps[2, :, 1, 2], maps[3] = 0, 0, maps[3] * np.float16(0.01)
    single = maps.astype(np.float64)
    norms = np.sqrt(np.square(single).sum(axis=1))
    mean = norms.mean(axis=(1, 2), keepdims=True) if mean_over == "image" else norms.mean()
    weights = np.divide(mean, norms, out=np.zeros_like(norms), where=norms > 0)
    expected = (single * weights[:, None]).mean(axis=(2, 3))
    found = norm_aware_pooling(WithoutProducts(), mx.nd.array(maps, dtype=np.float16), 6, True, mean_over).asnumpy()
    assert found.dtype == np.float16 and (found[1] == 0).all()
    np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("convert", [to_onnx, traced_onnx])
@pytest.mark.parametrize("mean_over", ["image", "batch"])
def test_the_block_leaves_too(tmp_path, mean_over, convert):
    maps = np.random.RandomState(3).normal(0, 1, (3, 6, 4, 4)).astype(np.float32)
    maps[1, :, 2] = 0
    block = GNAP(6, mean_over=mean_over)
    block.initialize()
    block.hybridize()
    expected = block(mx.nd.array(maps)).asnumpy()
    block.export(str(tmp_path / "block"))
    symbol, arguments, states = mx.model.load_checkpoint(str(tmp_path / "block"), 0)
    found = by_onnxruntime(symbol, {**arguments, **states}, (1, 6, 4, 4), convert)(maps)
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_gnap_has_no_constants_of_its_own():
    nodes = json.loads(symbols.build("y1", 128, "GNAP").tojson())["nodes"]
    assert not {"_ones", "_zeros", "_greater_equal_scalar"} & {node["op"] for node in nodes}
    assert not any("dtype" in node.get("attrs", {}) for node in nodes)

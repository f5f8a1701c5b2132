"""Graphs that other programs save: InsightFace's training graphs with their losses, and MXNet's mixed precision."""
import json
import math
import types

import cv2
import mxnet as mx
import numpy as np
import pytest
from mxnet.contrib import amp
from small_nets import draw_trained, small_symbol

from inference.embedder import Embedder
from inference.graph_file import checked_graph
from inference.identity_means import CheckpointSpec, MeanEmbedder
from inference.model import in_float32, load_model

SIZE, CLASSES, SCALE = 32, 10, 64.0


@pytest.fixture
def network():
    """The symbol of a small network and its values."""
    symbol = small_symbol(16)
    return symbol, draw_trained(symbol, (1, 3, SIZE, SIZE))


def embedded(prefix):
    images = np.random.RandomState(1).randint(0, 256, (4, SIZE, SIZE, 3)).astype(np.uint8)
    (views,) = Embedder(*in_float32(*load_model(str(prefix), 1)), [mx.cpu()], 4, (SIZE, SIZE)).embed([images])
    return views[0]


def save(prefix, symbol, values, states):
    mx.model.save_checkpoint(str(prefix), 1, symbol, {name: value for name, value in values.items()
                                                      if name not in states},
                             {name: value for name, value in values.items() if name in states})


def training_graph(embedding, loss_type, margin=0.5, easy=False):
    """The symbol that InsightFace's train_softmax.py of 2018 trains, and saves whole: embedding, fc7, margin, loss."""
    s, label = mx.sym, mx.sym.Variable("softmax_label")
    weight = s.L2Normalization(s.Variable("fc7_weight", shape=(CLASSES, 16)), mode="instance")
    fc7 = s.FullyConnected(s.L2Normalization(embedding, mode="instance", name="fc1n") * SCALE, weight, no_bias=True,
                           num_hidden=CLASSES, name="fc7")
    own = s.pick(fc7, label, axis=1)
    cosine = own / SCALE
    if loss_type == 2:
        fc7 = fc7 - s.one_hot(label, depth=CLASSES, on_value=SCALE * margin, off_value=0.0)
    elif loss_type == 4:
        above = s.Activation(cosine if easy else cosine - math.cos(math.pi - margin), act_type="relu")
        moved = (cosine * math.cos(margin) - s.sqrt(1.0 - cosine * cosine) * math.sin(margin)) * SCALE
        kept = own if easy else own - SCALE * math.sin(math.pi - margin) * margin
        change = s.expand_dims(s.where(above, moved, kept) - own, 1)
    elif loss_type == 5:
        change = s.expand_dims((s.cos(s.arccos(cosine) * 0.9 + margin) - 0.15) * SCALE - own, 1)
    if loss_type in (4, 5):
        fc7 = fc7 + s.broadcast_mul(s.one_hot(label, depth=CLASSES, on_value=1.0, off_value=0.0), change)
    return s.Group([s.BlockGrad(embedding), s.SoftmaxOutput(fc7, label, name="softmax", normalization="valid")])


@pytest.mark.parametrize("loss", [dict(loss_type=0), dict(loss_type=2, margin=0.35), dict(loss_type=4),
                                  dict(loss_type=4, easy=True), dict(loss_type=5)])
def test_a_training_graph_of_insightface_gives_its_embedding(tmp_path, network, loss):
    symbol, values = network
    states = symbol.list_auxiliary_states()
    save(tmp_path / "plain", symbol, values, states)
    values["fc7_weight"] = mx.nd.ones((CLASSES, 16))
    save(tmp_path / "whole", training_graph(symbol, **loss), values, states)
    np.testing.assert_array_equal(embedded(tmp_path / "whole"), embedded(tmp_path / "plain"))


@pytest.mark.parametrize("optional", [False, True])
def test_mixed_precision_of_mxnet_is_computed_in_float32(tmp_path, network, optional):
    symbol, values = network
    states = symbol.list_auxiliary_states()
    save(tmp_path / "plain", symbol, values, states)
    arguments = {name: value for name, value in values.items() if name not in states}
    mixed = amp.convert_model(symbol, arguments, {name: values[name] for name in states}, target_dtype="float16",
                              cast_optional_params=optional)
    mx.model.save_checkpoint(str(tmp_path / "mixed"), 1, *mixed, remove_amp_cast=False)
    assert "amp_" not in in_float32(*load_model(str(tmp_path / "mixed"), 1))[0].tojson(remove_amp_cast=False)
    assert "amp_cast" in (tmp_path / "mixed-symbol.json").read_text()
    np.testing.assert_allclose(embedded(tmp_path / "mixed"), embedded(tmp_path / "plain"), rtol=0.02, atol=0.02)
    done, png = cv2.imencode(".png", np.random.RandomState(1).randint(0, 256, (SIZE, SIZE, 3)).astype(np.uint8))
    faces = types.SimpleNamespace(path="faces", read=lambda number: png.tobytes(), where=str)
    means = [MeanEmbedder(CheckpointSpec(str(tmp_path / name), 1, "cpu:0"), (SIZE, SIZE)).means(faces, [np.array([0])])
             for name in ("mixed", "plain")]
    np.testing.assert_allclose(*means, rtol=0.02, atol=0.02)


def test_a_constant_in_float16_is_computed_in_float32(tmp_path):
    half = mx.sym.Cast(mx.sym.Variable("data"), dtype="float16")
    half = mx.sym.broadcast_add(half, mx.sym.ones((1, 3, SIZE, SIZE), dtype="float16"))
    symbol = mx.sym.FullyConnected(half, name="fc1", num_hidden=5, no_bias=True)
    weight = np.random.RandomState(0).normal(0, 0.1, (5, 3 * SIZE * SIZE)).astype(np.float16)
    save(tmp_path / "net", symbol, {"fc1_weight": mx.nd.array(weight, dtype="float16")}, ())
    images = np.random.RandomState(1).randint(0, 256, (4, SIZE, SIZE, 3)).astype(np.float64)
    expected = (images.transpose(0, 3, 1, 2) + 1).reshape(4, -1) @ weight.astype(np.float64).T
    np.testing.assert_allclose(embedded(tmp_path / "net"), expected, rtol=1e-4, atol=1e-2)


def test_operators_of_one_name_are_told_apart_and_variables_are_not():
    data = mx.sym.Variable("data")
    graph = json.loads(((data * 2) + (data * 3)).tojson())
    products = [node for node in graph["nodes"] if node["op"] == "_mul_scalar"]
    products[1]["name"] = products[0]["name"]  # as of a loaded symbol that another program multiplies once more
    symbol = mx.sym.load_json(checked_graph(json.dumps(graph)))
    assert len(set(symbol.get_internals().list_outputs())) == 4
    assert symbol.bind(mx.cpu(), {"data": mx.nd.ones(1)}).forward()[0].asscalar() == 5
    products[0]["name"] = products[1]["name"] = "fc1"  # which of the two would be meant?
    assert not any(name.startswith("fc1_output") for name in mx.sym.load_json(
        checked_graph(json.dumps(graph))).get_internals().list_outputs())
    products[1]["name"] = "data"
    with pytest.raises(ValueError, match="two nodes are named data"):
        checked_graph(json.dumps(graph))

"""`deploy export --slim`: an MXNet checkpoint of plain operators with the same embeddings."""
from __future__ import annotations

import json

import mxnet as mx
import numpy as np
import pytest
from small_nets import draw_parameters, draw_trained, forward, in_doubles, small_symbol, wrongly_fused_symbol
from small_sets import write_verification_set

import symbols
from common.errors import RunError, UserError
from deploy import slim
from deploy.__main__ import main
from deploy.agreement import plain_onnx
from inference.model import load_model
from symbols import fresnet

SIZE = 48


def pixels(count, size=SIZE):
    return np.random.RandomState(0).randint(0, 256, (count, size, size, 3)).astype(np.uint8)


@pytest.fixture
def place(tmp_path):
    symbol = small_symbol(16)
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, *draw_parameters(symbol, (SIZE, SIZE), seed=1))
    return tmp_path


def slimmed(place, *flags, out="slim", size=SIZE):
    return main(["export", "--slim", "--model", str(place / "net,3"), "--out", str(place / out), "--image-size",
                 f"{size},{size}", *map(str, flags)])


def unit(array):
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_plain_mxnet_loads_it_and_gives_the_same(place, capsys):
    write_verification_set(place / "faces.bin", pairs=20, size=SIZE)
    slimmed(place, "--bins", place / "faces.bin")
    plain = mx.model.load_checkpoint(str(place / "net"), 3)
    made = mx.model.load_checkpoint(str(place / "slim"), 3)
    operators = {node["op"] for node in json.loads((place / "slim-symbol.json").read_text())["nodes"]}
    assert operators <= {"null", "Convolution", "FullyConnected", "Activation", "elemwise_add", "Flatten",
                         "_minus_scalar", "_mul_scalar"}
    assert made[0].list_outputs() == ["fc1_output"] and not made[2]
    np.testing.assert_allclose(unit(forward(*made, pixels(5))), unit(forward(*plain, pixels(5))), atol=1e-5)
    assert load_model(str(place / "slim"), 3)[0].list_outputs() == ["fc1_output"]  # other commands take it too
    told = capsys.readouterr().out
    assert "times as fast" in told and "faces, slim" in told and "TPR at FPR 0.1% is not given" in told


@pytest.mark.parametrize("network, head, emb_size", [("y1", "GDC", 16), ("r18", "E", 16), ("r18", "GNAP", 32)])
def test_networks_and_heads(tmp_path, monkeypatch, network, head, emb_size):
    monkeypatch.setattr(fresnet, "STEM", 8)
    monkeypatch.setattr(fresnet, "FILTERS", (8, 16, 16, 32))
    monkeypatch.setattr("deploy.export.measure", lambda *given: {"before": 1.0, "slim": 1.0})
    symbol = symbols.build(network, emb_size, head)
    values = draw_trained(symbol, (1, 3, 112, 112))
    auxiliary = {name: values.pop(name) for name in symbol.list_auxiliary_states()}
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, values, auxiliary)
    slimmed(tmp_path, size=112)
    made = mx.model.load_checkpoint(str(tmp_path / "slim"), 3)
    assert "LeakyReLU" not in {node["op"] for node in json.loads(made[0].tojson())["nodes"]}
    images = pixels(2, 112)
    expected = forward(symbol, values, auxiliary, images)
    np.testing.assert_allclose(unit(forward(*made, images)), unit(expected), atol=1e-5)


def test_a_wrong_fold_is_seen_and_nothing_is_written(place, monkeypatch):
    right = slim.fold

    def wrong(*given):
        symbol, arguments, auxiliary = right(*given)
        arguments["conv_bias"] = arguments["conv_bias"] + 1e-2
        return symbol, arguments, auxiliary
    monkeypatch.setattr(slim, "fold", wrong)
    before = sorted(place.iterdir())
    with pytest.raises(RunError, match="folded, it differs"):
        slimmed(place)
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize("first, why", [(False, "largest difference"), (True, "cannot be bound")])
def test_a_network_that_mxnet_fuses_wrongly_leaves_by_the_ways_out(tmp_path, monkeypatch, first, why):
    symbol = wrongly_fused_symbol(first)
    given = draw_parameters(symbol, (SIZE, SIZE))
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, *given)
    with pytest.raises(RunError, match=rf"fused operators.* do not compute this network folded \(.*{why}.*MXNET_SUB"):
        slimmed(tmp_path)
    assert not list(tmp_path.glob("slim*"))
    out, images, exact = tmp_path / "net.onnx", pixels(3), unit(in_doubles(symbol, *given, pixels(3)))
    main(["export", "--model", str(tmp_path / "net,3"), "--out", str(out), "--image-size", f"{SIZE},{SIZE}"])
    data = images.transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(unit(plain_onnx(out.read_bytes())(data)), exact, atol=1e-6)
    monkeypatch.setenv("MXNET_SUBGRAPH_BACKEND", "NONE")
    loaded = mx.model.load_checkpoint(str(tmp_path / "net"), 3)
    np.testing.assert_allclose(unit(forward(*loaded, images)), exact, atol=1e-6)


def test_rounding_of_the_original_alone_is_not_taken_for_a_wrong_fold(place):
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(place / "net"), 3)
    arguments["pre_fc1_bias"] += 1 << 17  # of which the last BatchNorm subtracts as much, once the product is rounded
    auxiliary["fc1_moving_mean"] += 1 << 17
    mx.model.save_checkpoint(str(place / "net"), 3, symbol, arguments, auxiliary)
    slimmed(place)
    doubles = [{name: value.astype("float64") for name, value in each.items()} for each in (arguments, auxiliary)]
    doubles[0]["data"] = mx.nd.array(pixels(5).transpose(0, 3, 1, 2), dtype="float64")
    exact = symbol.bind(mx.cpu(), doubles[0], aux_states=doubles[1], grad_req="null").forward()[0].asnumpy()
    plain = forward(symbol, arguments, auxiliary, pixels(5))
    found = forward(*mx.model.load_checkpoint(str(place / "slim"), 3), pixels(5))
    assert abs(unit(found) - unit(exact)).max() < 2e-6 and abs(unit(plain) - unit(exact)).max() > 1e-5


def test_a_name_that_is_not_utf8(place):
    slimmed(place, out="s\udce9")
    name, written = str(place / "s\udce9"), load_model(str(place / "s\udce9"), 3)
    slimmed(place, "--model", f"{name},3", out="again")
    assert written[1] and (place / "again-0003.params").is_file()


def test_refusals(place):
    for flags, out, text in ((("--insightface", "mine"), "slim", "leave --slim out"),
                             ((), "net", "net-symbol.json.*--overwrite")):
        with pytest.raises(UserError, match=text):
            slimmed(place, *flags, out=out)
    slimmed(place, out="a.onnx")  # the ending of the other kind is taken off
    assert (place / "a-symbol.json").is_file() and (place / "a-0003.params").is_file()


def test_the_graph_of_other_checkpoints_is_not_replaced(place):
    symbol = small_symbol(16)
    slimmed(place)
    other = mx.sym.FullyConnected(symbol, num_hidden=16, name="more")
    other = mx.sym.BatchNorm(other, name="fc2")
    mx.model.save_checkpoint(str(place / "other"), 4, other, *draw_parameters(other, (SIZE, SIZE), seed=2))
    before = (place / "slim-symbol.json").read_bytes()
    with pytest.raises(UserError, match="slim-symbol.json: is the graph of slim-0003.params too"):
        main(["export", "--slim", "--model", str(place / "other,4"), "--layer", "fc2", "--out", str(place / "slim"),
              "--overwrite", "--image-size", f"{SIZE},{SIZE}"])
    assert (place / "slim-symbol.json").read_bytes() == before and not (place / "slim-0004.params").exists()
    slimmed(place, "--overwrite")


def test_a_layer_named_by_its_output_keeps_its_name(place):
    slimmed(place, "--layer", "fc1_output")
    assert mx.sym.load(str(place / "slim-symbol.json")).list_outputs() == ["fc1_output"]

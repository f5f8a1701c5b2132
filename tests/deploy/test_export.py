"""`deploy export`: what it writes gives MXNet's embeddings, as InsightFace's loader feeds it, and says what it is."""
from __future__ import annotations

import hashlib
import json

import cv2
import mxnet as mx
import numpy as np
import onnx
import onnxruntime
import pytest
from small_nets import draw_parameters, draw_trained, forward, small_symbol
from small_sets import write_verification_set

import symbols
from common.errors import RunError, UserError
from deploy import export
from deploy.__main__ import main
from symbols import fresnet

SIZE = 48


@pytest.fixture
def place(tmp_path):
    """A checkpoint of a small network, and pairs."""
    symbol = small_symbol(16)
    arguments, auxiliary = draw_parameters(symbol, (SIZE, SIZE), seed=1)
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, arguments, auxiliary)
    write_verification_set(tmp_path / "faces.bin", pairs=20, size=SIZE)
    return tmp_path


def exported(place, *flags, out="a.onnx", model="net,3", size=f"{SIZE},{SIZE}"):
    return main(["export", "--model", str(place / model), "--out", str(place / out), "--image-size", size,
                 *map(str, flags)])


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"data": images})[0]


def pixels(count, size=SIZE, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count, size, size, 3)).astype(np.uint8)


def chw(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def test_the_input_size_is_that_of_the_run_where_no_flag_names_it(place):
    config = {"prefix": str(place / "net"), "resolved": {"image_size": [SIZE, SIZE]}}
    (place / "config.json").write_text(json.dumps(config))
    assert main(["export", "--model", str(place / "net,3"), "--out", str(place / "a.onnx")]) in (0, None)
    model = onnx.load(str(place / "a.onnx"))
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:] == [3, SIZE, SIZE]


def test_the_file_gives_mxnets_embeddings_and_the_card_says_what_it_is(place, capsys):
    assert exported(place, "--bins", place / "faces.bin") in (0, None)
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(place / "net"), 3)
    for count in (1, 5):
        found = run(place / "a.onnx", chw(pixels(count)))
        np.testing.assert_allclose(found, forward(symbol, arguments, auxiliary, pixels(count)), rtol=1e-4, atol=1e-5)
    card = json.loads((place / "a.json").read_text())
    content = (place / "a.onnx").read_bytes()
    assert card["sha256"] == hashlib.sha256(content).hexdigest() and card["bytes"] == len(content)
    source = hashlib.sha256((place / "net-symbol.json").read_bytes() + (place / "net-0003.params").read_bytes())
    assert card["model"]["sha256"] == source.hexdigest()
    assert card["input"]["shape"] == ["N", 3, SIZE, SIZE] and card["output"]["shape"] == ["N", 16]
    assert card["normalisation"]["mean"] == 127.5 and card["normalisation"]["scale"] == 1 / 128
    assert card["normalisation"]["inside"] and card["batch"] == "any"
    assert 0 < card["check"]["largest_relative_difference"] < 1e-5
    rows = card["scores"]["faces"]
    for name in ("accuracy", "eer", "auc", "tpr"):
        assert rows["MXNet"][name] == pytest.approx(rows["ONNX"][name], abs=1e-9)
    assert rows["differences"]["ONNX"]["largest_difference"] < 1e-5
    assert "faces, ONNX: largest difference" in capsys.readouterr().out


class Loader:
    """InsightFace's rule of how a recognition model is fed, written anew from its description."""

    def __init__(self, path):
        first = [node.name for node in onnx.load(str(path)).graph.node[:8]]
        starts = [any(name.startswith(words) for name in first) for words in (("Sub", "_minus"), ("Mul", "_mul"))]
        self.mean, self.scale = (0.0, 1.0) if all(starts) else (127.5, 1 / 127.5)
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (data,), (self.output,) = self.session.get_inputs(), self.session.get_outputs()  # of each exactly one
        self.input, (number, _, height, width) = data.name, data.shape
        assert isinstance(number, str) and height == width
        self.size = (width, height)

    def feature(self, image):
        """The embedding of an aligned BGR image, as OpenCV reads it."""
        blob = cv2.dnn.blobFromImages([image], self.scale, self.size, (self.mean,) * 3, swapRB=True)
        return self.session.run([self.output.name], {self.input: blob})[0]


def test_insightface_feeds_raw_pixels(place):
    exported(place)
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(place / "net"), 3)
    image = pixels(1)
    expected = forward(symbol, arguments, auxiliary, image)
    np.testing.assert_allclose(Loader(place / "a.onnx").feature(image[0, :, :, ::-1]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network, head, emb_size, size", [
    ("y1", "GDC", 24, 112), ("y1", "GNAP", 24, 112), ("r18", "E", 24, 112), ("r18", "FC", 24, 96),
    ("r18", "GAP", 32, 80), ("r18", "GNAP", 32, 128), ("r18", "GNAP", 40, 112)])
def test_every_head_leaves(tmp_path, monkeypatch, network, head, emb_size, size):
    monkeypatch.setattr(fresnet, "STEM", 8)
    monkeypatch.setattr(fresnet, "FILTERS", (8, 16, 16, 32))
    symbol = symbols.build(network, emb_size, head)
    values = draw_trained(symbol, (1, 3, size, size))
    auxiliary = {name: values.pop(name) for name in symbol.list_auxiliary_states()}
    arguments = dict(values)
    classifier = mx.sym.FullyConnected(symbol, num_hidden=7, name="fc7")
    arguments["fc7_weight"], arguments["fc7_bias"] = mx.nd.ones((7, emb_size)), mx.nd.ones(7)
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, mx.sym.SoftmaxOutput(classifier, name="softmax"), arguments,
                             auxiliary)
    exported(tmp_path, size=f"{size},{size}")
    found = run(tmp_path / "a.onnx", chw(pixels(3, size)))
    expected = forward(symbol, values, auxiliary, pixels(3, size))
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)
    graph = onnx.load(str(tmp_path / "a.onnx")).graph
    assert not {"Greater", "Cast", "MatMul"} & {node.op_type for node in graph.node}  # GNAP's equations are seen
    assert not any("fc7" in tensor.name for tensor in graph.initializer)


def test_a_gluon_export_leaves(tmp_path):
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(4, 3, strides=2), mx.gluon.nn.BatchNorm(scale=False, epsilon=2e-5), mx.gluon.nn.PReLU(),
            mx.gluon.nn.Dense(6))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    data = mx.nd.array(chw(pixels(2)))
    expected = net(data).asnumpy()
    net.export(str(tmp_path / "net"))
    exported(tmp_path, model="net,0")
    np.testing.assert_allclose(run(tmp_path / "a.onnx", data.asnumpy()), expected, rtol=1e-4, atol=1e-4)
    card = json.loads((tmp_path / "a.json").read_text())
    assert card["normalisation"]["inside"] is False
    assert Loader(tmp_path / "a.onnx").scale == 1.0  # what was fed raw in MXNet is fed raw there


@pytest.mark.parametrize("normalise", [lambda data: data / 128, lambda data: mx.sym.BatchNorm(data, name="bn_data")])
def test_another_normalisation_inside_is_not_taken_for_none(tmp_path, normalise):
    symbol = mx.sym.FullyConnected(mx.sym.Flatten(normalise(mx.sym.Variable("data"))), name="fc1", num_hidden=5)
    arguments, auxiliary = draw_parameters(symbol, (SIZE, SIZE))
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, arguments, auxiliary)
    exported(tmp_path)
    assert json.loads((tmp_path / "a.json").read_text())["normalisation"]["inside"] is None
    images = pixels(2)
    np.testing.assert_allclose(run(tmp_path / "a.onnx", chw(images)), forward(symbol, arguments, auxiliary, images),
                               rtol=1e-3, atol=1e-2)


def test_a_float16_checkpoint_leaves_as_float32(tmp_path):
    data = mx.sym.Cast((mx.sym.Variable("data") - 127.5) * 0.0078125, dtype="float16")
    body = mx.sym.Convolution(data, name="conv", num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True)
    symbol = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.Cast(body, dtype="float32")), name="fc1", num_hidden=5)
    random = np.random.RandomState(0)
    conv = random.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float16)
    dense, bias = random.normal(0, 0.1, (5, 4 * 23 * 23)), random.normal(0, 1, 5)
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, {
        "conv_weight": mx.nd.array(conv, dtype="float16"), "fc1_weight": mx.nd.array(dense),
        "fc1_bias": mx.nd.array(bias)}, {})
    exported(tmp_path)
    images = pixels(2)
    scaled = (chw(images).astype(np.float64) - 127.5) / 128
    windows = np.lib.stride_tricks.sliding_window_view(scaled, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    maps = np.einsum("nchwij,fcij->nfhw", windows, conv.astype(np.float64))
    np.testing.assert_allclose(run(tmp_path / "a.onnx", chw(images)), maps.reshape(2, -1) @ dense.T + bias, rtol=1e-4,
                               atol=1e-4)


def test_a_difference_is_seen_and_nothing_is_written(place, monkeypatch):
    right = export.to_onnx

    def wrong(symbol, parameters, shape):
        model = right(symbol, parameters, shape)
        slopes = next(tensor for tensor in model.graph.initializer if tensor.name == "relu_gamma")
        slopes.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(slopes) + 1e-2, "relu_gamma"))
        return model
    monkeypatch.setattr(export, "to_onnx", wrong)
    before = sorted(place.iterdir())
    with pytest.raises(RunError, match="differs from MXNet on 12 synthetic images"):
        exported(place)
    assert sorted(place.iterdir()) == before


def test_a_network_that_mixes_its_batch_is_reported(tmp_path, caplog):
    conv = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=3, kernel=(1, 1), no_bias=True, name="conv")
    symbol = mx.sym.identity(symbols.gnap.norm_aware_pooling(mx.sym, conv, 3, mean_over="batch"), name="fc1")
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, {
        "conv_weight": mx.nd.array(np.random.RandomState(0).normal(0, 1, (3, 3, 1, 1)))}, {})
    exported(tmp_path)
    assert "one at a time" in caplog.text
    assert json.loads((tmp_path / "a.json").read_text())["batch"].startswith("one image at a time")


def test_insightfaces_folder(tmp_path):
    symbol = small_symbol(16)
    arguments, auxiliary = draw_parameters(symbol, (112, 112))
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, arguments, auxiliary)
    folder = tmp_path / "models" / "mine"
    exported(tmp_path, "--insightface", folder, size="112,112")
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "a.onnx", "manifest.json"]
    assert (folder / "a.onnx").read_bytes() == (tmp_path / "a.onnx").read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    task = manifest["tasks"]["recognition"]
    assert (manifest["manifest_version"], manifest["model_id"]) == (2, "mine")
    assert task == {"file": "a.onnx", "sha256": hashlib.sha256((folder / "a.onnx").read_bytes()).hexdigest(),
                    "input_size": [112, 112], "embedding_dimension": 16, "preprocessing": "embedded"}
    with pytest.raises(UserError, match="--overwrite"):
        exported(tmp_path, "--insightface", folder, out="b.onnx", size="112,112")
    # A detector that somebody put beside it stays, with its task.
    (folder / "det.onnx").write_bytes(b"detector")
    manifest["tasks"]["detection"] = {"file": "det.onnx"}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    exported(tmp_path, "--insightface", folder, "--overwrite", out="b.onnx", size="112,112")
    assert sorted(path.name for path in folder.iterdir()) == ["b.json", "b.onnx", "det.onnx", "manifest.json"]
    again = json.loads((folder / "manifest.json").read_text())["tasks"]
    assert again["detection"] == {"file": "det.onnx"} and again["recognition"]["file"] == "b.onnx"
    exported(tmp_path, "--insightface", folder, "--overwrite", size="112,112")
    with pytest.raises(UserError, match="holds det.onnx, which is not its recognition model"):
        exported(tmp_path, "--insightface", folder, "--overwrite", out="det.onnx", size="112,112")
    with pytest.raises(UserError, match="lies in --insightface"):
        exported(tmp_path, "--insightface", tmp_path / "models", out="models/c.onnx", size="112,112")
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter").write_text("one")
    with pytest.raises(UserError, match="holds no such manifest.json"):
        exported(tmp_path, "--insightface", other, "--overwrite", size="112,112")
    assert (other / "chapter").read_text() == "one"


@pytest.mark.parametrize("flags, text", [
    (dict(out="a.bin"), "ends in .onnx"), (dict(model="net"), "PREFIX,EPOCH"), (dict(model="net,4"), "there is no"),
    (dict(size="112,112"), "--image-size"), (dict(flags=("--layer", "fc9")), "layer.* fc9: .*has no such layer"),
    (dict(flags=("--insightface", "mine")), "InsightFace recognises"), (dict(flags=("--bins", "no.bin")), "no.bin"),
    (dict(flags=("--int8", "no.rec")), "no.rec: there is no such file"),
    (dict(flags=("--bins", "few.bin")), "few.bin: 4 pairs are fewer than 10 folds$")])  # no --folds to advise
def test_refusals_come_before_work(place, monkeypatch, flags, text):
    flags = dict(flags)
    write_verification_set(place / "few.bin", pairs=4, size=SIZE)
    monkeypatch.chdir(place)
    monkeypatch.setattr(export, "convert", lambda checkpoint: pytest.fail("work has begun"))
    before = sorted(place.iterdir())
    with pytest.raises(UserError, match=text) as told:
        exported(place, *flags.pop("flags", ()), **flags)
    assert "\n" not in str(told.value) and sorted(place.iterdir()) == before


def test_what_is_there_is_replaced_by_overwrite_alone(place):
    (place / "a.json").write_text("mine")
    with pytest.raises(UserError, match="a.json.*--overwrite"):
        exported(place)
    exported(place, "--overwrite")
    assert json.loads((place / "a.json").read_text())["format"] == "ONNX"


def test_weights_that_are_not_finite_are_reported(place):
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(place / "net"), 3)
    arguments["conv2_weight"][0] = np.nan
    mx.model.save_checkpoint(str(place / "bad"), 1, symbol, arguments, auxiliary)
    with pytest.raises(RunError, match="NaN or infinity"):
        exported(place, model="bad,1")


def test_the_published_mobilefacenet(tmp_path, shared_data):
    exported(shared_data / "weights", out=tmp_path / "y1.onnx", model="mobilefacenet-y1-ms1m,0", size="112,112")
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(shared_data / "weights/mobilefacenet-y1-ms1m"), 0)
    images = pixels(2, 112)
    expected = forward(symbol, arguments, auxiliary, images)
    found = np.concatenate([Loader(tmp_path / "y1.onnx").feature(image[:, :, ::-1]) for image in images])
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)

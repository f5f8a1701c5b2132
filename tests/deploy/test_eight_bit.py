"""`deploy export --int8`: 8 bits near to float, norms and small ends kept, and what that costs is told."""
from __future__ import annotations

import hashlib
import json

import mxnet as mx
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from small_nets import draw_trained
from small_onnx import small_onnx
from small_sets import write_training_set, write_verification_set

import symbols
from common.errors import UserError
from deploy import eight_bit
from deploy.__main__ import main
from deploy.calibration import read_calibration
from deploy.equalise import equalise
from images.codec import decode
from inference.onnx_file import feeds_raw_pixels
from recordio_tools.records.dataset import open_dataset
from symbols import fresnet
from symbols.onnx_export import to_onnx

SIZE = 48


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(fresnet, "STEM", 8)
    monkeypatch.setattr(fresnet, "FILTERS", (8, 16, 16, 32))


def run(model, images, outputs=None):
    content = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(outputs, {"data": images})


def images(count, size=SIZE, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count, 3, size, size)).astype(np.float32)


def built(network="r18", head="GNAP", emb_size=32, spread=0.0):
    """A network as ONNX; spread: by how many powers of ten the channels of its maps are apart."""
    symbol = symbols.build(network, emb_size, head)
    values = draw_trained(symbol, (1, 3, SIZE, SIZE))
    random = np.random.RandomState(2)
    for name in values:
        if name.endswith("_gamma") and "relu" not in name:
            values[name] *= mx.nd.array(10 ** random.uniform(-spread, 0, values[name].shape))
    return symbol, values, to_onnx(symbol, values, (1, 3, SIZE, SIZE))


@pytest.mark.parametrize("network", ["r18", "y1"])
def test_equalising_changes_ranges_and_no_embedding(narrow, network):
    _, _, model = built(network, spread=2.0)
    before = run(model, images(4))[0]
    slopes = [node.output[0] for node in model.graph.node if node.op_type == "PRelu"]

    def widths(of):
        """By map, how many times as wide as its narrow channels the widest is."""
        telling = onnx.ModelProto()
        telling.CopyFrom(of)
        telling.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in slopes)
        ranges = [np.abs(array).max(axis=(0, 2, 3)) for array in run(telling, images(4), slopes)]
        return np.mean([np.log10(range_.max() / np.median(range_)) for range_ in ranges])
    wide = widths(model)
    assert equalise(model, images(4)) > 5
    assert widths(model) < 0.7 * wide
    assert np.linalg.norm(run(model, images(4))[0] - before) < 1e-5 * np.linalg.norm(before)


@pytest.fixture
def place(tmp_path, narrow):
    symbol, values, _ = built()
    auxiliary = {name: values.pop(name) for name in symbol.list_auxiliary_states()}
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, values, auxiliary)
    write_training_set(tmp_path / "data", identities=6, images=8, size=SIZE)
    return tmp_path


def eight(place, *flags):
    return main(["export", "--model", str(place / "net,3"), "--out", str(place / "a.onnx"), "--image-size",
                 f"{SIZE},{SIZE}", "--int8", str(place / "data/train.rec"), "--calibration-images", "24",
                 *map(str, flags)])


def test_the_command(place, capsys):
    write_verification_set(place / "faces.bin", pairs=20, size=SIZE)
    eight(place, "--bins", place / "faces.bin")
    told = capsys.readouterr().out
    content = (place / "a.onnx").read_bytes()
    card = json.loads((place / "a.json").read_text())
    assert card["sha256"] == hashlib.sha256(content).hexdigest() and card["opset"] == 13
    row = card["quantisation"]
    assert row["calibration_images"] == 24 and row["held_out_images"] == 16 and row["bytes"] == len(content)
    assert row["float_bytes"] > 2 * row["bytes"] and set(row["images_per_s"]) == {"ONNX", "8 bit"}
    assert set(card["scores"]["faces"]) == {"differences", "MXNet", "ONNX", "8 bit"}
    assert all(text in told for text in ("times as small", "times as fast", "faces, 8 bit",
                                        "TPR at FPR 0.1% is not given"))
    graph = onnx.load_model_from_string(content).graph
    assert feeds_raw_pixels([node.name for node in graph.node])
    # Against the float network, whose embeddings are MXNet's.
    _, _, model = built()
    given = images(16, seed=5) // 16 * 8 + 64
    float_, found = run(model, given)[0], run(content, given)[0]
    cosines = (float_ * found).sum(1) / np.linalg.norm(float_, axis=1) / np.linalg.norm(found, axis=1)
    assert found.shape == (16, 32) and cosines.min() > 0.9
    # Weights are of 8 bits with a scale for each filter, and what GNAP computes is of floats.
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    quantised = [node for node in convolutions if node.input[1] in makers]
    assert len(quantised) > 15
    for node in quantised:
        weights = makers[node.input[1]]
        assert weights.op_type == "DequantizeLinear" and stored[weights.input[0]].dtype == np.int8
        assert stored[weights.input[1]].shape == stored[weights.input[0]].shape[:1]
    sums = [node for node in convolutions if node.name.endswith("_sums")]
    assert len(sums) == 1 and makers[sums[0].input[0]].op_type == "Mul" and sums[0].input[1] in stored


@pytest.mark.parametrize("count, held_out, expected", [(24, 16, (24, 16)), (40, 20, (32, 16)), (10, 5, (10, 5))])
def test_no_image_is_both_calibrated_on_and_held_out(tmp_path, count, held_out, expected):
    """Of 48 images, a third at most is held out."""
    dataset = open_dataset(write_training_set(tmp_path / "data", identities=6, images=8, size=SIZE))
    every = {decode(dataset.record_file.read(key).content).tobytes() for key in dataset.keys.tolist()}
    assert len(every) == 48
    calibrating, held = read_calibration(tmp_path / "data/train.rec", count, held_out, (SIZE, SIZE))
    assert (len(calibrating), len(held)) == expected and calibrating.dtype == np.float32
    pixels = [{one.transpose(1, 2, 0).astype(np.uint8).tobytes() for one in some} for some in (calibrating, held)]
    assert tuple(map(len, pixels)) == expected and not pixels[0] & pixels[1] and pixels[0] | pixels[1] <= every


def test_refusals(place):
    write_training_set(place / "large", size=SIZE + 8)
    write_training_set(place / "few", identities=2, images=2, size=SIZE)
    for data, text in (("large", "is 56x56, the model takes 48x48"), ("few", "holds 4 images; 16 are needed")):
        with pytest.raises(UserError, match=text):
            eight(place, "--int8", place / data / "train.rec")
    assert not (place / "a.onnx").exists()


def test_a_graph_whose_first_nodes_no_longer_show_it_takes_raw_pixels_all_the_same():
    from onnx import helper

    from deploy.eight_bit import _normalising_first
    data, fc1 = (helper.make_tensor_value_info(name, 1, ["N", 4]) for name in ("data", "fc1"))
    relu = helper.make_node("Relu", ["data"], ["fc1"], "Relu_0")
    unpacking = [helper.make_node("Identity", ["w"], [f"w{number}"], f"w{number}_unpacked") for number in range(9)]
    weight = numpy_helper.from_array(np.ones(1, np.float32), "w")
    made, model = (helper.make_model(helper.make_graph(nodes, "g", [data], [fc1], [weight]), ir_version=7,
                                     opset_imports=[helper.make_opsetid("", 13)])
                   for nodes in ([*unpacking, relu], [relu]))
    found = _normalising_first(made, model)
    assert feeds_raw_pixels([node.name for node in found.graph.node])
    given = np.float32([[-3, 0, 7, 255]])
    session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"data": given})[0], np.maximum(given, 0))


def test_first_and_last_layer_stay_float_where_that_takes_a_quarter_off_the_error(narrow, monkeypatch):
    """Of 1 - 0.9, with all layers in 8 bits: 1 - 0.925 is three quarters."""
    content = built()[2].SerializeToString()
    layers = [node.name for node in onnx.load_model_from_string(content).graph.node if node.op_type in ("Conv", "Gemm")]
    sums = [name for name in layers if name.endswith("_sums")]
    for cosine, kept in ((0.924, False), (0.926, True), (0.5, False)):
        cosines, asked = iter([0.9, cosine]), []
        monkeypatch.setattr(eight_bit, "_cosine", lambda expected, found, cosines=cosines: next(cosines))
        monkeypatch.setattr(eight_bit, "_quantised", lambda model, images, left, what, asked=asked: asked.append(
            left) or content)
        found = eight_bit.quantise(content, images(8), images(4))
        assert found.kept == ([layers[0]] if kept else []) and found.cosine == (cosine if kept else 0.9)
        assert len(sums) == 1 and asked == [sums, [layers[0], *sums]]


def test_a_network_whose_layers_have_no_names_is_computed_in_eight_bits_all_the_same(narrow):
    model = built()[2]
    for node in model.graph.node:
        node.ClearField("name")
    found = eight_bit.quantise(model.SerializeToString(), images(8), images(4))
    made = onnx.load_model_from_string(found.content).graph.node
    packed = {name for node in made if node.op_type == "DequantizeLinear" for name in node.output}
    convolutions = [node for node in made if node.op_type == "Conv"]
    assert len(convolutions) > 10 and sum(node.input[0] in packed for node in convolutions) >= len(convolutions) - 2
    assert all(found.kept) and found.cosine > 0.5


def test_a_network_without_a_layer_for_eight_bits_is_refused():
    model, _ = small_onnx()
    with pytest.raises(UserError, match=r"none of the layers that are computed in 8 bits \(Conv, Gemm, Add\)"):
        eight_bit.quantise(model.SerializeToString(), images(4), images(4))

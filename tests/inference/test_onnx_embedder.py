"""ONNX files embed as numpy computes them: batches of any length, mirror images, pixels fed as their makers mean."""
from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from onnx import helper
from small_onnx import by_numpy, small_onnx

from common.errors import RunError, UserError
from inference.onnx_embedder import OnnxEmbedder
from inference.onnx_file import feeds_raw_pixels, read_onnx

SIZE = (12, 10)


def draw(count, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count, *SIZE, 3)).astype(np.uint8)


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("flip", [False, True])
def test_embeddings_are_those_of_numpy(tmp_path, batch, flip):
    _, weight = small_onnx(tmp_path / "a.onnx", batch=batch)
    embedder = OnnxEmbedder(tmp_path / "a.onnx", batch_size=23)
    assert (embedder.image_size, embedder.dimension, embedder.batch_size) == (SIZE, 5, 23)
    images = draw(30)
    parts = list(embedder.embed(iter([images[:23], images[23:]]), flip))
    assert [part.shape for part in parts] == [(1 + flip, 23, 5), (1 + flip, 7, 5)]
    found = np.concatenate(parts, axis=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], by_numpy(weight, images), rtol=1e-4, atol=1e-4)
    if flip:
        np.testing.assert_allclose(found[1], by_numpy(weight, images[:, :, ::-1]), rtol=1e-4, atol=1e-4)


def test_a_network_that_does_not_normalise_is_fed_as_insightface_feeds_it(tmp_path):
    _, weight = small_onnx(tmp_path / "a.onnx", names=("Conv_1", "Conv_2"))
    found = np.concatenate([part[0] for part in OnnxEmbedder(tmp_path / "a.onnx").embed([draw(3)])])
    np.testing.assert_allclose(found, by_numpy(weight, draw(3), 127.5, 1 / 127.5), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("names, raw", [
    (["Sub_0", "Mul_1"], True), (["_minusscalar0", "_mulscalar0"], True), (["Mul", "Conv", "Sub"], True),
    (["Sub_0", "Conv_0"], False), (["net_Sub", "net_Mul"], False), (["Conv"] * 7 + ["Sub", "Mul"], False),
    (["bn_data", "conv0"], True), (["a", "b", "c", "bn_data"], False), ([], False)])
def test_whether_pixels_go_in_as_they_are(names, raw):
    assert feeds_raw_pixels(names) is raw


def test_the_bytes_and_their_digest(tmp_path):
    model, _ = small_onnx(tmp_path / "a.onnx")
    content = (tmp_path / "a.onnx").read_bytes()
    assert read_onnx(tmp_path / "a.onnx").sha256 == hashlib.sha256(content).hexdigest()
    assert np.array_equal(*(next(OnnxEmbedder(source).embed([draw(2)])) for source in (content, tmp_path / "a.onnx")))


def refused(path, text, **settings):
    with pytest.raises(UserError, match=text) as told:
        OnnxEmbedder(path, **settings)
    assert "\n" not in str(told.value) and str(path) in str(told.value)


def test_what_is_not_such_a_network_is_refused_in_one_line(tmp_path):
    path = tmp_path / "a.onnx"
    refused(path, "no such file")
    refused(tmp_path, "regular file")
    path.write_bytes(b"\x08\x07 not a protobuf \xff")
    refused(path, "not an ONNX file")
    path.write_bytes(b"")
    refused(path, "no nodes")
    small_onnx(path, outputs=2)
    refused(path, "1 inputs and 2 outputs; .* onnx.utils.extract_model cuts it out")
    onnx.utils.extract_model(str(path), str(tmp_path / "one.onnx"), ["data"], ["fc1"])
    assert OnnxEmbedder(tmp_path / "one.onnx").dimension == 5
    small_onnx(path)
    refused(path, "takes images of 12x10, not of 112x112", image_size=(112, 112))
    model, _ = small_onnx()
    model.opset_import.append(helper.make_opsetid("my.domain", 1))
    model.graph.node[2].domain = "my.domain"
    path.write_bytes(model.SerializeToString())
    refused(path, "operators of my.domain")
    for kind, shape, said in ((10, ["N", 3, 12, 10], r"is \(\?, 3, 12, 10\) in FLOAT16"),
                              (2, [1, 12, 10, 3], r"is \(1, 12, 10, 3\) in UINT8")):
        model, _ = small_onnx()
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("data", kind, shape))
        path.write_bytes(model.SerializeToString())
        refused(path, f"{said}; export it with")


def ending(op, **attributes):
    """The small network with a node of `op` behind its product, as bytes; an attribute `shape` is a constant."""
    model, weight = small_onnx()
    model.graph.node[3].output[0] = "product"
    inputs = ["product"]
    if "shape" in attributes:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(attributes.pop("shape")), "shape"))
        inputs.append("shape")
    model.graph.node.append(helper.make_node(op, inputs, ["fc1"], "last", **attributes))
    return model, weight


@pytest.mark.parametrize("kind", [onnx.TensorProto.INT64, onnx.TensorProto.UINT8, onnx.TensorProto.BOOL, None])
def test_whole_numbers_and_sequences_are_no_embeddings(tmp_path, kind):
    model, _ = ending("Cast", to=kind) if kind else ending("SequenceConstruct")
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("fc1", kind, ["N", 5]) if kind else
                                   helper.make_tensor_sequence_value_info("fc1", 1, ["N", 5]))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    refused(tmp_path / "a.onnx", "its output fc1 is not floating-point numbers")


@pytest.mark.parametrize("shape, said", [([1, -1], r"is of shape \(1, 15\) for 3 images"),
                                         ([1, 5], "does not compute it for 3 images")])
def test_a_network_that_is_for_single_images_after_all_says_so(tmp_path, shape, said):
    model, weight = ending("Reshape", shape=shape)
    with pytest.raises(RunError, match=f"{said}.*; `batch_size` 1 gives it one at a time"):
        list(OnnxEmbedder(model.SerializeToString(), batch_size=4096).embed([draw(3)]))
    found = [views[0] for views in OnnxEmbedder(model.SerializeToString(), 1).embed([draw(3)[:1], draw(3)[1:2]])]
    np.testing.assert_allclose(np.concatenate(found), by_numpy(weight, draw(3)[:2]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("change, said", [
    (lambda model: setattr(model, "ir_version", 99), "IR version: 99, max supported"),
    (lambda model: setattr(model.opset_import[0], "version", 99), "is till opset [0-9]+"),
    (lambda model: setattr(model.graph.node[3], "op_type", "NoSuch"), "No Op registered for NoSuch")])
def test_why_onnxruntime_does_not_load_a_file_is_told(tmp_path, change, said):
    model, _ = small_onnx()
    change(model)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=said) as caught:
        OnnxEmbedder(tmp_path / "a.onnx")
    assert "onnxruntime_src" not in str(caught.value) and len(str(caught.value)) < 400 + len(str(tmp_path))


def test_weights_in_other_files_are_refused(tmp_path):
    model, _ = small_onnx()
    tensor = model.graph.initializer[2]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../elsewhere")
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    refused(tmp_path / "a.onnx", "in other files")


def test_an_open_image_size_has_to_be_given_and_to_fit(tmp_path):
    model, weight = small_onnx()
    lengths = model.graph.input[0].type.tensor_type.shape.dim
    lengths[0].dim_value = lengths[2].dim_value = -1  # some exporters write this for a dynamic one
    lengths[3].dim_param = "width"
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    refused(path, "has a dynamic image size")
    refused(path, "does not compute it for 1 images of 16x16", image_size=(16, 16))
    found = next(OnnxEmbedder(path, image_size=SIZE).embed([draw(2)]))[0]
    np.testing.assert_allclose(found, by_numpy(weight, draw(2)), rtol=1e-4, atol=1e-4)

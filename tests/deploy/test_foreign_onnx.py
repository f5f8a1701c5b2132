"""`deploy export --model X.onnx`: files by others take raw pixels and any number of images, and stay what they are."""
from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from small_onnx import by_numpy, small_onnx
from small_sets import write_training_set, write_verification_set

from common.errors import UserError
from deploy.__main__ import main
from inference.onnx_file import feeds_raw_pixels

SIZE = (24, 24)


def exported(place, *flags, model="theirs.onnx"):
    return main(["export", "--model", str(place / model), "--out", str(place / "ours.onnx"), *map(str, flags)])


def images(count):
    return np.random.RandomState(0).randint(0, 256, (count, *SIZE, 3)).astype(np.uint8)


def run(path, given):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [value.name for value in (*session.get_inputs(), *session.get_outputs())] == ["data", "fc1"]
    return session.run(None, {"data": given.transpose(0, 3, 1, 2).astype(np.float32)})[0]


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("names, mean, scale", [(("Sub_1", "Mul_1"), 0.0, 1.0), (("a", "b"), 127.5, 1 / 127.5)])
def test_raw_pixels_and_any_number_of_images(tmp_path, batch, names, mean, scale):
    _, weight = small_onnx(tmp_path / "theirs.onnx", names=names, batch=batch, size=SIZE)
    exported(tmp_path)
    found = run(tmp_path / "ours.onnx", images(5))
    np.testing.assert_allclose(found, by_numpy(weight, images(5), mean, scale), rtol=1e-4, atol=1e-4)
    graph = onnx.load(str(tmp_path / "ours.onnx")).graph
    assert feeds_raw_pixels([node.name for node in graph.node])
    card = json.loads((tmp_path / "ours.json").read_text())
    assert card["input"]["shape"] == ["N", 3, *SIZE] and card["batch"] == "any"
    assert card["check"]["largest_relative_difference"] < 1e-5


def test_other_names_of_input_and_output_make_place(tmp_path):
    model, weight = small_onnx(size=SIZE)
    swapped = {"data": "input.1", "fc1": "683", "a": "data", "b": "fc1"}
    for node in model.graph.node:
        for listed in (node.input, node.output):
            for place, name in enumerate(listed):
                listed[place] = swapped.get(name, name)
    model.graph.input[0].name, model.graph.output[0].name = "input.1", "683"
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    exported(tmp_path)
    found = run(tmp_path / "ours.onnx", images(3))
    np.testing.assert_allclose(found, by_numpy(weight, images(3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind, shape", [(1, ["N", 5, 1, 1]), (10, ["N", 5, 1, 1]), (1, None)])
def test_an_embedding_that_is_a_map_is_flattened(tmp_path, kind, shape):
    """In float32 or float16, and where the file does not say what shape it has."""
    model, weight = small_onnx(size=SIZE)
    model.graph.node[3].output[0] = "flat_embedding"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, -1, 1, 1]), "shape"))
    model.graph.node.append(onnx.helper.make_node("Reshape", ["flat_embedding", "shape"], ["map"], "map"))
    model.graph.node.append(onnx.helper.make_node("Cast", ["map"], ["fc1"], "cast", to=kind))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("fc1", kind, shape))
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    exported(tmp_path)
    found = run(tmp_path / "ours.onnx", images(3))
    assert found.shape == (3, 5)
    near = 1e-4 if kind == 1 else 1e-3
    np.testing.assert_allclose(found, by_numpy(weight, images(3)), rtol=near, atol=near)
    assert json.loads((tmp_path / "ours.json").read_text())["output"]["shape"] == ["N", 5]


def test_a_file_that_cannot_be_run_at_all_is_called_that(tmp_path):
    model, _ = small_onnx(size=SIZE)
    model.graph.node[2].op_type = "Unheard"
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="theirs.onnx: onnxruntime does not load it"):
        exported(tmp_path)


def test_scores_and_eight_bits(tmp_path):
    model, _ = small_onnx(size=SIZE)
    product = model.graph.node[3]
    product.op_type = "Gemm"
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    write_training_set(tmp_path / "data", identities=4, images=8, size=SIZE[0])
    write_verification_set(tmp_path / "faces.bin", pairs=20, size=SIZE[0])
    exported(tmp_path, "--int8", tmp_path / "data/train.rec", "--bins", tmp_path / "faces.bin")
    card = json.loads((tmp_path / "ours.json").read_text())
    assert set(card["scores"]["faces"]) == {"differences", "as it was", "ONNX", "8 bit"}
    assert card["quantisation"]["mean_cosine"] > 0.95


@pytest.mark.parametrize("flags, text", [(("--slim",), "leave --slim out"), (("--layer", "fc1"), "leave --layer out"),
                                         (("--image-size", "112,112"), "takes images of 24x24, not of 112x112")])
def test_refusals(tmp_path, flags, text):
    small_onnx(tmp_path / "theirs.onnx", size=SIZE)
    with pytest.raises(UserError, match=text):
        exported(tmp_path, *flags)
    assert not (tmp_path / "ours.onnx").exists()


def test_the_oldest_files_are_valid_afterwards(tmp_path):
    """IR 3 lists initialisers among the inputs, and "ai.onnx" is another name of the operators without a domain."""
    model, weight = small_onnx(names=("a", "b"), size=SIZE)
    model.ir_version, model.opset_import[0].version, model.opset_import[0].domain = 3, 8, "ai.onnx"
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    exported(tmp_path)
    onnx.checker.check_model(str(tmp_path / "ours.onnx"))
    found = run(tmp_path / "ours.onnx", images(3))
    np.testing.assert_allclose(found, by_numpy(weight, images(3), 127.5, 1 / 127.5), rtol=1e-4, atol=1e-4)
    assert json.loads((tmp_path / "ours.json").read_text())["opset"] == 8


@pytest.mark.parametrize("batch", ["N", 1])
def test_an_output_that_joins_the_images_of_a_batch_is_refused(tmp_path, batch):
    """As view(1, -1) in PyTorch: right for single images alone."""
    model, _ = small_onnx(batch=batch, size=SIZE)
    model.graph.node[3].output[0] = "rows"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, -1]), "shape"))
    model.graph.node.append(onnx.helper.make_node("Reshape", ["rows", "shape"], ["fc1"], "view"))
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"several images at once \(its output is of shape \(1, 15\) for 3 images\)"):
        exported(tmp_path)
    assert not (tmp_path / "ours.onnx").exists()


def test_the_card_says_what_is_known(tmp_path):
    """Of the normalisation of pixels, and of the embedding's type and length."""
    model, _ = small_onnx(size=SIZE)
    model.graph.node[3].output[0] = "product"
    model.graph.node.append(onnx.helper.make_node("LpNormalization", ["product"], ["unit"], "unit", axis=1, p=2))
    model.graph.node.append(onnx.helper.make_node("Cast", ["unit"], ["fc1"], "cast", to=onnx.TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    exported(tmp_path)
    card = json.loads((tmp_path / "ours.json").read_text())
    assert card["output"] == {"name": "fc1", "type": "float64", "shape": ["N", 5], "normalised": True}
    assert card["normalisation"]["formula"] == "(x - 1.5) * 0.01" and card["normalisation"]["inside"] is True
    model.graph.node[1].op_type = "Div"  # by the name Mul_1, and of a number that is none of a Mul
    del model.graph.node[4:]
    model.graph.node[3].output[0], model.graph.output[0].type.tensor_type.elem_type = "fc1", onnx.TensorProto.FLOAT
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    exported(tmp_path, "--overwrite")
    card = json.loads((tmp_path / "ours.json").read_text())
    assert card["output"]["type"] == "float32" and card["output"]["normalised"] is False
    assert card["normalisation"]["inside"] is None and card["normalisation"]["scale"] is None


def test_a_file_of_four_images_at_once_is_refused(tmp_path):
    small_onnx(tmp_path / "theirs.onnx", batch=4, size=SIZE)
    with pytest.raises(UserError, match="a fixed batch of 4 images"):
        exported(tmp_path)


def test_eight_bits_of_graphs_with_constants_stay_normalised_inside(tmp_path):
    """Subtraction, product and a weight take their numbers from Constant nodes, as some exporters write them."""
    from onnx import helper, numpy_helper

    from inference.onnx_file import read_onnx
    random = np.random.RandomState(3)

    def constant(name, value):
        return helper.make_node("Constant", [], [name], f"Constant_{name}",
                                value=numpy_helper.from_array(np.float32(value)))
    nodes = [constant("mean", [127.5]), helper.make_node("Sub", ["data", "mean"], ["less"], "Sub_1"),
             constant("scale", [1 / 128]), helper.make_node("Mul", ["less", "scale"], ["x0"], "Mul_3"),
             constant("w0", random.normal(0, 0.3, (8, 3, 3, 3))),
             helper.make_node("Conv", ["x0", "w0"], ["x1"], "Conv_0", strides=[2, 2])]
    weights = {}
    for number in range(1, 5):
        weights[f"w{number}"] = random.normal(0, 0.15, (8, 8, 3, 3))
        nodes += [helper.make_node("Relu", [f"x{2 * number - 1}"], [f"x{2 * number}"], f"Relu_{number}"),
                  helper.make_node("Conv", [f"x{2 * number}", f"w{number}"], [f"x{2 * number + 1}"], f"Conv_{number}",
                                   pads=[1, 1, 1, 1])]
    weights["dense"] = random.normal(0, 0.1, (8 * 11 * 11, 6))
    nodes += [helper.make_node("Flatten", ["x9"], ["flat"], "Flatten_0"),
              helper.make_node("Gemm", ["flat", "dense"], ["fc1"], "Gemm_0")]
    model = helper.make_model(helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("data", 1, ["N", 3, *SIZE])],
        [helper.make_tensor_value_info("fc1", 1, ["N", 6])],
        [numpy_helper.from_array(np.float32(value), name) for name, value in weights.items()]),
        opset_imports=[helper.make_opsetid("", 14)], ir_version=7)
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    write_training_set(tmp_path / "data", identities=4, images=8, size=SIZE[0])
    assert read_onnx(tmp_path / "theirs.onnx").mean == 0
    exported(tmp_path)
    assert json.loads((tmp_path / "ours.json").read_text())["normalisation"]["scale"] == 1 / 128
    exported(tmp_path, "--int8", tmp_path / "data/train.rec", "--image-size", "24,24", "--overwrite")
    made = read_onnx(tmp_path / "ours.onnx")
    assert (made.mean, made.scale) == (0.0, 1.0)
    session = onnxruntime.InferenceSession(str(tmp_path / "theirs.onnx"), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"data": images(5).transpose(0, 3, 1, 2).astype(np.float32)})[0]
    found = run(tmp_path / "ours.onnx", images(5))
    cosines = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > 0.8
    (tmp_path / "ours.onnx").rename(tmp_path / "theirs.onnx")
    with pytest.raises(UserError, match="--int8: the network is in 8 bits already"):
        exported(tmp_path, "--int8", tmp_path / "data/train.rec", "--overwrite")

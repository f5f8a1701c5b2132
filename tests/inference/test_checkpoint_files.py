"""Checkpoints that may be a stranger's: each damaged or hostile file is one line, and MXNet never sees it."""
from __future__ import annotations

import json
import os
import struct

import mxnet as mx
import numpy as np
import pytest
from small_nets import draw_parameters, small_symbol

import symbols
from common.errors import UserError
from inference.embedder import check_parameters
from inference.graph_file import checked_graph
from inference.model import load_model, read_parameters, read_symbol
from inference.param_file import V1, V2, V3, ParameterFile
from symbols.float16_graph import to_float16
from symbols.shapes import infer_shapes

SIZE = (20, 28)
F32 = struct.pack("<iii", 1, 0, 0)
ONE = np.float32(1).tobytes()


def params(*arrays, names=("arg:w",), count=None, end=b""):
    """The bytes of a .params file of these arrays, each its header and values."""
    encoded = b"".join(struct.pack("<Q", len(name.encode())) + name.encode() for name in names)
    return (struct.pack("<QQQ", 0x112, 0, len(arrays) if count is None else count) + b"".join(arrays)
            + struct.pack("<Q", len(names)) + encoded + end)


def dense(shape, values, version=V2, kind=0, store=0):
    header = {V1: struct.pack("<I", V1), V2: struct.pack("<Ii", V2, store), V3: struct.pack("<Ii", V3, store)}
    if version == 0:
        return struct.pack(f"<I{len(shape)}I", len(shape), *shape) + struct.pack("<iii", 1, 0, kind) + values
    return header[version] + struct.pack(f"<i{len(shape)}q", len(shape), *shape) \
        + struct.pack("<iii", 1, 0, kind) + values


@pytest.mark.parametrize("version", [0, V1, V2, V3])
def test_headers_of_every_age(tmp_path, version):
    path = tmp_path / "x-0001.params"
    path.write_bytes(params(dense((2, 3), np.arange(6, dtype=np.float32).tobytes(), version)))
    found = read_parameters(str(tmp_path / "x"), 1, "--model")[0]["w"]
    if version != V3:  # which MXNet reads in its numpy mode alone
        assert np.array_equal(found.asnumpy(), mx.nd.load(str(path))["arg:w"].asnumpy())
    assert np.array_equal(found.asnumpy(), np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "uint8", "int8", "int32", "int64"])
def test_what_mxnet_writes_is_read_alike(tmp_path, kind):
    path = tmp_path / "x.params"
    given = {"arg:a": mx.nd.arange(6, dtype=kind).reshape((1, 2, 3)), "aux:ü": mx.nd.ones((1,), dtype=kind)}
    mx.nd.save(str(path), given)
    with open(path, "rb") as stream:
        found = ParameterFile(stream).read_all()
    assert list(found) == list(given)
    for name, value in given.items():
        assert found[name].dtype == value.dtype and np.array_equal(found[name].asnumpy(), value.asnumpy())


BAD_PARAMS = {
    "empty": b"", "magic": b"no parameters at all, but long enough",
    "count": params(dense((1,), ONE), count=1 << 60), "one too many": params(dense((1,), ONE), count=2),
    "negative": params(dense((-1,), ONE)), "two negative": params(dense((-2, -2), ONE * 4)),
    "zero": params(dense((0,), b"")), "huge": params(dense((1 << 40, 1 << 40), ONE)),
    "wraps": params(dense((1 << 32, 1 << 32), ONE)), "huge, old": params(dense((0xFFFFFFFF,), ONE, 0)),
    "no axes": params(dense((), ONE)), "many axes": params(dense((1,) * 32, ONE)),
    "negative axes": params(struct.pack("<Iii", V2, 0, -5) + F32 + ONE),
    "csr": params(dense((1,), ONE, store=2)), "row_sparse": params(dense((1,), ONE, store=1)),
    "type": params(dense((1,), ONE, kind=12)), "type -1": params(dense((1,), ONE, kind=-1)),
    "device": params(struct.pack("<Iiiqiii", V2, 0, 1, 1, -9, 0, 0) + ONE),
    "names": params(dense((1,), ONE), names=("arg:a", "arg:b")), "twice": params(*[dense((1,), ONE)] * 2,
                                                                                 names=("arg:a", "arg:a")),
    "long name": params(dense((1,), ONE), names=()) [:-8] + struct.pack("<QQ", 1, 1 << 50),
    "zero byte": params(dense((1,), ONE), names=("arg:\0",)), "behind": params(dense((1,), ONE), end=b"x"),
    "unnamed": params(dense((1,), ONE), names=()), "not arg": params(dense((1,), ONE), names=("w",)),
}


@pytest.mark.parametrize("case", BAD_PARAMS)
def test_damaged_parameters_are_one_line(tmp_path, case):
    (tmp_path / "x-0001.params").write_bytes(BAD_PARAMS[case])
    said = r"x-0001\.params: (is not an MXNet parameter file \(|holds no parameters)"
    with pytest.raises(UserError, match=said) as told:
        read_parameters(str(tmp_path / "x"), 1, "--model")
    assert "\n" not in str(told.value) and "src/" not in str(told.value)


def test_a_file_with_a_hole_takes_no_memory(tmp_path):
    path = tmp_path / "x-0001.params"
    size = 1 << 42
    head = struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<Iiiqiii", V2, 0, 1, size, 1, 0, 3)
    with open(path, "wb") as stream:
        stream.write(head)
        try:
            stream.seek(size, os.SEEK_CUR)
            stream.write(struct.pack("<QQ", 1, 5) + b"arg:w")
        except OSError:
            pytest.skip("this file system has no such files")
    with pytest.raises(UserError, match="MiB of memory are free"):
        read_parameters(str(tmp_path / "x"), 1, "--model")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir])
def test_what_has_no_end_is_not_read(tmp_path, make):
    make(str(tmp_path / "x-symbol.json"))
    make(str(tmp_path / "x-0001.params"))
    with pytest.raises(UserError, match="is not a regular file"):
        read_symbol(str(tmp_path / "x"), "--model")
    with pytest.raises(UserError, match="is not a regular file"):
        read_parameters(str(tmp_path / "x"), 1, "--model")


@pytest.mark.parametrize("network, options", [("y1", {}), ("y2", {}), ("r18", {"version_se": 1, "version_act": "relu"}),
                                              ("r34", {"version_unit": 1})])
@pytest.mark.parametrize("head", ["E", "FC", "GDC", "GAP", "GNAP"])
def test_every_network_passes_unchanged(network, options, head):
    symbol = symbols.build(network, 600 if head == "GNAP" else 128, head, **options)
    for given in (symbol, to_float16(symbol)):
        found = mx.sym.load_json(checked_graph(given.tojson()))
        assert found.list_outputs() == given.list_outputs()
        assert infer_shapes(found, (1, 3, 112, 112)) == infer_shapes(given, (1, 3, 112, 112))


def test_foreign_networks_pass(shared_data):
    for path in sorted((shared_data / "weights").glob("**/*-symbol.json")):
        assert read_symbol(str(path)[:-len("-symbol.json")], "--model").list_outputs()


def graph():
    return json.loads(small_symbol().tojson())


def of(found, op):
    return next(node for node in found["nodes"] if node["op"] == op)


def with_attribute(op, key, text):
    def change(found):
        of(found, op).setdefault("attrs", {})[key] = text
    return change


def with_operator(op, **attributes):
    def change(found):
        found["nodes"].append({"op": op, "name": "mine", "inputs": [[0, 0, 0]], "attrs": attributes})
        found["heads"] = [[len(found["nodes"]) - 1, 0, 0]]
    return change


def put(key, value, op=None):
    def change(found):
        (of(found, op) if op else found)[key] = value
    return change


BAD_GRAPHS = {
    **{op: with_operator(op, **attributes) for op, attributes in {
        "_NDArray": {"info": "4096"}, "_Native": {"info": "4096", "need_top_grad": "True"}, "_foreach": {},
        "Custom": {"op_type": "x"}, "_CrossDeviceCopy": {}, "_contrib_dgl_subgraph": {}, "Embedding": {},
        "_CachedOp": {}, "_FusedOp": {}, "": {}, "Deconvolution": {}, "RNN": {}, "_load": {}}.items()},
    "groups 0": with_attribute("Convolution", "num_group", "0"),
    "groups that do not divide": with_attribute("Convolution", "num_group", "3"),
    "groups -1": with_attribute("Convolution", "num_group", "-1"),
    "kernel 0": with_attribute("Convolution", "kernel", "(0, 0)"),
    "kernel -3": with_attribute("Convolution", "kernel", "(-3, 3)"),
    "kernel huge": with_attribute("Convolution", "kernel", "(99999999999999999999, 3)"),
    "kernel of one": with_attribute("Convolution", "kernel", "(3,)"),
    "kernel of text": with_attribute("Convolution", "kernel", "(three, 3)"),
    "stride 0": with_attribute("Convolution", "stride", "(0, 1)"),
    "pad -1": with_attribute("Convolution", "pad", "(-1, -1)"),
    "pad huge": with_attribute("Convolution", "pad", "(1000000, 1000000)"),
    "filters": with_attribute("Convolution", "num_filter", "2147483647"),
    "filters no number": with_attribute("Convolution", "num_filter", "²"),
    "hidden": with_attribute("FullyConnected", "num_hidden", "-5"),
    "eps": with_attribute("BatchNorm", "eps", "nan"), "axis": with_attribute("BatchNorm", "axis", "7"),
    "outputs": with_attribute("BatchNorm", "output_mean_var", "True"),
    "act_type": with_attribute("LeakyReLU", "act_type", "rrelu"),
    "unknown": with_attribute("Convolution", "strides", "(1, 1)"),
    "no text": with_attribute("Convolution", "num_filter", 4),
    "variable shape": with_attribute("null", "__shape__", "(-5, 3)"),
    "slices 0": with_operator("SliceChannel", num_outputs="0"), "ones": with_operator("_ones", shape="(99999,99999)"),
    "random at inference": with_operator("Dropout", p="0.5", mode="always"),
    "reshape": with_operator("Reshape", shape="(-4, -1, 0)"), "reshape to nothing": with_operator("Reshape"),
    "no inputs": put("inputs", [], "Convolution"), "too few": put("inputs", [[0, 0, 0]], "Convolution"),
    "itself": put("inputs", [[6, 0, 0]] * 2, "Convolution"),
    "ahead": put("inputs", [[99, 0, 0], [0, 0, 0]], "Convolution"),
    "output": put("inputs", [[0, 7, 0], [0, 0, 0]], "Convolution"),
    "negative": put("inputs", [[-1, 0, 0]] * 2, "Convolution"),
    "float": put("inputs", [[0.5, 0, 0]] * 2, "Convolution"),
    "variable with inputs": put("inputs", [[0, 0, 0]], "null"),
    "name": put("name", "", "Convolution"), "zero byte": put("name", "a\0b", "Convolution"),
    "surrogate": put("name", "\ud800", "null"), "name no text": put("name", 5, "Convolution"),
    "op no text": put("op", ["Convolution"], "Convolution"), "inputs no list": put("inputs", 5, "Convolution"),
    "head": put("heads", [[99999, 0, 0]]), "negative head": put("heads", [[-1, 0, 0]]),
    "output head": put("heads", [[0, 1, 0]]),
    "no heads": put("heads", []), "heads no list": put("heads", 7), "huge head": put("heads", [[0, 0, 1 << 70]]),
    "nodes": put("nodes", [5]), "no nodes": put("nodes", []), "a million": put("nodes", [{"op": "null"}] * 1_000_000),
    "twice": lambda found: [node.update(name="data") for node in found["nodes"] if node["op"] == "null"],
}


@pytest.mark.parametrize("case", BAD_GRAPHS)
def test_hostile_graphs_are_one_line(tmp_path, case):
    found = graph()
    BAD_GRAPHS[case](found)
    (tmp_path / "x-symbol.json").write_text(json.dumps(found))
    with pytest.raises(UserError, match=r"x-symbol\.json: is not an MXNet symbol of a face network \(") as told:
        read_symbol(str(tmp_path / "x"), "--model")
    assert "\n" not in str(told.value) and "src/" not in str(told.value)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "5", "null", '{"nodes": {}}',
                                  '{"nodes": [1' + "0" * 5000 + "]}", "\xff"])
def test_what_is_not_a_graph_is_one_line(tmp_path, text):
    (tmp_path / "x-symbol.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="is not an MXNet symbol"):
        read_symbol(str(tmp_path / "x"), "--model")


def test_indices_of_arguments_are_counted_again():
    found = graph()
    found.update(arg_nodes=[99999, -1], node_row_ptr=[1 << 60])
    assert mx.sym.load_json(checked_graph(json.dumps(found))).list_arguments() == small_symbol().list_arguments()


def test_a_network_that_no_machine_can_compute_is_refused_before_it_is_bound():
    data = mx.sym.Variable("data")
    wide = mx.sym.Flatten(mx.sym.Convolution(data, num_filter=65536, kernel=(1, 1), name="wide"))
    long = data
    for number in range(300):
        long = mx.sym.Convolution(long, num_filter=3, num_group=3, kernel=(1, 1), name=f"c{number}")
    work = mx.sym.Convolution(data, num_filter=4096, kernel=(1, 1), name="many")
    for number in range(4):
        work = mx.sym.Convolution(work, num_filter=4096, kernel=(9, 9), pad=(4, 4), name=f"d{number}")
    for symbol, size in ((wide, 112), (long, 560), (work, 24)):
        shapes, _, _ = symbol.infer_shape(data=(1, 3, size, size))
        given = {name: np.broadcast_to(np.float32(0), shape) for name, shape in zip(symbol.list_arguments(), shapes)}
        with pytest.raises(UserError, match="for one image"):
            check_parameters(symbol, given, {}, (8, 3, size, size))


def test_shapes_of_another_network_are_refused_before_it_is_bound(tmp_path):
    """Those that no image size changes as the checkpoint is read, the others for the size that is asked for."""
    symbol = small_symbol()
    arguments, auxiliary = draw_parameters(symbol, SIZE)
    for name, shape in (("conv_weight", (4, 3, 5, 5)), ("conv_weight", (7, 3, 3, 3)),
                        ("pre_fc1_weight", (9, arguments["pre_fc1_weight"].shape[1]))):
        mx.model.save_checkpoint(str(tmp_path / "x"), 1, symbol, {**arguments, name: mx.nd.zeros(shape)}, auxiliary)
        with pytest.raises(UserError, match=rf"x-0001.params: its {name} is of shape .* of another network\?"):
            load_model(str(tmp_path / "x"), 1)
    arguments["conv_bn_beta"] = mx.nd.zeros(5)
    mx.model.save_checkpoint(str(tmp_path / "x"), 1, symbol, arguments, auxiliary)
    loaded = load_model(str(tmp_path / "x"), 1)
    with pytest.raises(UserError, match="conv_bn_beta is of shape"):
        check_parameters(*loaded, (1, 3, *SIZE))


def test_gnap_as_it_was_written_before_is_still_read():
    data = mx.sym.Variable("data")
    norms = mx.sym.sqrt(mx.sym.Convolution(mx.sym.square(data), mx.sym.ones((1, 3, 1, 1)), num_filter=1, kernel=(1, 1),
                                           no_bias=True) + 1e-30)
    relative = mx.sym.broadcast_div(norms, mx.sym.mean(norms, axis=1, keepdims=True))
    old = (relative >= 1e-6) / mx.sym.maximum(relative, 1e-6)
    assert {"_ones", "_greater_equal_scalar"} <= {node["op"] for node in json.loads(old.tojson())["nodes"]}
    read = json.loads(mx.sym.load_json(checked_graph(old.tojson())).tojson())
    assert [node["op"] for node in read["nodes"]] == [node["op"] for node in json.loads(old.tojson())["nodes"]]


@pytest.mark.parametrize("operator", ["LeakyReLU", "Convolution", "FullyConnected"])
def test_the_images_are_not_a_parameter(operator):
    data = mx.sym.Variable("data")
    network = {"LeakyReLU": lambda: mx.sym.LeakyReLU(data, gamma=mx.sym.Variable("slope"), act_type="prelu"),
               "Convolution": lambda: mx.sym.Convolution(data, mx.sym.Variable("slope"), kernel=(1, 1), num_filter=3,
                                                         no_bias=True),
               "FullyConnected": lambda: mx.sym.FullyConnected(data, mx.sym.Variable("slope"), num_hidden=4,
                                                               no_bias=True)}[operator]()
    graph = json.loads(network.tojson())
    assert checked_graph(json.dumps(graph))
    node = next(node for node in graph["nodes"] if node["op"] == operator)
    node["inputs"][1] = node["inputs"][0]  # MXNet computes with whatever stands there, and does not come to an end
    with pytest.raises(ValueError, match="that are not variables"):
        checked_graph(json.dumps(graph))

"""Every network with every head: shapes, output, which layers are there, and what wrong names say."""
import itertools
import json
from functools import lru_cache

import mxnet as mx
import numpy as np
import pytest

import symbols
from symbols import fmobilefacenet, fresnet, symbol_utils

SHAPE = (1, 3, 112, 112)
CHANNELS = 512
SIZES = (128, 512, 640)  # below, at and above the channels
HEADS = ("E", "FC", "GDC", "GAP", "GNAP")
DEPTHS = (18, 34, 49, 50, 74, 90, 98, 99, 100, 101, 124, 134, 136, 140, 152, 160, 200, 269)
BODY_END = {"r18": ("stage", "conv0", "bn0", "relu0"), "y1": ("conv_1", "conv_2", "dconv", "res_", "conv_6sep")}


def shapes_of(symbol, data=SHAPE):
    """Shapes of output and of every parameter."""
    arguments, outputs, states = symbol.infer_shape(data=data)
    names = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    return outputs[0], dict(zip(names, [*arguments, *states]))


@lru_cache(maxsize=None)
def build(network, emb_size=512, head="E", **options):
    return symbols.build(network, emb_size, head, **options)


def nodes_by_name(symbol):
    return {node["name"]: node for node in json.loads(symbol.tojson())["nodes"]}


def head_layers(head, emb_size):
    """Named layers after the body, as the table of heads says."""
    if head in ("E", "FC"):
        return ["bn1", "pre_fc1", "fc1"]
    if head == "GDC":
        return ["conv_6dw7_7_conv2d", "conv_6dw7_7_batchnorm", "pre_fc1", "fc1"]
    if head == "GAP":
        return ["bn1", "fc1"] if emb_size == CHANNELS else ["bn1", "pre_fc1", "fc1"]
    before = ["convx", "convx_bn"] if emb_size > CHANNELS else []
    return [*before, "bn6f", *(["bn6w", "pre_fc1"] if emb_size < CHANNELS else []), "fc1"]


def head_shapes(head, emb_size):
    """The parameters of those layers by name, on a 7 x 7 map."""
    inputs = CHANNELS * 49 if head in ("E", "FC") else CHANNELS
    found = {}
    for layer in head_layers(head, emb_size):
        if layer == "pre_fc1":
            found.update(pre_fc1_weight=(emb_size, inputs), pre_fc1_bias=(emb_size,))
        elif layer == "convx":
            found["convx_weight"] = (emb_size, CHANNELS, 1, 1)
        elif layer == "conv_6dw7_7_conv2d":
            found["conv_6dw7_7_conv2d_weight"] = (CHANNELS, 1, 7, 7)
        else:
            width = emb_size if layer in ("fc1", "convx_bn") or (layer == "bn6f" and emb_size > CHANNELS) else CHANNELS
            found.update({f"{layer}_{part}": (width,) for part in ("gamma", "beta", "moving_mean", "moving_var")})
    return found


@pytest.mark.parametrize("emb_size", SIZES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("network", ["r18", "y1"])
def test_a_head_has_the_parameters_of_the_table_and_no_others(network, head, emb_size):
    symbol = build(network, emb_size, head)
    assert symbol.list_outputs() == ["fc1_output"]
    output, shapes = shapes_of(symbol, (5, 3, 112, 112))
    assert output == (5, emb_size)
    rest = {name: shape for name, shape in shapes.items() if name != "data" and not name.startswith(BODY_END[network])}
    assert rest == head_shapes(head, emb_size)


@pytest.mark.parametrize("emb_size", SIZES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("network", ["r18", "y1"])
def test_only_the_last_norms_of_the_table_have_a_fixed_gamma(network, head, emb_size):
    nodes = nodes_by_name(build(network, emb_size, head))
    norms = {name: node["attrs"] for name, node in nodes.items() if node["op"] == "BatchNorm"}
    fixed = {name for name, attributes in norms.items() if attributes["fix_gamma"] == "True"}
    assert fixed == {"fc1"} | (({"bn6f", "bn6w"} & set(norms)) if head == "GNAP" else set())
    own = [name for name in head_layers(head, emb_size) if name in norms and name != "conv_6dw7_7_batchnorm"]
    assert own and all(float(norms[name]["eps"]) == 2e-5 for name in own)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("network", ["r18", "y1"])
def test_only_the_head_e_has_dropout(network, head):
    drops = [node for node in nodes_by_name(build(network, 128, head)).values() if node["op"] == "Dropout"]
    assert [float(node["attrs"]["p"]) for node in drops] == ([0.4] if head == "E" else [])


def test_gnap_beyond_the_channels_begins_with_a_relu():
    node = nodes_by_name(build("y1", 640, "GNAP"))["convx_relu"]
    assert node["op"] == "Activation" and node["attrs"]["act_type"] == "relu"


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_has_its_number_of_units(depth, head):
    output, shapes = shapes_of(build(f"r{depth}", 512, head))
    assert output == (1, 512)
    second = [name for name in shapes if name.endswith("_conv2_weight")]
    assert len(second) == sum(fresnet.UNITS[depth])
    assert shapes["stage4_unit1_conv2_weight"] == (512, 512, 3, 3)


def test_the_depths_are_those_of_the_ecosystem():
    assert tuple(fresnet.UNITS) == DEPTHS
    assert [fresnet.UNITS[depth] for depth in (18, 34, 50, 100, 152)] == [
        (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 14, 3), (3, 13, 30, 3), (3, 8, 36, 3)]


@pytest.mark.parametrize("depth", [18, 50])  # every depth has its units by the test above
def test_versions_of_lresnet(depth):
    units = sum(fresnet.UNITS[depth])
    for version_se, version_input, version_unit in itertools.product((0, 1), (0, 1), (1, 2, 3)):
        symbol = symbols.build(f"r{depth}", 256, "E", version_se=version_se, version_input=version_input,
                               version_unit=version_unit)
        output, shapes = shapes_of(symbol)
        assert output == (1, 256) and symbol.list_outputs() == ["fc1_output"]
        kernel, side = (3, 7) if version_input else (7, 4)
        assert shapes["conv0_weight"] == (64, 3, kernel, kernel)
        assert shapes["pre_fc1_weight"] == (256, 512 * side * side)
        assert len([name for name in shapes if name.endswith("_se_conv1_weight")]) == version_se * units
        if version_se:
            assert shapes["stage3_unit2_se_conv1_weight"] == (16, 256, 1, 1)
            assert shapes["stage3_unit2_se_conv2_weight"] == (256, 16, 1, 1)
        slopes = {name for name in shapes if name.startswith("stage2_unit1_relu")}
        numbers = {1: (1, 3), 2: (1, 2), 3: (1,)}[version_unit]
        assert slopes == {f"stage2_unit1_relu{number}_gamma" for number in numbers}
        assert ("stage2_unit1_bn3_gamma" in shapes) == (version_unit == 3)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("network", ["r18", "r50", "y1", "y2"])
def test_half_the_width_is_half_the_channels_of_every_layer(network, head):
    output, half = shapes_of(build(network, 256, head, net_multiplier=0.5))
    _, full = shapes_of(build(network, 512, head))
    assert output == (1, 256) and half.keys() == full.keys()
    for name, shape in full.items():
        channels, *kernel = shape
        inputs, *side = kernel or (1,)
        expected = (channels // 2, *([inputs if inputs in (1, 3) else inputs // 2] if kernel else []), *side)
        assert half[name] == (shape if name == "data" else expected)


def test_channels_of_another_width_are_in_blocks_of_16():
    _, shapes = shapes_of(build("r18", net_multiplier=0.3))
    assert [shapes[f"stage{stage}_unit1_conv1_weight"][0] for stage in (1, 2, 3, 4)] == [16, 32, 80, 160]
    _, shapes = shapes_of(build("y1", net_multiplier=1e-3))
    assert {shape[0] for name, shape in shapes.items() if name.endswith("conv2d_weight")} == {16}


@pytest.mark.parametrize("version_input, version_unit, first, second", [
    (1, 1, (112, 56, 28, 14), (56, 28, 14, 7)), (1, 2, (56, 28, 14, 7), (56, 28, 14, 7)),
    (1, 3, (112, 56, 28, 14), (56, 28, 14, 7)), (0, 1, (28, 14, 7, 4), (28, 14, 7, 4)),
    (0, 2, (28, 14, 7, 4), (28, 14, 7, 4)), (0, 3, (28, 28, 14, 7), (28, 14, 7, 4))])
def test_the_convolution_that_halves_the_map_is_the_ecosystems(version_input, version_unit, first, second):
    internals = build("r18", version_input=version_input, version_unit=version_unit).get_internals()
    _, outputs, _ = internals.infer_shape(data=SHAPE)
    shapes = dict(zip(internals.list_outputs(), outputs))
    sides = [tuple(shapes[f"stage{stage}_unit1_conv{number}_output"][2] for stage in (1, 2, 3, 4))
             for number in (1, 2)]
    assert sides == [first, second]


def test_the_depthwise_head_suits_any_image_that_leaves_a_map_of_seven():
    _, shapes = shapes_of(build("r18", 128, "GDC", version_input=0), (1, 3, 224, 224))
    assert shapes["pre_fc1_weight"] == (128, 512)


@pytest.mark.parametrize("network, units", [("y1", {"res_3": 4, "res_4": 6, "res_5": 2}),
                                            ("y2", {"res_2": 2, "res_3": 8, "res_4": 16, "res_5": 4})])
@pytest.mark.parametrize("head", HEADS)
def test_mobilefacenets_have_their_blocks(network, units, head):
    output, shapes = shapes_of(build(network, 128, head))
    assert output == (1, 128)
    counted = {}
    for name in shapes:
        if name.startswith("res_") and name.endswith("_conv_proj_conv2d_weight"):
            counted[name[:5]] = counted.get(name[:5], 0) + 1
    assert counted == units
    assert ("conv_2_dw_conv2d_weight" in shapes) == (network == "y1")


def test_another_activation_has_no_slopes():
    for network in ("r18", "y1"):
        names = build(network, 128, "GAP", version_act="relu").list_arguments()
        assert not [name for name in names if "relu" in name]


def test_momentum_of_every_norm_is_that_asked_for():
    for network, head, emb_size in (("r18", "E", 512), ("r18", "GNAP", 640), ("y1", "GDC", 128), ("y1", "GNAP", 128)):
        nodes = nodes_by_name(build(network, emb_size, head, bn_mom=0.75)).values()
        found = {float(node["attrs"]["momentum"]) for node in nodes if node["op"] == "BatchNorm"}
        assert found == {0.75}


def test_builders_and_build_say_the_same():
    pairs = [(fresnet.get_symbol(256, 34, "FC", version_se=1), build("r34", 256, "FC", version_se=1)),
             (fmobilefacenet.get_symbol(128), build("y1", 128, "GDC")),
             (fmobilefacenet.get_symbol(128, "GNAP", blocks=(2, 8, 16, 4)), build("y2", 128, "GNAP"))]
    for ours, other in pairs:
        assert shapes_of(ours) == shapes_of(other)


@pytest.mark.parametrize("network, head, emb_size, options", [
    ("r18", "GNAP", 640, dict(version_input=0, version_unit=1)), ("r18", "GDC", 128, dict(version_unit=2)),
    ("r18", "FC", 128, dict(version_input=0, version_se=1)), ("y1", "E", 128, {}), ("y2", "GAP", 512, {})])
def test_a_forward_pass_gives_finite_embeddings_that_differ(network, head, emb_size, options):
    symbol = build(network, emb_size, head, **options)
    _, shapes = shapes_of(symbol)
    random = np.random.RandomState(3)
    values = {name: mx.nd.array(random.uniform(0.2, 1, shape) if name.endswith(("gamma", "var"))
                                else random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape))
              for name, shape in shapes.items() if name != "data"}
    values["data"] = mx.nd.array(random.randint(0, 256, (2, 3, 112, 112)))
    states = {name: values[name] for name in symbol.list_auxiliary_states()}
    bound = symbol.bind(mx.cpu(), {name: values[name] for name in symbol.list_arguments()}, aux_states=states,
                        grad_req="null")
    for _ in range(2):  # the second pass in inference is where oneDNN fails on maps that are not flattened
        embedding = bound.forward(is_train=False)[0].asnumpy()
    assert embedding.shape == (2, emb_size) and np.isfinite(embedding).all()
    assert np.abs(embedding[0] - embedding[1]).max() > 1e-3


def test_the_input_is_normalised_inside():
    internals = build("y1", 128, "GDC").get_internals()
    image = mx.nd.array(np.array([0, 127.5, 255] * 4).reshape(1, 3, 2, 2))
    convolution = internals.list_outputs().index("conv_1_conv2d_output")
    first = next(number for number, name in enumerate(internals.list_outputs()) if name == "conv_1_conv2d_weight")
    assert first < convolution
    normalised = internals[first - 1].bind(mx.cpu(), {"data": image}).forward()[0].asnumpy()
    assert np.allclose(normalised, (image.asnumpy() - 127.5) / 128, atol=1e-7)


@pytest.mark.parametrize("name, near", [("r51", "r50"), ("r1", "r18"), ("y3", "y[12]"),
                                        ("resnet100", "r100")])
def test_a_wrong_network_names_the_nearest(name, near):
    with pytest.raises(ValueError, match=f"no network {name}; did you mean {near}"):
        symbols.build(name)


@pytest.mark.parametrize("call, said", [
    (lambda: build("r18", head="GNAPP"), "GNAPP.*E, FC, GDC, GAP, GNAP"),
    (lambda: build("y1", head="gdc"), "gdc.*E, FC, GDC, GAP, GNAP"),
    (lambda: symbol_utils.get_fc1(mx.sym.Variable("map"), 64, "Z"), "fc_type Z"),
    (lambda: build("r18", head="E", reweight=False), "E takes no option reweight"),
    (lambda: build("r18", head="GNAP", reweigh=False), "GNAP takes no option reweigh"),
    (lambda: build("r18", version_act="leaky"), "version_act leaky.*prelu, relu"),
    (lambda: build("y1", version_act="swish"), "version_act swish.*prelu, relu"),
    (lambda: fresnet.get_symbol(512, 51), "num_layers 51.*50"),
    (lambda: build("r18", version_input=2), "version_input 2.*0, 1"),
    (lambda: build("r18", version_unit=0), "version_unit 0.*1, 2, 3"),
    (lambda: build("r18", version_se=2), "version_se 2.*0, 1"),
    (lambda: fmobilefacenet.get_symbol(128, blocks=(1, 4, 6)), r"blocks \(1, 4, 6\)"),
    (lambda: fmobilefacenet.get_symbol(128, blocks=(1, 4, 0, 2)), "from 1")])
def test_a_wrong_value_says_what_there_is(call, said):
    with pytest.raises(ValueError, match=said):
        call()

"""Loading checkpoints, and embeddings against plain forward passes of MXNet and the reference's own."""
from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
from small_nets import draw_parameters, draw_trained, forward, in_doubles, small_symbol, wrongly_fused_symbol

from common.cli import parse_checkpoint_name
from common.errors import UserError
from deploy.checkpoint import open_checkpoint
from deploy.export import convert
from eval.scores import normalise
from images.codec import decode
from inference.embedder import Embedder
from inference.model import load_model
from symbols.graph import fixed_gammas
from symbols.prelu_rewrite import flatten_inputs

SIZE = (20, 28)
RANDOM = np.random.RandomState(5)
IMAGES = RANDOM.randint(0, 256, (11, *SIZE, 3)).astype(np.uint8)
CPUS = [mx.cpu(0), mx.cpu(1)]


@pytest.fixture(scope="module")
def net():
    symbol = small_symbol()
    return (symbol, *draw_parameters(symbol, SIZE))


def split(images, size):
    return [images[start:start + size] for start in range(0, len(images), size)]


@pytest.mark.parametrize("devices", [CPUS[:1], CPUS], ids=["one", "two"])
@pytest.mark.parametrize("batch_size", [1, 4, 5, 11, 16])
@pytest.mark.parametrize("flip", [False, True])
def test_embeddings_equal_a_plain_forward_pass(net, devices, batch_size, flip):
    embedder = Embedder(*net, devices, batch_size, SIZE)
    assert embedder.batch_size >= batch_size and embedder.dimension == 6
    found = list(embedder.embed(split(IMAGES, embedder.batch_size), flip))
    assert [part.shape[1] for part in found] == [len(part) for part in split(IMAGES, embedder.batch_size)]
    found = np.concatenate(found, axis=1)
    expected = [forward(*net, IMAGES), forward(*net, IMAGES[:, :, ::-1])][:2 if flip else 1]
    assert found.dtype == np.float32 and found.shape == (len(expected), 11, 6)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(expected[0], expected[-1], atol=0.1) or not flip


def test_an_embedding_depends_on_its_image_alone(net):
    embedder = Embedder(*net, CPUS[:1], 4, SIZE)
    first, second = (next(embedder.embed([batch])) for batch in (IMAGES[:4], np.stack([IMAGES[0], *IMAGES[7:10]])))
    assert np.allclose(first[0, 0], second[0, 0], atol=1e-6)


def test_further_training_does_not_change_the_copies(net):
    symbol, arguments, auxiliary = net[0], {n: v.copy() for n, v in net[1].items()}, net[2]
    embedder = Embedder(symbol, arguments, auxiliary, CPUS[:1], 4, SIZE)
    before = next(embedder.embed([IMAGES[:4]]))
    for value in arguments.values():
        value[:] = 0
    assert np.array_equal(before, next(embedder.embed([IMAGES[:4]])))


def test_a_map_is_flattened(net):
    symbol = net[0].get_internals()["conv2_output"]
    embedder = Embedder(symbol, net[1], net[2], CPUS, 4, SIZE)
    expected = forward(symbol, {n: net[1][n] for n in symbol.list_arguments() if n != "data"},
                       {n: net[2][n] for n in symbol.list_auxiliary_states()}, IMAGES[:3])
    assert embedder.dimension == expected[0].size
    assert np.allclose(next(embedder.embed([IMAGES[:3]]))[0], expected.reshape(3, -1), atol=1e-5)


def test_flatten_changes_neither_names_nor_values(net):
    mended = flatten_inputs(net[0])
    assert mended.list_arguments() == net[0].list_arguments() and mended.list_outputs() == net[0].list_outputs()
    assert mended.list_auxiliary_states() == net[0].list_auxiliary_states()
    assert '"Flatten"' in mended.tojson()
    assert np.array_equal(forward(mended, *net[1:], IMAGES), forward(*net, IMAGES))


def test_images_of_another_size_are_refused(net):
    with pytest.raises(UserError, match="does not take images of 28x28: its pre_fc1_weight is of shape"):
        Embedder(*net, CPUS[:1], 4, (28, 28))
    with pytest.raises(UserError, match="does not take images of 2x2"):
        Embedder(*net, CPUS[:1], 4, (2, 2))
    with pytest.raises(UserError, match="lacks its parameter fc1_beta"):
        Embedder(net[0], {n: v for n, v in net[1].items() if n != "fc1_beta"}, net[2], CPUS[:1], 4, SIZE)
    embedder = Embedder(*net, CPUS[:1], 4, SIZE)
    for batch in (IMAGES[:5], IMAGES[:4, :10], IMAGES[:4].astype(np.float32)):
        with pytest.raises(ValueError, match="a batch is up to 4"):
            next(embedder.embed([batch]))


@pytest.mark.parametrize("first", [True, False])
def test_a_network_that_mxnet_fuses_wrongly(first, tmp_path, caplog):
    caplog.set_level("INFO")
    symbol = wrongly_fused_symbol(first)
    values = draw_trained(symbol, (1, 3, *SIZE))
    auxiliary = {name: values.pop(name) for name in symbol.list_auxiliary_states()}
    (views,) = Embedder(symbol, values, auxiliary, CPUS[:1], 4, SIZE).embed([IMAGES[:4]])
    np.testing.assert_allclose(views[0], in_doubles(symbol, values, auxiliary, IMAGES[:4]), rtol=1e-4, atol=1e-4)
    assert "fused operators do not compute this network right" in caplog.text
    mx.model.save_checkpoint(str(tmp_path / "net"), 1, symbol, values, auxiliary)
    assert convert(open_checkpoint(str(tmp_path / "net"), 1, SIZE))[1].relative < 1e-5  # compared with what is right


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint that ends in a classifier, as a training script of the ecosystem may save it."""
    symbol = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(small_symbol(), name="fc7", num_hidden=3), name="softmax")
    arguments, auxiliary = draw_parameters(symbol, SIZE)
    mx.model.save_checkpoint(str(tmp_path / "net"), 3, symbol, arguments, auxiliary)
    return str(tmp_path / "net")


def test_a_checkpoint_is_cut_at_its_embedding(checkpoint):
    symbol, arguments, auxiliary = load_model(checkpoint, 3)
    assert symbol.list_outputs() == ["fc1_output"] and fixed_gammas(symbol) == ["fc1_gamma"]
    assert set(arguments) == set(symbol.list_arguments()) - {"data"}
    assert set(auxiliary) == set(symbol.list_auxiliary_states())
    _, stored, _ = mx.model.load_checkpoint(checkpoint, 3)
    assert (stored["fc1_gamma"].asnumpy() != 1).all() and (arguments["fc1_gamma"].asnumpy() == 1).all()
    for name in set(arguments) - {"fc1_gamma"}:
        assert np.array_equal(arguments[name].asnumpy(), stored[name].asnumpy())
    with pytest.raises(UserError, match="`layer` softmax: depends on the labels softmax_label .* a loss does"):
        load_model(checkpoint, 3, "softmax")
    for layer in ("pre_fc1", "pre_fc1_output"):
        assert load_model(checkpoint, 3, layer)[0].list_outputs() == ["pre_fc1_output"]


@pytest.mark.parametrize("output", ["embedding_output", "fc1_0_output", "presoftmax_output", "half_output1"])
def test_an_only_output_is_the_embedding_where_there_is_no_layer_fc1(tmp_path, output):
    body = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=6, name="product")
    symbol = (mx.sym.split(body, num_outputs=2, axis=1, name="half")[1] if output == "half_output1"
              else mx.sym.BatchNorm(body, name=output[:-len("_output")]))
    arguments, auxiliary = draw_parameters(symbol, SIZE)
    mx.model.save_checkpoint(str(tmp_path / "net"), 1, symbol, arguments, auxiliary)
    expected = forward(symbol, {**arguments}, auxiliary, IMAGES[:2])
    for named in ((), (output,)):  # by its name too
        loaded = load_model(str(tmp_path / "net"), 1, *named)
        assert loaded[0].list_outputs() == [output]
        np.testing.assert_allclose(forward(*loaded, IMAGES[:2]), expected, rtol=1e-6)
    for layer in ("data", "product_weight", "fc2"):
        with pytest.raises(UserError, match=f"`layer` {layer}: .* has no such layer"):
            load_model(str(tmp_path / "net"), 1, layer)


@pytest.mark.parametrize("end", [lambda body: mx.sym.softmax(body, name="prob"),
                                 lambda body: mx.sym.Group([body, mx.sym.identity(body, name="prob")])])
def test_an_output_that_may_be_no_embedding_is_not_taken_for_one(tmp_path, end):
    symbol = end(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=6, name="product"))
    mx.model.save_checkpoint(str(tmp_path / "net"), 1, symbol, *draw_parameters(symbol, SIZE))
    with pytest.raises(UserError, match="has no layer fc1, and has the outputs .*prob_output.*`layer` NAME"):
        load_model(str(tmp_path / "net"), 1)
    assert load_model(str(tmp_path / "net"), 1, "product")[0].list_outputs() == ["product_output"]


def test_what_is_not_a_checkpoint_is_reported_in_one_line(checkpoint, tmp_path):
    def told(prefix, epoch=3, layer="fc1"):
        with pytest.raises(UserError) as caught:
            load_model(str(prefix), epoch, layer)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 + len(str(tmp_path))
        return str(caught.value)

    params, symbol = tmp_path / "net-0003.params", tmp_path / "net-symbol.json"
    whole, graph = params.read_bytes(), symbol.read_text()
    loaded = mx.model.load_checkpoint(checkpoint, 3)
    grey = {**loaded[1], "conv_weight": loaded[1]["conv_weight"][:, :1]}
    mx.model.save_checkpoint(str(tmp_path / "grey"), 3, loaded[0], grey, loaded[2])
    assert "its conv_weight is of shape (4, 1, 3, 3), and RGB images need (4, 3, 3, 3)" in told(tmp_path / "grey")
    assert "there is no" in told(tmp_path / "nothing") and "net-0003.params" in told(checkpoint, 4)
    assert "`layer` fc2" in told(checkpoint, 3, "fc2") and "fc1" in told(checkpoint, 3, "fc2")
    assert "it has fc1, fc7, softmax" in told(checkpoint, 3, "summit")  # the last, where none is similar
    symbol.write_text(graph.replace('"data"', '"input_1"'))
    assert "net-symbol.json; where the images' input has another name there, call it data" in told(checkpoint)
    symbol.write_text(graph)
    for content in (b"", b"no parameters at all", whole[:60], whole[:-100]):
        params.write_bytes(content)
        assert "net-0003.params: is not an MXNet parameter file" in told(checkpoint)
    mx.nd.save(str(params), [mx.nd.ones(3)])
    assert "not a checkpoint" in told(checkpoint)
    mx.nd.save(str(params), {"conv_weight": mx.nd.ones(3)})
    assert "not a checkpoint" in told(checkpoint)
    mx.nd.save(str(params), {"arg:conv_weight": mx.nd.ones(3)})
    assert "lacks 9 of 10 parameters" in told(checkpoint)
    params.write_bytes(whole)
    for content in ("", "[1, 2]", "{}", graph[:500], graph.replace('"Convolution"', '"Contortion"'), '{"nodes": []}'):
        symbol.write_text(content)
        assert "net-symbol.json: is not an MXNet symbol" in told(checkpoint)


def test_prefix_and_epoch():
    assert parse_checkpoint_name("runs/a,b/model,12", "--model") == ("runs/a,b/model", 12)
    for text in ("runs/a/model", "runs/a/model,", ",3", "model,-1", "model,x"):
        with pytest.raises(UserError, match="expected PREFIX,EPOCH"):
            parse_checkpoint_name(text, "--model")


def test_pretrained_model_gives_the_reference_embeddings(shared_data, shared_reference):
    """Every 70th of the CFP-FP pairs; the order of the reference is split by split, same and different in turn."""
    protocol, pairs = shared_data / "cfp" / "Protocol", []
    lists = [[line.split()[1] for line in (protocol / f"Pair_list_{kind}.txt").read_text().splitlines()]
             for kind in "FP"]
    for split_number in range(1, 6):
        same, different = ((protocol / "Split" / "FP" / f"{split_number:02d}" / f"{kind}.txt").read_text().split()
                           for kind in ("same", "diff"))
        pairs += [line for both in zip(same, different) for line in both]
    chosen = range(0, len(pairs), 70)
    paths = [protocol / names[int(index) - 1] for pair in chosen for names, index in zip(lists, pairs[pair].split(","))]
    images = np.stack([decode(path.read_bytes()) for path in paths])
    model = load_model(str(shared_data / "weights" / "mobilefacenet-y1-ms1m"), 0)
    embedder = Embedder(*model, CPUS[:1], 16, (112, 112))
    found = normalise(np.concatenate(list(embedder.embed(split(images, 16), flip=True)), axis=1).sum(axis=0))
    reference = np.load(shared_reference / "y1_cfp_fp_embeddings.npz")
    rows = [2 * pair + side for pair in chosen for side in (0, 1)]
    assert len(pairs) == len(reference["same"]) and len(found) == 100
    assert (found * reference["E"][rows]).sum(axis=1).min() > 0.9999

"""Networks as Gluon blocks: the symbol's values and names, how parameters begin, and gammas that stay 1."""
import json

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

import symbols
from symbols.gluon_net import embedding_block
from symbols.graph import fixed_gammas, prelu_slopes
from symbols.prelu_rewrite import accelerate
from symbols.symbol_utils import get_fc1

SMALL = (8, 3, 12, 12)
XAVIER = mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2)


def small_symbol():
    """A convolution with PReLU and the GNAP head, with its three fixed gammas."""
    body = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=6, kernel=(3, 3), name="conv")
    body = mx.sym.LeakyReLU(body, act_type="prelu", name="relu")
    return get_fc1(body, 4, "GNAP", input_channel=6)


def images(shape=SMALL, seed=0):
    return mx.nd.array(np.random.RandomState(seed).uniform(-1, 1, shape))


def made(symbol, shape, contexts=None, initializer=XAVIER):
    """An initialised block, its parameters by name."""
    mx.random.seed(3)
    np.random.seed(3)
    block = embedding_block(symbol)
    block.initialize(initializer, ctx=contexts or [mx.cpu()])
    block(mx.nd.zeros(shape, ctx=contexts[0] if contexts else mx.cpu()))
    return block, dict(block.collect_params().items())


def randomize(parameters):
    random = np.random.RandomState(5)
    for name, parameter in sorted(parameters.items()):
        if parameter.grad_req != "null" or name.endswith(("mean", "var")):
            parameter.set_data(mx.nd.array(random.uniform(0.3, 1.2, parameter.shape)))


def bound_output(symbol, parameters, data):
    arguments = {name: parameters[name].data() for name in symbol.list_arguments() if name != "data"}
    states = {name: parameters[name].data() for name in symbol.list_auxiliary_states()}
    bound = symbol.bind(mx.cpu(), {**arguments, "data": data}, aux_states=states, grad_req="null")
    return bound.forward(is_train=False)[0].asnumpy()


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("hybrid", [False, True])
def test_the_block_is_the_symbol(hybrid, fast):
    symbol = small_symbol()
    block, parameters = made(accelerate(symbol, SMALL) if fast else symbol, SMALL)
    randomize(parameters)
    if hybrid:
        block.hybridize(static_alloc=True, static_shape=True)
    expected = bound_output(symbol, parameters, images())
    for _ in range(2):
        assert np.allclose(block(images()).asnumpy(), expected, rtol=1e-4, atol=1e-5)
    smaller = block(images((1, 3, 12, 12))).asnumpy()  # another batch size
    assert np.allclose(smaller, bound_output(symbol, parameters, images((1, 3, 12, 12))), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network, head, emb_size", [("y1", "GNAP", 128), ("r18", "E", 512)])
def test_a_network_as_a_block(network, head, emb_size):
    symbol, shape = symbols.build(network, emb_size, head), (1, 3, 48, 48)
    data = mx.nd.array(np.random.RandomState(1).randint(0, 256, shape))
    block, parameters = made(accelerate(symbol, shape), shape)
    assert set(parameters) == {*symbol.list_arguments(), *symbol.list_auxiliary_states()} - {"data"}
    embedding = block(data).asnumpy()
    assert embedding.shape == (1, emb_size)
    assert np.allclose(embedding, bound_output(symbol, parameters, data), rtol=1e-3, atol=1e-4)
    for name in prelu_slopes(symbol):
        assert (parameters[name].data().asnumpy() == 0.25).all()
    assert [name for name in fixed_gammas(symbol) if parameters[name].grad_req != "null"] == []


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("initializer", [XAVIER, mx.init.Normal(0.5), mx.init.Uniform(0.5)])
def test_only_weights_begin_as_the_initializer_says(initializer, fast):
    symbol = accelerate(small_symbol(), SMALL) if fast else small_symbol()
    block, parameters = made(symbol, SMALL, initializer=initializer)
    for name, parameter in parameters.items():
        value = parameter.data().asnumpy()
        if name.endswith("_weight"):
            assert value.std() > 0.05
        else:
            begin = 0.25 if name == "relu_gamma" else 1 if name.endswith(("_gamma", "_var")) else 0
            assert (value == begin).all(), name


@pytest.mark.parametrize("fast", [False, True])
def test_slopes_of_a_foreign_graph_begin_alike(fast):
    graph = json.loads(small_symbol().tojson())
    for node in graph["nodes"]:
        node.get("attrs", {}).pop("__init__", None)  # which MXNet's own PReLU writes, other tools do not
    symbol = mx.sym.load_json(json.dumps(graph))
    _, parameters = made(accelerate(symbol, SMALL) if fast else symbol, SMALL)
    assert (parameters["relu_gamma"].data().asnumpy() == 0.25).all()


def steps(block, parameters, contexts, count=5, wd=0.1):
    trainer = gluon.Trainer(parameters, "sgd", {"learning_rate": 0.2, "momentum": 0.9, "wd": wd},
                            update_on_kvstore=False)
    for number in range(count):
        batches = gluon.utils.split_and_load(images(seed=number), contexts)
        with autograd.record():
            losses = [(block(batch) ** 2 * mx.nd.arange(4, ctx=batch.context)).mean() for batch in batches]
        autograd.backward(losses)
        trainer.step(len(batches))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("contexts", [[mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]], ids=["one", "two"])
def test_fixed_gammas_stay_exactly_one_under_decay(contexts, fast):
    symbol = small_symbol()
    assert sorted(fixed_gammas(symbol)) == ["bn6f_gamma", "bn6w_gamma", "fc1_gamma"]
    block, parameters = made(accelerate(symbol, SMALL) if fast else symbol, SMALL, contexts)
    block.hybridize()
    before = {name: parameter.data(contexts[0]).asnumpy() for name, parameter in parameters.items()}
    steps(block, parameters, contexts)
    for name, parameter in parameters.items():
        copies = [copy.asnumpy() for copy in parameter.list_data()]
        assert len(copies) == len(contexts)
        if name in fixed_gammas(symbol):
            assert parameter.grad_req == "null" and all((copy == 1).all() for copy in copies)
        elif parameter.grad_req != "null":
            assert all(np.array_equal(copies[0], copy) for copy in copies[1:])
            moved = not np.array_equal(copies[0], before[name])
            assert moved or name not in ("conv_weight", "relu_gamma", "pre_fc1_weight", "fc1_beta")


@pytest.mark.parametrize("fast", [False, True])
def test_fixed_gammas_stay_exactly_one_with_module(fast):
    symbol = accelerate(small_symbol(), SMALL) if fast else small_symbol()
    module = mx.mod.Module(mx.sym.MakeLoss(mx.sym.square(symbol - 1)), label_names=None)
    module.bind(data_shapes=[("data", SMALL)], for_training=True)
    module.init_params(XAVIER)
    module.init_optimizer(optimizer_params={"learning_rate": 0.2, "momentum": 0.9, "wd": 0.1})
    before = {name: value.asnumpy() for name, value in module.get_params()[0].items()}
    for number in range(5):
        module.forward_backward(mx.io.DataBatch([images(seed=number)]))
        module.update()
    after = module.get_params()[0]
    for name in fixed_gammas(symbol):
        assert (before[name] == 1).all() and (after[name].asnumpy() == 1).all(), name
    assert (before["relu_gamma"] == 0.25).all()
    assert not np.array_equal(before["relu_gamma"], after["relu_gamma"].asnumpy())


@pytest.mark.parametrize("network, head", [("y1", "GNAP"), ("r18", "E"), ("r18", "GAP"), ("y1", "GDC")])
def test_variables_of_fixed_gammas_say_that_they_do_not_decay(network, head):
    symbol = symbols.build(network, 128, head)
    attributes = symbol.attr_dict()
    assert fixed_gammas(symbol)
    for name in fixed_gammas(symbol):
        assert float(attributes[name]["__wd_mult__"]) == 0
    again = mx.sym.load_json(accelerate(symbol, (1, 3, 112, 112)).tojson()).attr_dict()
    assert all(float(again[name]["__wd_mult__"]) == 0 for name in fixed_gammas(symbol))

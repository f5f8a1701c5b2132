"""GNAP against equations (1) to (3) in float64 numpy, values and gradients, as Symbol and as Gluon block."""
import itertools

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

import symbols
from symbols.gnap import GNAP, gnap_symbol, norm_aware_pooling
from symbols.graph import fixed_gammas
from symbols.symbol_utils import get_fc1

CHANNELS, SIDE, SAMPLES, EPS = 6, 4, 3, 2e-5
VARIANTS = [dict(zip(("first_bn", "reweight", "learned_gamma", "mean_over"), values))
            for values in itertools.product((True, False), (True, False), (True, False), ("image", "batch"))]


def pooled_by_numpy(maps, reweight=True, mean_over="image"):
    """Equations (1) to (3), position after position, then the average; (N, C, H, W) to (N, C) in float64."""
    samples, _, height, width = maps.shape
    norms = np.zeros((samples, height, width))
    for n, i, j in np.ndindex(samples, height, width):
        norms[n, i, j] = np.sqrt(sum(value ** 2 for value in maps[n, :, i, j]))
    total = np.zeros(maps.shape[:2])
    for n, i, j in np.ndindex(samples, height, width):
        mean = norms.mean() if mean_over == "batch" else norms[n].mean()
        weight = (mean / norms[n, i, j] if norms[n, i, j] else 0.0) if reweight else 1.0
        total[n] += weight * maps[n, :, i, j]
    return total / (height * width)


def norm_by_numpy(values, state, fixed):
    """BatchNorm in inference over axis 1."""
    shape = (1, -1) + (1,) * (values.ndim - 2)
    gamma = 1 if fixed else state["gamma"].reshape(shape)
    scaled = (values - state["mean"].reshape(shape)) / np.sqrt(state["var"].reshape(shape) + EPS)
    return gamma * scaled + state["beta"].reshape(shape)


def draw_map(seed=0, samples=SAMPLES, channels=CHANNELS, side=SIDE):
    """Features of very different norms, as maps of faces have."""
    random = np.random.RandomState(seed)
    return random.normal(0.3, 1, (samples, channels, side, side)) * random.uniform(0.05, 4, (samples, 1, side, side))


def draw_state(random, channels):
    return dict(gamma=random.uniform(0.5, 1.5, channels), beta=random.normal(0, 0.3, channels),
                mean=random.normal(0, 0.3, channels), var=random.uniform(0.5, 1.5, channels))


def pool(maps, **variant):
    return norm_aware_pooling(mx.nd, mx.nd.array(maps), maps.shape[1], **variant).asnumpy()


def gradient_of(maps, outside, **variant):
    """The gradient to the map, for a gradient `outside` to the pooled features."""
    data = mx.nd.array(maps)
    data.attach_grad()
    with autograd.record():
        output = norm_aware_pooling(mx.nd, data, maps.shape[1], **variant)
    output.backward(mx.nd.array(outside))
    return data.grad.asnumpy()


def compute(symbol, values, data):
    """The symbol in inference mode; `values` by name."""
    values = {name: mx.nd.array(value) for name, value in values.items()}
    states = {name: values[name] for name in symbol.list_auxiliary_states()}
    arguments = {name: values[name] for name in symbol.list_arguments() if name != "data"}
    bound = symbol.bind(mx.cpu(), {**arguments, "data": mx.nd.array(data)}, aux_states=states, grad_req="null")
    return bound.forward(is_train=False)[0].asnumpy()


def named(prefix, state):
    return {f"{prefix}_gamma": state["gamma"], f"{prefix}_beta": state["beta"],
            f"{prefix}_moving_mean": state["mean"], f"{prefix}_moving_var": state["var"]}


@pytest.mark.parametrize("mean_over", ["image", "batch"])
@pytest.mark.parametrize("channels, height, width", [(6, 4, 4), (1, 3, 3), (5, 1, 1), (512, 7, 7), (4, 3, 5)])
def test_reweighting_and_pooling_are_the_equations(channels, height, width, mean_over):
    maps = draw_map(channels=channels, side=max(height, width))[:, :, :height, :width]
    expected = pooled_by_numpy(maps, mean_over=mean_over)
    assert np.allclose(pool(maps, mean_over=mean_over), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_symbol_with_its_first_norm(variant):
    symbol = gnap_symbol(mx.sym.Variable("data"), CHANNELS, **variant)
    maps, state = draw_map(), draw_state(np.random.RandomState(1), CHANNELS)
    values = named("bn6f", state) if variant["first_bn"] else {}
    assert set(symbol.list_arguments() + symbol.list_auxiliary_states()) == {"data", *values}
    assert fixed_gammas(symbol) == (["bn6f_gamma"] if variant["first_bn"] and not variant["learned_gamma"] else [])
    normed = norm_by_numpy(maps, state, not variant["learned_gamma"]) if variant["first_bn"] else maps
    expected = pooled_by_numpy(normed, variant["reweight"], variant["mean_over"])
    assert np.allclose(compute(symbol, values, maps), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("emb_size", [4, 6, 9])
def test_the_whole_head_in_inference(emb_size, variant):
    random, maps = np.random.RandomState(2), draw_map()
    symbol = get_fc1(mx.sym.Variable("data"), emb_size, "GNAP", input_channel=CHANNELS, **variant)
    width, fixed, body, values = max(emb_size, CHANNELS), not variant["learned_gamma"], maps, {}
    if emb_size > CHANNELS:
        values["convx_weight"] = random.normal(0, 0.5, (emb_size, CHANNELS, 1, 1))
        state = draw_state(random, emb_size)
        values.update(named("convx_bn", state))
        body = np.einsum("ncij,oc->noij", maps, values["convx_weight"][:, :, 0, 0])
        body = np.maximum(norm_by_numpy(body, state, False), 0)
    if variant["first_bn"]:
        state = draw_state(random, width)
        values.update(named("bn6f", state))
        body = norm_by_numpy(body, state, fixed)
    body = pooled_by_numpy(body, variant["reweight"], variant["mean_over"])
    if emb_size < CHANNELS:
        state = draw_state(random, width)
        values.update(named("bn6w", state), pre_fc1_weight=random.normal(0, 0.5, (emb_size, width)),
                      pre_fc1_bias=random.normal(0, 0.1, emb_size))
        body = norm_by_numpy(body, state, fixed) @ values["pre_fc1_weight"].T + values["pre_fc1_bias"]
    state = draw_state(random, emb_size)
    values.update(named("fc1", state))
    expected = norm_by_numpy(body, state, True)
    assert np.allclose(compute(symbol, values, maps), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("emb_size", [4, 6, 9])
def test_the_head_of_plain_average_pooling(emb_size):
    """GAP, which GNAP is compared with: a BN with a learned gamma, the mean of all positions, the last BN."""
    random, maps = np.random.RandomState(2), draw_map()
    symbol = get_fc1(mx.sym.Variable("data"), emb_size, "GAP", input_channel=CHANNELS)
    first, last = draw_state(random, CHANNELS), draw_state(random, emb_size)
    values = {**named("bn1", first), **named("fc1", last)}
    pooled = norm_by_numpy(maps, first, False).mean(axis=(2, 3))
    if emb_size != CHANNELS:
        values.update(pre_fc1_weight=random.normal(0, 0.5, (emb_size, CHANNELS)),
                      pre_fc1_bias=random.normal(0, 0.1, emb_size))
        pooled = pooled @ values["pre_fc1_weight"].T + values["pre_fc1_bias"]
    assert np.allclose(compute(symbol, values, maps), norm_by_numpy(pooled, last, True), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_network_takes_the_variants_by_keyword(variant):
    for network in ("r18", "y1"):
        symbol = symbols.build(network, 128, "GNAP", **variant)
        names = symbol.list_arguments()
        assert ("bn6f_gamma" in names) == variant["first_bn"]
        free = {"bn6f_gamma", "bn6w_gamma"} & set(names) if variant["learned_gamma"] else set()
        assert {"bn6w_gamma", "fc1_gamma"} - free <= set(fixed_gammas(symbol)) and not free & set(fixed_gammas(symbol))
        text = symbol.tojson()
        assert ("batch_dot" in text) == variant["reweight"]
        assert symbol.infer_shape(data=(2, 3, 112, 112))[1] == [(2, 128)]


def test_an_embedding_does_not_depend_on_its_neighbours():
    bright, dim = draw_map(3, samples=1), 0.01 * draw_map(4, samples=7)
    alone, among = pool(bright)[0], pool(np.concatenate([bright, dim]))[0]
    assert np.allclose(alone, among, rtol=1e-6)
    symbol = get_fc1(mx.sym.Variable("data"), CHANNELS, "GNAP", input_channel=CHANNELS)
    state = draw_state(np.random.RandomState(5), CHANNELS)
    head = [compute(symbol, {**named("bn6f", state), **named("fc1", state)}, maps)[0]
            for maps in (bright, np.concatenate([bright, dim]))]
    assert np.allclose(*head, rtol=1e-5, atol=1e-6)
    over_batch = pool(np.concatenate([bright, dim]), mean_over="batch")[0]
    assert np.linalg.norm(over_batch) < 0.5 * np.linalg.norm(alone)  # what the mean over the batch does


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e-2, 0.1, 0.5, 2, 10, 100, 1e3, 1e6])
def test_a_scaled_map_gives_the_scaled_output(scale):
    maps = draw_map(6)
    plain = pool(maps)
    assert np.allclose(pool(scale * maps), scale * plain, rtol=1e-5, atol=1e-5 * scale * np.abs(plain).max())


def test_every_position_weighs_the_same_however_long_its_feature():
    maps = draw_map(7)
    lengths = 10 ** np.random.RandomState(8).uniform(-3, 2, (SAMPLES, 1, SIDE, SIDE))
    ours, other = pool(maps), pool(maps * lengths)
    for first, second in zip(ours, other):
        assert np.dot(first, second) / np.linalg.norm(first) / np.linalg.norm(second) > 1 - 1e-6


@pytest.mark.parametrize("mean_over", ["image", "batch"])
def test_the_gradient_is_that_of_finite_differences(mean_over):
    maps, outside = draw_map(9), np.random.RandomState(10).normal(0, 1, (SAMPLES, CHANNELS))
    measured = np.zeros_like(maps)
    for index in np.ndindex(*maps.shape):
        sides = []
        for step in (1e-6, -1e-6):
            moved = maps.copy()
            moved[index] += step
            sides.append((pooled_by_numpy(moved, mean_over=mean_over) * outside).sum())
        measured[index] = (sides[0] - sides[1]) / 2e-6
    ours = gradient_of(maps, outside, mean_over=mean_over)
    assert np.allclose(ours, measured, rtol=1e-3, atol=1e-5 * np.abs(measured).max())


@pytest.mark.parametrize("mean_over", ["image", "batch"])
def test_a_feature_without_length_has_weight_zero(mean_over):
    maps, outside = draw_map(11), np.ones((SAMPLES, CHANNELS))
    maps[0, :, 1, 2] = maps[2, :, 0, 0] = 0
    expected = pooled_by_numpy(maps, mean_over=mean_over)
    assert np.allclose(pool(maps, mean_over=mean_over), expected, rtol=1e-5, atol=1e-5)
    gradient = gradient_of(maps, outside, mean_over=mean_over)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < 100


@pytest.mark.parametrize("mean_over", ["image", "batch"])
@pytest.mark.parametrize("black", [[0], [0, 1, 2]])
def test_maps_of_zeros(black, mean_over):
    maps = draw_map(12)
    maps[black] = 0
    output = pool(maps, mean_over=mean_over)
    assert np.isfinite(output).all() and (output[black] == 0).all()
    gradient = gradient_of(maps, np.ones((SAMPLES, CHANNELS)), mean_over=mean_over)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < 100


def test_another_mean_is_refused():
    for call in (lambda: pool(draw_map(), mean_over="row"), lambda: GNAP(CHANNELS, mean_over="row"),
                 lambda: get_fc1(mx.sym.Variable("data"), 128, "GNAP", mean_over="row")):
        with pytest.raises(ValueError, match="mean_over row: image or batch"):
            call()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_gluon_block_is_the_symbol(variant):
    symbol = get_fc1(mx.sym.Variable("data"), CHANNELS, "GNAP", input_channel=CHANNELS, **variant)
    random, maps = np.random.RandomState(13), draw_map(13)
    first, last = draw_state(random, CHANNELS), draw_state(random, CHANNELS)
    last["gamma"][:] = 1  # fc1's is fixed, the block's last one is learned with learned_gamma
    values = {**(named("bn6f", first) if variant["first_bn"] else {}), **named("fc1", last)}
    block = GNAP(CHANNELS, **variant)
    block.initialize()
    for norm, state in ((block.first, first), (block.last, last)):
        if norm is not None:
            for parameter, key in ((norm.gamma, "gamma"), (norm.beta, "beta"), (norm.running_mean, "mean"),
                                   (norm.running_var, "var")):
                parameter.set_data(mx.nd.array(state[key]))
    expected = compute(symbol, values, maps)
    for hybrid in (False, True):
        block.hybridize(hybrid)
        assert np.allclose(block(mx.nd.array(maps)).asnumpy(), expected, rtol=1e-5, atol=1e-5)


def test_the_block_trains_alike_hybridized_and_not():
    found = []
    for hybrid in (False, True):
        block = GNAP(CHANNELS)
        block.initialize()
        if hybrid:
            block.hybridize(static_alloc=True, static_shape=True)
        data = mx.nd.array(draw_map(14))
        data.attach_grad()
        for _ in range(2):
            with autograd.record():
                loss = (block(data) * mx.nd.array(draw_map(15)[:, :, 0, 0])).sum()
            loss.backward()
        assert block.first.gamma.grad_req == block.last.gamma.grad_req == "null"
        found.append((data.grad.asnumpy(), block.last.beta.grad().asnumpy(), block.last.running_mean.data().asnumpy()))
    for plain, hybridized in zip(*found):
        assert np.isfinite(plain).all() and np.abs(plain).max() > 1e-4
        assert np.allclose(plain, hybridized, rtol=1e-4, atol=1e-6)

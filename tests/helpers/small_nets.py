"""A network small enough to compute in a blink, and a checkpoint of it, for tests of what runs networks."""
from __future__ import annotations

import mxnet as mx
import numpy as np

from symbols.symbol_utils import get_fc1, normalise_input


def small_symbol(dimension=6):
    """Convolution, PReLU, BatchNorm, then FullyConnected on a map, as in the ecosystem's MobileFaceNet."""
    data = (mx.sym.Variable("data") - 127.5) * 0.0078125
    body = mx.sym.Convolution(data, name="conv", num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True)
    body = mx.sym.LeakyReLU(mx.sym.BatchNorm(body, name="conv_bn", fix_gamma=False), act_type="prelu", name="relu")
    body = mx.sym.Convolution(body, name="conv2", num_filter=5, kernel=(3, 3), stride=(4, 4))
    body = mx.sym.FullyConnected(body, name="pre_fc1", num_hidden=dimension)
    return mx.sym.BatchNorm(body, name="fc1", fix_gamma=True, eps=2e-5)


def gnap_symbol(dimension=6):
    """Convolution, then the head GNAP."""
    body = mx.sym.Convolution(normalise_input(), name="conv", num_filter=8, kernel=(5, 5), stride=(8, 8))
    return get_fc1(body, dimension, "GNAP", input_channel=8)


def wrongly_fused_symbol(first=True):
    """A convolution's map that a BatchNorm takes and a sum too, as in Gluon's ResNetV2, which MXNet 1.9.1 fuses
    wrongly. first: of the sum's inputs."""
    before = mx.sym.Convolution(mx.sym.Variable("data") / 255, name="conv0", num_filter=4, kernel=(3, 3), pad=(1, 1))
    body = mx.sym.Activation(mx.sym.BatchNorm(before, name="bn", fix_gamma=False), act_type="relu")
    body = mx.sym.Convolution(body, name="conv1", num_filter=4, kernel=(3, 3), pad=(1, 1))
    both = (before, body) if first else (body, before)
    return mx.sym.FullyConnected(mx.sym.elemwise_add(*both, name="sum"), name="fc1", num_hidden=5)


def draw_parameters(symbol, size, seed=0):
    """Arguments and auxiliary states at random; the fixed gamma holds a wrong value, as foreign checkpoints do."""
    random = np.random.RandomState(seed)
    shapes, _, states = symbol.infer_shape(data=(1, 3, *size))
    values = {name: random.normal(0.2, 0.5, shape) for name, shape in zip(symbol.list_arguments(), shapes)
              if name not in ("data", "softmax_label")}
    auxiliary = {name: random.uniform(0.5, 1.5, shape)
                 for name, shape in zip(symbol.list_auxiliary_states(), states)}
    return ({name: mx.nd.array(value) for name, value in values.items()},
            {name: mx.nd.array(value) for name, value in auxiliary.items()})


def forward(symbol, arguments, auxiliary, images):
    """The output for (n, H, W, 3) uint8 images by one plain forward pass of MXNet, nothing of ours between."""
    data = mx.nd.array(images.transpose(0, 3, 1, 2).astype(np.float32))
    bound = symbol.bind(mx.cpu(), {**arguments, "data": data}, aux_states=dict(auxiliary), grad_req="null")
    return bound.forward(is_train=False)[0].asnumpy()


def in_doubles(symbol, arguments, auxiliary, images):
    """The output in float64, in which MXNet fuses nothing."""
    values, states = ({name: value.astype("float64") for name, value in each.items()}
                      for each in (arguments, auxiliary))
    data = mx.nd.array(images.transpose(0, 3, 1, 2), dtype="float64")
    given = {name: values.get(name, data) for name in symbol.list_arguments()}
    return symbol.bind(mx.cpu(), given, aux_states=states, grad_req="null").forward()[0].asnumpy()


def save_spread(folder, size, seed, images, dimension=8):
    """A checkpoint `net`,0 of the small network whose embeddings of these images lie about 0, and so far apart.
    size: of the images' side."""
    symbol = small_symbol(dimension)
    arguments, auxiliary = draw_parameters(symbol, (size, size), seed=seed)
    arguments["fc1_beta"] -= mx.nd.array(forward(symbol, arguments, auxiliary, np.stack(images)).mean(axis=0))
    mx.model.save_checkpoint(str(folder / "net"), 0, symbol, arguments, auxiliary)


def draw_values(symbol, shape, span, seed=1):
    """Arguments and states in one, by name, as numpy: weights that keep maps at the size of 1, the others uniform in
    span(name). shape: of `data`."""
    random = np.random.RandomState(seed)
    arguments, _, states = symbol.infer_shape(data=shape)
    values = {}
    for name, own in (*zip(symbol.list_arguments(), arguments), *zip(symbol.list_auxiliary_states(), states)):
        if name.endswith("_weight"):
            values[name] = random.normal(0, np.sqrt(2 / np.prod(own[1:])), own)
        elif name != "data":
            values[name] = random.uniform(*span(name), own)
    return values


def draw_trained(symbol, shape, seed=1):
    """Arguments and states in one, as a trained network might have them, with maps of the size of 1: fixed gammas that
    are not 1, slopes that are negative or above 1. shape: of `data`."""
    values = draw_values(symbol, shape, lambda name: (-0.3, 1.3) if "relu" in name else (0.5, 1.5) if name.endswith(
        ("gamma", "var")) else (-0.2, 0.2), seed)
    return {name: mx.nd.array(value) for name, value in values.items()}

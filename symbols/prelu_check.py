"""Whether a device computes the right gradient of PReLU's slopes: tested on the device, by finite differences.

MXNet 1.9.1 may compute a PReLU in place, over its own input, which the backward pass then reads: the gradient of the
slope is then slope times the true one. Seen on CPUs; the memory planner that causes it does not depend on the device.
"""
from __future__ import annotations

import functools
from typing import Callable

import mxnet as mx
import numpy as np
from mxnet import autograd

SLOPES = (0.25, 0.5, 2.0, 4.0)
SHAPE = (2, len(SLOPES), 5, 5)
STEP = 0.125  # the loss is linear in the slopes, so a large step loses no accuracy
TOLERANCE = 1e-2
Form = Callable[[mx.sym.Symbol], mx.sym.Symbol]


def slope_gradients_hold(device: mx.Context) -> bool:
    """Whether a network trained on `device` may keep MXNet's PReLU. Tested once per device and process."""
    return _holds(device.device_type, device.device_id)


@functools.lru_cache(maxsize=None)
def _holds(kind: str, number: int) -> bool:
    given, expected = slope_gradients(mx.Context(kind, number))
    return bool(np.abs(given - expected).max() <= TOLERANCE * np.abs(expected).max())


def slope_gradients(device: mx.Context, form: Form = lambda symbol: symbol) -> tuple[np.ndarray, np.ndarray]:
    """(4,) each: the slopes' gradients as the backward pass gives them in a compiled block, where it may work in place,
    and by finite differences of the forward pass.

    form: rewrites the graph (data: SHAPE) to the one that runs. MXNetError where the device does not compute.
    """
    block, slopes, data, outside = _small_network(device, form)

    def loss(values: np.ndarray) -> float:
        slopes.set_data(mx.nd.array(values))
        return float((block(data).asnumpy().astype(np.float64) * outside.asnumpy()).sum())

    begun = np.array(SLOPES)
    expected = np.array([(loss(begun + step) - loss(begun - step)) / (2 * STEP)
                         for step in STEP * np.eye(len(SLOPES))])
    slopes.set_data(mx.nd.array(begun))
    with autograd.record():
        output = block(data)
    output.backward(outside)
    return slopes.grad(device).asnumpy().astype(np.float64), expected


def _small_network(device: mx.Context, form: Form) -> tuple[mx.gluon.Block, mx.gluon.Parameter, mx.nd.NDArray,
                                                            mx.nd.NDArray]:
    """An identity convolution, a PReLU whose output only the next operator uses, and values for data and output
    gradient."""
    data = mx.sym.Variable("data", dtype="float32")
    body = mx.sym.Convolution(data, num_filter=SHAPE[1], kernel=(1, 1), no_bias=True, name="conv")
    body = mx.sym.LeakyReLU(body, act_type="prelu", name="relu") * 1.5
    block = mx.gluon.SymbolBlock(form(body), data)
    parameters = {parameter.name: parameter for parameter in block.collect_params().values()}
    parameters["conv_weight"].shape = (SHAPE[1], SHAPE[1], 1, 1)
    parameters["relu_gamma"].shape = (SHAPE[1],)
    block.initialize(mx.init.Zero(), ctx=device)
    parameters["conv_weight"].set_data(mx.nd.array(np.eye(SHAPE[1]).reshape(SHAPE[1], SHAPE[1], 1, 1)))
    block.hybridize(static_alloc=True, static_shape=True)
    random = np.random.RandomState(0)
    return (block, parameters["relu_gamma"],
            *(mx.nd.array(random.normal(0, 1, SHAPE).astype(np.float32), ctx=device) for _ in range(2)))

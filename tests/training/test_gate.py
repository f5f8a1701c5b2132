"""A step of SGD that a flag on the device takes or leaves: MXNet's own to the bit where it is taken, nothing else."""
import mxnet as mx
import numpy as np
import pytest

import training.gate
from training.gate import Gate, GatedSGD, move

SETTINGS = dict(lr=0.3, wd=5e-3, rescale_grad=1 / 37)


def arrays(shape, bad=None):
    random = np.random.RandomState(0)
    weight, gradient, moving = (random.standard_normal(shape).astype(np.float32) for _ in range(3))
    if bad is not None:
        gradient[(-1,) * len(shape)] = bad
    return [mx.nd.array(value, ctx=mx.cpu(1)) for value in (weight, gradient, moving)]


@pytest.mark.parametrize("shape", [(1,), (7,), (5, 4), (3, 2, 2, 2), (1030,)], ids=str)
@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize("flag, bad", [(1, None), (0, np.nan), (0, -np.inf), (0, None)])
def test_an_open_gate_takes_mxnets_step_and_a_shut_one_none(monkeypatch, shape, momentum, flag, bad):
    monkeypatch.setattr(training.gate, "CHUNK", 7)  # most arrays are moved in parts
    settings = SETTINGS if momentum is None else {**SETTINGS, "momentum": momentum}
    weight, gradient, moving = arrays(shape, bad)
    expected = [value.copy() for value in (weight, moving)]
    if flag:
        if momentum is None:
            mx.nd.multi_sgd_update(expected[0], gradient, out=expected[0], num_weights=1, lrs=[settings["lr"]],
                                   wds=[settings["wd"]], rescale_grad=settings["rescale_grad"])
        else:
            mx.nd.sgd_mom_update(expected[0], gradient, expected[1], out=expected[0], **settings)
    move(weight, gradient, None if momentum is None else moving, Gate(mx.nd.array([flag])), **settings)
    for got, value in zip((weight, moving), expected):
        np.testing.assert_array_equal(got.asnumpy(), value.asnumpy())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_trainers_steps_are_those_of_mxnets_optimizer(momentum):
    ends = []
    for gated in (False, True):
        optimizer = GatedSGD(learning_rate=0.1, momentum=momentum, wd=0.01)
        optimizer.set_wd_mult({1: 0.0})
        optimizer.set_lr_mult({2: 3.0})
        updater = mx.optimizer.get_updater(optimizer)
        weights = [arrays((4, 3))[0] for _ in range(6)]
        for step in range(3):
            optimizer.gate = Gate(mx.nd.array([step != 1])) if gated else None
            if gated or step != 1:
                optimizer.rescale_grad = 0.1 * (step + 1)
                updater(list(range(6)), [arrays((4, 3))[1] * (step + 1) for _ in range(6)], weights)
        ends.append([value.asnumpy() for value in weights])
    for one, other in zip(*ends):
        np.testing.assert_array_equal(one, other)
    assert (ends[0][1] != ends[0][0]).any() and (ends[0][2] != ends[0][0]).any()

"""The trainer that updates all arrays of a device at once: what gluon.Trainer does one by one."""
import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from common.mxnet_compat import Trainer
from training.gate import GatedSGD

SHAPES = [(3,), (200, 400), (5, 2), (3,), (1,), (70000,), (64, 3, 3), *[(8,)] * 40]


def parameters(devices):
    random, made = np.random.RandomState(0), {}
    for number, shape in enumerate(SHAPES):
        made[f"p{number}"] = parameter = gluon.Parameter(f"p{number}", shape=shape, wd_mult=number % 2,
                                                         lr_mult=10.0 if number == 1 else 1.0)
        parameter.initialize(mx.init.Zero(), ctx=devices)
        parameter.set_data(mx.nd.array(random.standard_normal(shape)))
    fixed = gluon.Parameter("fixed", shape=(2,), grad_req="null")
    fixed.initialize(mx.init.One(), ctx=devices)
    return {**made, "fixed": fixed}


def trained(make, devices, rates=(0.1, 0.1, 0.02)):
    """The arrays of all devices after some steps, and the trainer."""
    made, random = parameters(devices), np.random.RandomState(1)
    trainer = make(made)
    for rate in rates:
        for parameter in made.values():
            if parameter.grad_req == "null":
                continue
            for array, value in zip(parameter.list_grad(), parameter.list_data()):
                array[:] = mx.nd.array(random.standard_normal(array.shape))
                value._fresh_grad = True
        trainer.set_learning_rate(rate)
        trainer.step(7)
    return {name: [array.asnumpy() for array in parameter.list_data()] for name, parameter in made.items()}, trainer


@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_gluons_trainer(devices, momentum):
    devices = [mx.cpu(number) for number in range(devices)]
    settings = dict(momentum=momentum, wd=5e-3)
    expected, _ = trained(lambda made: gluon.Trainer(made, "sgd", settings, kvstore="device",
                                                     update_on_kvstore=False), devices)
    got, trainer = trained(lambda made: Trainer(made, GatedSGD(**settings), "device"), devices)
    assert trainer.optimizer.num_update == 3
    for name, copies in expected.items():
        assert all((copy == got[name][0]).all() for copy in got[name])
        if len(devices) == 1:
            np.testing.assert_array_equal(got[name][0], copies[0])
        else:  # given all arrays at once, the kvstore adds up the devices in another order
            np.testing.assert_allclose(got[name][0], copies[0], rtol=1e-4, atol=1e-6)
    assert (got["fixed"][0] == 1).all()


def test_large_arrays_move_alone_and_small_ones_with_others_of_their_size():
    weights = [mx.nd.zeros(shape) for shape in SHAPES]
    groups = [sorted(group) for group, _ in GatedSGD()._groups_of(weights)]
    assert sorted(place for group in groups for place in group) == list(range(len(SHAPES)))
    assert [1] in groups and [5] in groups and [6] in groups
    assert max(map(len, groups)) == 32
    for group in groups:
        sizes = [weights[place].size for place in group]
        assert max(sizes) <= 2 * min(sizes)

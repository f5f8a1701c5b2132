"""A model of training.model around a tiny network, and batches for it: what a step does, in milliseconds."""
from __future__ import annotations

import mxnet as mx
import numpy as np

import training.model
from training.config import Config
from training.data.loader import Batch
from training.parts import model_spec

SIDE, CLASSES, SIZE = 24, 11, 6


def tiny_symbol(frozen_statistics=True):
    """Convolution, BatchNorm, PReLU, FullyConnected, BatchNorm; frozen: an image does not depend on its neighbours."""
    def norm(data, name):
        return mx.sym.BatchNorm(data, name=name, fix_gamma=False, use_global_stats=frozen_statistics)
    data = (mx.sym.Variable("data") - 127.5) * 0.0078125
    body = mx.sym.Convolution(data, name="conv", num_filter=4, kernel=(3, 3), stride=(2, 2), no_bias=True)
    body = mx.sym.LeakyReLU(norm(body, "conv_bn"), act_type="prelu", name="relu")
    body = mx.sym.FullyConnected(mx.sym.Flatten(body), name="pre_fc1", num_hidden=SIZE)
    return norm(body, "fc1")


def make_model(monkeypatch, devices=1, symbol=None, classes=CLASSES, first=0, **settings):
    """(config, model, trainer) on cpu:first, cpu:first+1, ..., begun from the seed."""
    monkeypatch.setattr(training.model, "build_symbol", lambda spec: tiny_symbol() if symbol is None else symbol)
    config = Config(**{"data_dir": "d", "emb_size": SIZE, "lr": 0.05, "margin_s": 8.0, "wd": 1e-3, **settings})
    places = [mx.cpu(first + number) for number in range(devices)]
    model = training.model.TrainingModel(model_spec(config), (SIDE, SIDE), classes, places)
    model.initialize()
    return config, model, model.make_trainer()


def make_batch(images=8, seed=0, classes=CLASSES):
    random = np.random.RandomState(seed)
    return Batch(random.randint(0, 256, (images, SIDE, SIDE, 3)).astype(np.uint8),
                 random.randint(0, classes, images).astype(np.int32), np.arange(images))


def values(model):
    """Every parameter and running statistic, and fc7, by name, as numpy."""
    arguments, auxiliary = model.network_arrays()
    return {name: value.asnumpy() for name, value in {**arguments, **auxiliary, **model.head_arrays()}.items()}


def assert_same(got, expected, rtol=1e-5, atol=1e-6):
    assert set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=rtol, atol=atol, err_msg=name)

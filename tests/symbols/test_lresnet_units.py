"""The residual units of LResNet's versions, written out layer by layer as the ecosystem's script has them."""
import mxnet as mx
import numpy as np
import pytest

from symbols import fresnet

FILTERS, SIDE, EMBEDDING = (16, 16, 32, 32), 32, 32


class Layers:
    """InsightFace's layers on arrays, with values by name."""

    def __init__(self, values, version_input):
        self.values, self.version_input = values, version_input

    def conv(self, data, name, stride=1):
        weight = self.values[f"{name}_weight"]
        kernel, bias = weight.shape[2], self.values.get(f"{name}_bias")
        return mx.nd.Convolution(data, weight, *([bias] if bias is not None else []), no_bias=bias is None,
                                 kernel=(kernel, kernel), stride=(stride, stride), pad=(kernel // 2, kernel // 2),
                                 num_filter=len(weight))

    def norm(self, data, name, fixed=False):
        gamma, beta, mean, variance = (self.values[f"{name}_{part}"].reshape((1, -1, 1, 1))
                                       for part in ("gamma", "beta", "moving_mean", "moving_var"))
        return (data - mean) / (variance + 2e-5).sqrt() * (1 if fixed else gamma) + beta

    def prelu(self, data, name):
        return mx.nd.where(data > 0, data, data * self.values[f"{name}_gamma"].reshape((1, -1, 1, 1)))

    def stem(self, images):
        data = self.conv((images - 127.5) / 128, "conv0", 1 if self.version_input else 2)
        data = self.prelu(self.norm(data, "bn0"), "relu0")
        if self.version_input:
            return data
        return mx.nd.Pooling(data, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")

    def excited(self, data, name):
        if f"{name}_se_conv1_weight" not in self.values:
            return data
        mean = data.mean(axis=(2, 3), keepdims=True)
        gate = self.conv(self.prelu(self.conv(mean, f"{name}_se_conv1"), f"{name}_se_relu1"), f"{name}_se_conv2")
        return data * (1 / (1 + (-gate).exp()))

    def projected(self, data, name, stride, first):
        return self.norm(self.conv(data, f"{name}_conv1sc", stride), f"{name}_sc") if first else data

    def unit(self, version, data, name, stride, first):
        if version == 1:
            one, two = (1, stride) if self.version_input else (stride, 1)
            body = self.prelu(self.norm(self.conv(data, f"{name}_conv1", one), f"{name}_bn1"), f"{name}_relu1")
            body = self.excited(self.norm(self.conv(body, f"{name}_conv2", two), f"{name}_bn2"), name)
            return self.prelu(body + self.projected(data, name, stride, first), f"{name}_relu3")
        if version == 2:
            begun = self.prelu(self.norm(data, f"{name}_bn1"), f"{name}_relu1")
            body = self.norm(self.conv(begun, f"{name}_conv1", stride), f"{name}_bn2")
            body = self.excited(self.conv(self.prelu(body, f"{name}_relu2"), f"{name}_conv2"), name)
            return body + (self.conv(begun, f"{name}_sc", stride) if first else data)
        body = self.norm(self.conv(self.norm(data, f"{name}_bn1"), f"{name}_conv1"), f"{name}_bn2")
        body = self.norm(self.conv(self.prelu(body, f"{name}_relu1"), f"{name}_conv2", stride), f"{name}_bn3")
        return self.excited(body, name) + self.projected(data, name, stride, first)


def draw_values(symbol):
    random, (shapes, _, states) = np.random.RandomState(3), symbol.infer_shape(data=(2, 3, SIDE, SIDE))
    names = [*zip(symbol.list_arguments(), shapes), *zip(symbol.list_auxiliary_states(), states)]
    return {name: mx.nd.array(random.uniform(0.2, 1, shape) if name.endswith(("gamma", "var"))
                              else random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape))
            for name, shape in names if name != "data"}


@pytest.mark.parametrize("version_se", [0, 1])
@pytest.mark.parametrize("version_input", [0, 1])
@pytest.mark.parametrize("version_unit", [1, 2, 3])
def test_an_embedding_is_that_of_the_ecosystems_layers(monkeypatch, version_unit, version_input, version_se):
    monkeypatch.setattr(fresnet, "STEM", FILTERS[0])
    monkeypatch.setattr(fresnet, "FILTERS", FILTERS)
    symbol = fresnet.get_symbol(EMBEDDING, 18, "GAP", version_input, version_unit, version_se)
    values = draw_values(symbol)
    images = mx.nd.array(np.random.RandomState(4).randint(0, 256, (2, 3, SIDE, SIDE)))
    layers = Layers(values, version_input)
    data = layers.stem(images)
    for stage in (1, 2, 3, 4):
        for number in (1, 2):
            stride = 2 if number == 1 and (stage > 1 or version_input == 1) else 1
            data = layers.unit(version_unit, data, f"stage{stage}_unit{number}", stride, number == 1)
    pooled = layers.norm(data, "bn1").mean(axis=(2, 3), keepdims=True)
    expected = layers.norm(pooled, "fc1", fixed=True).asnumpy().reshape(2, -1)
    given = {name: values[name] for name in symbol.list_arguments() if name != "data"}
    states = {name: values[name] for name in symbol.list_auxiliary_states()}
    bound = symbol.bind(mx.cpu(), {**given, "data": images}, aux_states=states, grad_req="null")
    found = bound.forward(is_train=False)[0].asnumpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())

"""What tests of several files use of head."""
import math

import mxnet as mx
import numpy as np

from training.head.layer import Layer
from training.head.margin_head import MarginHead

CLASSES, SIZE, SAMPLES = 30, 16, 12
LOSSES = {
    "softmax": dict(loss_type=0), "softmax without bias": dict(loss_type=0, no_bias=True),
    "cosface": dict(loss_type=2, margin_m=0.35, margin_s=30.0), "arcface": dict(loss_type=4),
    "easy arcface": dict(loss_type=4, easy_margin=True, margin_s=16.0),
    "combined": dict(loss_type=5, margin_m=0.3, margin_b=0.2, margin_s=32.0),
    "combined with a": dict(loss_type=5, margin_m=0.4, margin_a=0.9, margin_b=0.15),
}


def own_with_margin(c, loss_type=4, margin_m=0.5, margin_a=1.0, margin_b=0.0, easy_margin=False, **_):
    if loss_type == 2:
        return c - margin_m
    theta = math.acos(c)
    if loss_type == 5:
        return math.cos(margin_a * theta + margin_m) - margin_b
    if easy_margin:
        return math.cos(theta + margin_m) if c > 0 else c
    return math.cos(theta + margin_m) if theta + margin_m < math.pi else c - math.sin(margin_m) * margin_m


def by_numpy(embedding, weight, bias, label, **settings):
    """Loss, plain own cosine and hit of each sample, in float64."""
    rows, logits = np.arange(len(label)), embedding @ weight.T + bias
    plain = embedding @ weight.T / np.outer(np.linalg.norm(embedding, axis=1), np.linalg.norm(weight, axis=1))
    cosines = plain[rows, label]
    if settings["loss_type"] != 0:
        plain[rows, label] = [own_with_margin(cosine, **settings) for cosine in cosines]
        logits = plain * settings.get("margin_s", 64.0)
    top = logits.max(axis=1)
    losses = top + np.log(np.exp(logits - top[:, None]).sum(axis=1)) - logits[rows, label]
    return losses, cosines, (logits.argmax(axis=1) == label).astype(float)


def measured_gradient(function, array, small=1e-6):
    """Central differences in float64, one element after the other."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(*array.shape):
        kept = array[index]
        array[index] = kept + small
        above = function()
        array[index] = kept - small
        gradient[index] = (above - function()) / (2 * small)
        array[index] = kept
    return gradient


def make_case(seed=0):
    """float64 arrays that float32 holds exactly; own cosines from near -1 to near 1."""
    generator = np.random.RandomState(seed)
    label = generator.randint(0, CLASSES, SAMPLES)
    label[:2] = 0, CLASSES - 1
    weight = generator.randn(CLASSES, SIZE) * 0.3
    embedding = generator.randn(SAMPLES, SIZE)
    pull = np.linspace(-12, 12, SAMPLES)[:, None]
    embedding += pull * weight[label] / np.linalg.norm(weight[label], axis=1, keepdims=True)
    bias = generator.randn(CLASSES) * 0.2
    exact = [array.astype(np.float32).astype(np.float64) for array in (embedding, weight, bias)]
    return (*exact, label)


Head = MarginHead


def make_head(weight=None, bias=None, devices=None, **settings):
    shape = weight.shape if weight is not None else (CLASSES, SIZE)
    head = Head(Layer(*shape, **settings))
    head.initialize(mx.init.Normal(0.01), ctx=devices or [mx.cpu()])
    if weight is not None:
        head.fc7_weight.set_data(mx.nd.array(weight))
    if bias is not None and "fc7_bias" in head.layer.arrays:
        head.fc7_bias.set_data(mx.nd.array(bias))
    return head


def added_gradient(parameter):
    return sum(gradient.asnumpy() for gradient in parameter.list_grad())


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-5 * max(1, np.abs(expected).max()))

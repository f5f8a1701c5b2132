"""The margin head, forward and backward, against a one-hot formulation and against no margin at all.

One-hot is InsightFace's: normalised weights, the change of the target logit times a one-hot, softmax, and the
cross-entropy that is printed, from a second one-hot. "No margin" is the same layer with plain scaled cosines and
nothing logged. Batch 64, 512-d. All three leave gradients of weights and embeddings; those of ours and one-hot must
agree.
"""
from __future__ import annotations

import statistics
from typing import Callable, Iterator

import mxnet as mx
import numpy as np
from mxnet import autograd

from benchmarks.harness import speed_ratios, take_turns
from benchmarks.table import Row
from training.head.fast_head import FastHead
from training.head.layer import Layer
from training.head.margin_head import MarginHead

EMBEDDING, BATCH = 512, 64
CLASSES = (10575, 85742)  # CASIA-WebFace, MS1MV2
FEW = (100, 1000)  # about where training switches from the plain head to the fast one
OURS, ONE_HOT, FLOOR, PLAIN = "ours", "one-hot", "no margin", "plain"


def plain_logits(head: MarginHead, embedding: mx.nd.NDArray) -> mx.nd.NDArray:
    """Scaled cosines to all classes, as InsightFace computes them."""
    return mx.nd.FullyConnected(mx.nd.L2Normalization(embedding) * head.layer.scale,
                                mx.nd.L2Normalization(head.fc7_weight.data()), no_bias=True,
                                num_hidden=head.layer.num_classes)


def one_hot(head: MarginHead, embedding: mx.nd.NDArray, label: mx.nd.NDArray) -> tuple[mx.nd.NDArray, ...]:
    """Loss, logged cross-entropy and correct."""
    plain = plain_logits(head, embedding)
    own = mx.nd.pick(plain, label) / head.layer.scale
    hot = mx.nd.one_hot(label, head.layer.num_classes)
    logits = plain + mx.nd.broadcast_mul(hot, ((head.layer.margin(own) - own) * head.layer.scale).expand_dims(1))
    with autograd.pause():
        hit = mx.nd.argmax(logits, axis=1).astype("int32") == label
        logged = -mx.nd.sum(hot * mx.nd.log(mx.nd.softmax(logits) + 1e-30), axis=1)
    return -mx.nd.pick(mx.nd.log_softmax(logits), label), logged, hit


def no_margin(head: MarginHead, embedding: mx.nd.NDArray, label: mx.nd.NDArray) -> tuple[mx.nd.NDArray, ...]:
    """Loss alone."""
    return (-mx.nd.pick(mx.nd.log_softmax(plain_logits(head, embedding)), label),)


def sides(classes: int) -> tuple[MarginHead, dict[str, Callable[[], np.ndarray]]]:
    """The head, and functions that make a pass and return the gradient of the embeddings."""
    random = np.random.RandomState(0)
    head = FastHead(Layer(classes, EMBEDDING))
    head.initialize(mx.init.Normal(0.01))
    embedding = mx.nd.array(random.randn(BATCH, EMBEDDING))
    embedding.attach_grad()
    labels = random.randint(0, classes, BATCH).astype(np.int32)
    label = mx.nd.array(labels, dtype=np.int32)

    def recorded(function: Callable[..., tuple[mx.nd.NDArray, ...]]) -> np.ndarray:
        with autograd.record():
            outputs = function(head, embedding, label)
        outputs[0].backward()
        mx.nd.waitall()
        return embedding.grad.asnumpy()

    def ours() -> np.ndarray:
        seen = head.backward([embedding], [labels])
        mx.nd.waitall()
        return seen.gradients[0].asnumpy()
    return head, {ONE_HOT: lambda: recorded(one_hot), OURS: ours, FLOOR: lambda: recorded(no_margin)}


def rows(repeats: int) -> Iterator[Row]:
    """Two rows for each number of classes."""
    for classes in CLASSES:
        head, functions = sides(classes)
        found = [(functions[name](), head.fc7_weight.grad().asnumpy()) for name in (ONE_HOT, OURS)]
        for expected, got in zip(*found):
            if np.abs(expected - got).max() > 1e-4 * np.abs(expected).max():
                raise RuntimeError(f"{classes} classes: the gradients do not agree")
        seconds = take_turns(functions, repeats)
        spent = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
        yield Row(f"margin head, {classes} classes, of one-hot", speed_ratios(seconds, ONE_HOT, OURS), 1.3, None,
                  f"{spent[OURS]:.1f} against {spent[ONE_HOT]:.1f} ms")
        yield Row(f"margin head, {classes} classes, of no margin", speed_ratios(seconds, FLOOR, OURS), None, 1 / 1.03,
                  f"{spent[OURS]:.1f} against {spent[FLOOR]:.1f} ms")
    for classes in FEW:
        yield _few(classes, repeats)


def _few(classes: int, repeats: int) -> Row:
    """The fast head against the plain one, 20 passes at a time, since one takes a few milliseconds."""
    random = np.random.RandomState(0)
    embedding, labels = mx.nd.array(random.randn(BATCH, EMBEDDING)), random.randint(0, classes, BATCH)

    def passes(head: MarginHead) -> Callable[[], None]:
        head.initialize(mx.init.Normal(0.01))

        def twenty() -> None:
            for _ in range(20):
                head.backward([embedding], [labels])
            mx.nd.waitall()
        return twenty

    seconds = take_turns({OURS: passes(FastHead(Layer(classes, EMBEDDING))),
                          PLAIN: passes(MarginHead(Layer(classes, EMBEDDING)))}, repeats)
    spent = {name: 50 * statistics.median(values) for name, values in seconds.items()}
    return Row(f"margin head, {classes} classes, fast of plain", speed_ratios(seconds, PLAIN, OURS), None, None,
               f"{spent[OURS]:.1f} against {spent[PLAIN]:.1f} ms")

"""Milliseconds of the margin head, forward and backward, against a one-hot formulation and against no margin.

    python -m benchmarks.margin_head                    # 10,575 classes, batch 64, 512-d
    python -m benchmarks.margin_head --classes 85742    # MS1MV2

The variants take turns inside every repeat, so that whatever else the machine does falls on all of them; a ratio is
the median of the ratios within the repeats. Set OMP_NUM_THREADS to say how many cores.
"""
from __future__ import annotations

import argparse
import os
import statistics
import time

import mxnet as mx
import numpy as np
from mxnet import autograd

from common.devices import parse_devices
from common.errors import UserError
from training.head import MarginHead

EMBEDDING = 512
OURS = "pick and scatter"


def one_hot(head, embedding, label):
    """As InsightFace writes it: the change times a one-hot, and the cross-entropy of its log from a second one-hot."""
    weight = mx.nd.L2Normalization(head.fc7_weight.data(embedding.context))
    directions = mx.nd.L2Normalization(embedding) * head.scale
    plain = mx.nd.FullyConnected(directions, weight, no_bias=True, num_hidden=head.num_classes)
    own = mx.nd.pick(plain, label) / head.scale
    hot = mx.nd.one_hot(label, head.num_classes)
    logits = plain + mx.nd.broadcast_mul(hot, ((head.margin(own) - own) * head.scale).expand_dims(1))
    loss = -mx.nd.pick(mx.nd.log_softmax(logits), label)
    with autograd.pause():
        hit = mx.nd.argmax(logits, axis=1).astype("int32") == label
        logged = -mx.nd.sum(hot * mx.nd.log(mx.nd.softmax(logits) + 1e-30), axis=1)
    return loss, logged, hit


def no_margin(head, embedding, label):
    """The floor: scaled cosines and softmax cross-entropy, with no margin, cosine or hit."""
    weight = mx.nd.L2Normalization(head.fc7_weight.data(embedding.context))
    directions = mx.nd.L2Normalization(embedding) * head.scale
    plain = mx.nd.FullyConnected(directions, weight, no_bias=True, num_hidden=head.num_classes)
    return (-mx.nd.pick(mx.nd.log_softmax(plain), label),)


def ours(head, embedding, label):
    """training.head as it trains: loss, cosine and hit."""
    return head(embedding, label)


VARIANTS = {OURS: ours, "one-hot, logged": one_hot, "no margin": no_margin}


def step(function, head, embedding, label):
    """Seconds of one forward and backward, until everything it computes is there."""
    start = time.perf_counter()
    with autograd.record():
        outputs = function(head, embedding, label)
    outputs[0].backward()
    for array in (*outputs, embedding.grad, head.fc7_weight.grad(embedding.context)):
        array.wait_to_read()
    return time.perf_counter() - start


def measure(classes, batch, repeats, device):
    """Seconds by variant, one value a repeat, after one repeat of warm-up."""
    generator = np.random.RandomState(0)
    head = MarginHead(classes, EMBEDDING)
    head.initialize(mx.init.Normal(0.01), ctx=[device])
    embedding = mx.nd.array(generator.randn(batch, EMBEDDING), ctx=device)
    embedding.attach_grad()
    label = mx.nd.array(generator.randint(0, classes, batch), ctx=device, dtype=np.int32)
    seconds = {name: [] for name in VARIANTS}
    for repeat in range(repeats + 1):
        for name, function in VARIANTS.items():
            spent = step(function, head, embedding, label)
            if repeat:
                seconds[name].append(spent)
    return seconds


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.margin_head", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10575, help="classes (10575)")
    parser.add_argument("--batch", type=int, default=64, help="samples (64)")
    parser.add_argument("--repeats", type=int, default=30, help="repeats that count, after one that does not (30)")
    parser.add_argument("--device", default="cpu:0", help="cpu:0, gpu:0 and so on (cpu:0)")
    arguments = parser.parse_args()
    if min(arguments.classes, arguments.batch, arguments.repeats) < 1:
        parser.error("--classes, --batch and --repeats are numbers from 1")
    try:
        device = parse_devices(arguments.device, "--device")[0]
    except UserError as error:
        parser.error(str(error))
    seconds = measure(arguments.classes, arguments.batch, arguments.repeats, device)
    print(f"{arguments.classes} classes, batch {arguments.batch}, {EMBEDDING}-d, {device}, "
          f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}, {arguments.repeats} repeats")
    for name, values in seconds.items():
        ratio = statistics.median(value / own for value, own in zip(values, seconds[OURS]))
        print(f"{name:18s} median {1000 * statistics.median(values):7.1f} ms   least {1000 * min(values):7.1f} ms   "
              f"{ratio:.2f} x {OURS}")


if __name__ == "__main__":
    main()

"""What tests of several files use of sharded head."""
import mxnet as mx
import numpy as np

from training.head.layer import Layer
from training.head.sharded_head import ShardedHead

LAYOUTS = {"one device": dict(count=1), "two devices": dict(count=2), "three devices": dict(count=3),
           "seven devices": dict(count=7), "two whole": dict(count=2, parallel=False)}
RATE, MOMENTUM, DECAY = 0.1, 0.9, 0.01


def make_sharded(weight, bias=None, count=2, parallel=True, rate=1.0, seed=0, accumulate=False, **settings):
    layer = Layer(*weight.shape, **settings)
    head = ShardedHead(layer, [mx.cpu(number) for number in range(count)], parallel, rate, MOMENTUM, DECAY, seed,
                       accumulate)
    head.set_arrays({"fc7_weight": mx.nd.array(weight),
                     "fc7_bias": mx.nd.array(np.zeros(len(weight)) if bias is None else bias)})
    return head


def run(head, embedding, label, step=0, factor=1.0):
    shares = np.array_split(np.arange(len(label)), len(head.devices))
    head.start_step(label, step)
    return joined(head.backward([mx.nd.array(embedding[share], ctx=device)
                                 for share, device in zip(shares, head.devices)],
                                [label[share] for share in shares], factor))


def joined(seen):
    return tuple(np.concatenate([part.asnumpy() for part in parts])
                 for parts in (seen.losses, seen.cosines, seen.correct, seen.gradients))


def numbers(arrays):
    return {name: value.asnumpy() for name, value in arrays.items()}

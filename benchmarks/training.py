"""A training step with MXNet's PReLU (LeakyReLU) and with that of symbols/prelu_rewrite.py: time and memory.

A step is forward, backward and an SGD update of the embedding network, without fc7; batch 32, 112 x 112. Both sides run
as Gluon blocks with static memory, from equal weights on equal images; after one step their embeddings must agree. Peak
memory is of a process that makes three such steps and nothing else.
"""
from __future__ import annotations

import statistics
import sys
from typing import Callable, Iterator

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

import symbols
from benchmarks.harness import peak_memory, set_threads_first, speed_ratios, take_turns
from benchmarks.table import NETWORKS, SIDE, Row
from symbols.gluon_net import embedding_block
from symbols.prelu_rewrite import accelerate

BATCH = 32
SHAPE = (BATCH, 3, SIDE, SIDE)
PLAIN, FAST = "plain", "fast"
MUST = {"MobileFaceNet": (5.0, 6.0), "LResNet18E": (2.0, 2.3)}


def make_step(network: str, side: str) -> Callable[[], mx.nd.NDArray]:
    """A function that makes one training step and returns its embeddings, (BATCH, emb_size)."""
    symbol = symbols.build(*NETWORKS[network])
    block = embedding_block(symbol if side == PLAIN else accelerate(symbol, SHAPE))
    mx.random.seed(0)
    np.random.seed(0)
    arguments, _, states = symbol.infer_shape(data=SHAPE)
    parameters = {parameter.name: parameter for parameter in block.collect_params().values()}
    for name, shape in zip([*symbol.list_arguments(), *symbol.list_auxiliary_states()], [*arguments, *states]):
        if name in parameters:
            parameters[name].shape = shape  # so that both sides initialise the same weights, in the order of the symbol
    block.initialize(mx.init.Zero())
    xavier = mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2)
    for name in symbol.list_arguments():
        if name.endswith("weight"):
            xavier(mx.init.InitDesc(name), parameters[name].data())
    block.hybridize(static_alloc=True, static_shape=True)
    trainer = gluon.Trainer(block.collect_params(), "sgd", {"learning_rate": 1e-4, "momentum": 0.9, "wd": 5e-4},
                            kvstore=None)
    data = mx.nd.array(np.random.RandomState(0).randint(0, 256, SHAPE))

    def step() -> mx.nd.NDArray:
        mx.random.seed(1)  # the same dropout on both sides
        with autograd.record():
            embedding = block(data)
            loss = (embedding ** 2).sum()
        loss.backward()
        trainer.step(BATCH)
        mx.nd.waitall()
        return embedding
    return step


def speed(repeats: int) -> Iterator[Row]:
    """Images/s of both sides, interleaved."""
    for network in NETWORKS:
        steps = {side: make_step(network, side) for side in (PLAIN, FAST)}
        first, second = (step().asnumpy() for step in steps.values())
        if np.abs(first - second).max() > 1e-3 * np.abs(first).max():
            raise RuntimeError(f"{network}: the two sides do not agree")
        seconds = take_turns(steps, repeats)
        rate = {side: BATCH / statistics.median(values) for side, values in seconds.items()}
        yield Row(f"training step, {network}", speed_ratios(seconds, PLAIN, FAST), *MUST[network],
                  f"{rate[FAST]:.1f} against {rate[PLAIN]:.1f} images/s")


def memory(repeats: int) -> Iterator[Row]:
    """Peak memory of both sides, each in a process of its own."""
    for network in NETWORKS:
        peak = {side: peak_memory(["-m", "benchmarks.training", network, side]) for side in (PLAIN, FAST)}
        yield Row(f"peak memory, {network}", [peak[FAST] / peak[PLAIN]], 0.7, 0.5,
                  f"{peak[FAST] / 2 ** 20:.0f} against {peak[PLAIN] / 2 ** 20:.0f} MiB", least=True)


if __name__ == "__main__":
    set_threads_first()
    made = make_step(*sys.argv[1:])
    for _ in range(3):
        made()

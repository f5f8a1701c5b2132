"""Ours, bound graphs and gluon.Trainer, against Module: images/s, memory, and features for a trainer.

    OMP_NUM_THREADS=1 python -m benchmarks.frontend    # MobileFaceNet, batch 32, one device; holds 8 GB
    OMP_NUM_THREADS=1 python -m benchmarks.frontend --devices cpu:0,cpu:1 --per-batch-size 8 --steps 3 --repeats 9

The same running symbol, ArcFace head, SGD (10 times the learning rate on fc7) and batches: through training.model and
training.step, and through mx.mod.Module with the loss in the graph. They take turns, and peak memory is of a process
with nothing else in it.
"""
from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
from functools import partial
from typing import Callable

import mxnet as mx
import numpy as np
from mxnet.contrib import amp

from benchmarks.harness import machine, network_name, peak_memory, run_benchmark, speed_ratio, take_turns
from common import cli
from common.devices import parse_devices
from common.errors import UserError
from symbols.graph import fixed_gammas
from symbols.prelu_rewrite import for_training
from training.config import Config
from training.data.loader import Batch
from training.head.margins import TINY
from training.model import TrainingModel
from training.parts import model_spec
from training.step import update


def loss_symbol(config, embedding, classes, share):
    """The margin head's ArcFace as a Symbol of `share` samples on a device: loss, target cosine, correct and
    embedding."""
    label = mx.sym.Variable("softmax_label")
    weight = mx.sym.Variable("fc7_weight", shape=(classes, config.emb_size), lr_mult=config.fc7_lr_mult,
                             wd_mult=config.fc7_wd_mult)
    directions = mx.sym.L2Normalization(embedding) * config.margin_s
    plain = mx.sym.FullyConnected(directions, mx.sym.L2Normalization(weight), no_bias=True, num_hidden=classes)
    own = mx.sym.pick(plain, label) / config.margin_s
    m = config.margin_m
    sine = mx.sym.sqrt(mx.sym.clip((1 - own) * (1 + own), TINY, 1.0))
    moved = mx.sym.where(own > math.cos(math.pi - m), own * math.cos(m) - sine * math.sin(m),
                         own - math.sin(math.pi - m) * m)
    places = mx.sym.stack(mx.sym.arange(share, dtype="int32"), label)
    logits = plain + mx.sym.scatter_nd((moved - own) * config.margin_s, places, shape=(share, classes))
    hit = mx.sym.cast(mx.sym.cast(mx.sym.argmax(logits, axis=1), "int32") == label, "float32")
    loss = mx.sym.make_loss(-mx.sym.pick(mx.sym.log_softmax(logits), label))
    return mx.sym.Group([loss, *(mx.sym.BlockGrad(output) for output in (own, hit, embedding))])


class GluonSide:
    """training.model and training.step. start: values to begin with; scheduler: for Trainer itself to follow."""

    def __init__(self, config, size, classes, devices, start=None, scheduler=None):
        self.model = TrainingModel(model_spec(config), size, classes, devices)
        self.model.initialize()
        self.trainer = self.model.make_trainer()
        self.trainer.optimizer.lr_scheduler = scheduler
        for name, value in (start or {}).items():
            {**self.model.net_parameters, **self.model.head_parameters}[name].set_data(value)
        self.save, self.load = self.trainer.save_states, self.trainer.load_states

    def step(self, batch):
        update(self.model, self.trainer, batch, 0).read()
        mx.nd.waitall()

    def arrays(self):
        """Parameters and running statistics by name, on the host."""
        arguments, auxiliary = self.model.network_arrays()
        return {**arguments, **auxiliary, **self.model.head_arrays()}

    def optimizer(self):
        return self.trainer.optimizer

    def for_amp(self):
        """What AMP's loss scaling is given."""
        return self.trainer


class ModuleSide:
    """mx.mod.Module over the same running symbol, factors as attributes of the variables."""

    def __init__(self, config, size, classes, devices, start=None, scheduler=None):
        symbol = TrainingModel(model_spec(config), size, classes, devices).symbol
        running = for_training(symbol, (1, 3, *size), devices)
        running.get_internals()["pre_fc1_weight"]._set_attr(__wd_mult__=str(config.emb_wd_mult))
        share, total = config.per_batch_size, config.per_batch_size * len(devices)
        data = mx.sym.cast(mx.sym.transpose(mx.sym.Variable("data"), (0, 3, 1, 2)), "float32")
        self.module = mx.mod.Module(loss_symbol(config, running(data=data), classes, share), context=devices,
                                    fixed_param_names=fixed_gammas(symbol))
        self.module.bind([mx.io.DataDesc("data", (total, *size, 3), np.uint8, "NHWC")],
                         [mx.io.DataDesc("softmax_label", (total,), np.int32, "N")])
        mx.random.seed(config.seed)
        # Before init_optimizer: afterwards the kvstore of several devices has weights that set_params does not reach.
        self.module.init_params(arg_params=start, aux_params=start)
        self.module.init_optimizer(kvstore="device", optimizer="sgd", optimizer_params=dict(
            learning_rate=config.lr, momentum=config.mom, wd=config.wd, lr_scheduler=scheduler))
        self.save, self.load = self.module.save_optimizer_states, self.module.load_optimizer_states

    def step(self, batch):
        self.module.forward_backward(mx.io.DataBatch([mx.nd.array(batch.images, dtype=np.uint8)],
                                                     [mx.nd.array(batch.labels, dtype=np.int32)]))
        self.module.update()
        mx.nd.waitall()

    def arrays(self):
        return {name: value.copy() for part in self.module.get_params() for name, value in part.items()}

    def optimizer(self):
        return (self.module._kvstore._updater if self.module._update_on_kvstore else self.module._updater).optimizer

    def for_amp(self):
        return self.optimizer()


OURS, MODULE = "bound graphs and gluon.Trainer", "Module"
SIDES: dict[str, Callable[..., GluonSide | ModuleSide]] = {OURS: GluonSide, MODULE: ModuleSide}
SMALL = ((32, 32), 20)  # image size and classes of the checks, where only the optimizer matters


def make_config(network="y1", share=4, **others):
    """The FasterFC recipe; GNAP has no dropout, whose masks would differ."""
    return Config(**{**dict(network=network, version_output="GNAP", emb_size=128, lr=0.01, fc7_lr_mult=10.0,
                            emb_wd_mult=10.0, per_batch_size=share), **others})


def draw_batches(count, total, size, classes):
    random = np.random.RandomState(0)
    return [Batch(random.randint(0, 256, (total, *size, 3)).astype(np.uint8),
                  random.randint(0, classes, total).astype(np.int32), np.arange(total)) for _ in range(count)]


def difference(one, other):
    """The largest difference of a parameter or running statistic, relative to its largest value.

    To 0.1 where that is smaller: a bias in front of a BatchNorm is rounding alone.
    """
    one, other = ({name: value.asnumpy() for name, value in side.arrays().items()} for side in (one, other))
    return max(np.abs(one[name] - other[name]).max() / max(np.abs(other[name]).max(), 0.1)
               for name in {**one, **other})


def agreement(config, place: tuple[tuple[int, int], int], devices, batches):
    """The difference of Gluon and Module after `batches` from equal weights."""
    ours = GluonSide(config, *place, devices)
    theirs = ModuleSide(config, *place, devices, start=ours.arrays())
    for batch in batches:
        ours.step(batch)
        theirs.step(batch)
    return difference(ours, theirs)


def turn(side, batches):
    """A function that makes a step with each of `batches`."""
    def steps():
        for batch in batches:
            side.step(batch)
    return steps


def check_rates(side, devices):
    """The ratio of fc7's updates with a factor of 10 and of 1 (10 is right)."""
    moved = []
    for factor in (1.0, 10.0):
        made = side(make_config(fc7_lr_mult=factor, wd=0.0), *SMALL, devices)
        start = made.arrays()["fc7_weight"]
        made.step(draw_batches(1, 4 * len(devices), *SMALL)[0])
        moved.append(mx.nd.norm(made.arrays()["fc7_weight"] - start).asscalar())
    return moved[1] / moved[0]


def check_states(side, devices):
    """num_update after 3 steps, a save and a load; how far the next step is from one without a stop."""
    schedule = partial(mx.lr_scheduler.MultiFactorScheduler, [2], 0.1, base_lr=0.01)
    batches = draw_batches(4, 4 * len(devices), *SMALL)  # the learning rate drops to a tenth after two of them
    first = side(make_config(), *SMALL, devices, scheduler=schedule())
    for batch in batches[:3]:
        first.step(batch)
    second = side(make_config(), *SMALL, devices, start=first.arrays(), scheduler=schedule())
    with tempfile.NamedTemporaryFile() as file:
        first.save(file.name)
        second.load(file.name)
    restored = second.optimizer().num_update
    first.step(batches[3])
    second.step(batches[3])
    return restored, difference(second, first)


def main(argv: list[str]) -> None:
    parser = cli.Parser(prog="python -m benchmarks.frontend", description=__doc__)
    for flag, default, text in (("network", "y1", "y1, r18 and so on"), ("devices", "cpu:0", "cpu:0,cpu:1 and so on"),
                                ("per-batch-size", 32, "images on each device"), ("classes", 1000, "classes"),
                                ("steps", 2, "steps in a repeat"), ("repeats", 7, "repeats after one of warm-up")):
        kind = network_name if flag == "network" else str if flag == "devices" else cli.at_least(1)
        parser.add_argument(f"--{flag}", type=kind, default=default, help=f"{text} ({default})")
    parser.add_argument("--only", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    try:
        devices = parse_devices(arguments.devices)
    except UserError as error:
        parser.error(str(error))
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    config, place = make_config(arguments.network, arguments.per_batch_size), ((112, 112), arguments.classes)
    batches = draw_batches(arguments.steps, arguments.per_batch_size * len(devices), *place)
    if arguments.only:
        turn(SIDES[arguments.only](config, *place, devices), batches[:1] * 2)()
        return
    print(machine(), *(f"{name} {value}" for name, value in vars(arguments).items() if value),
          f"load {os.getloadavg()[0]:.1f}", sep=", ")
    memory = {name: peak_memory(["-m", "benchmarks.frontend", *sys.argv[1:], "--only", name]) for name in SIDES}
    sides = {name: side(config, *place, devices) for name, side in SIDES.items()}
    seconds = take_turns({name: turn(side, batches) for name, side in sides.items()}, arguments.repeats)
    images = sum(len(batch.labels) for batch in batches)
    for name, spent in seconds.items():
        print(f"{name:29s} {images / statistics.median(spent):6.1f} images/s ({speed_ratio(seconds, MODULE, name):.2f} "
              f"x Module)   peak {memory[name] / 2 ** 20:5.0f} MiB")
    print(f"largest relative difference of a parameter, Gluon and Module, a step from equal weights: "
          f"{agreement(config, place, devices, batches[:1]):.2g}")
    for name in (OURS, MODULE):
        restored, distance = check_states(SIDES[name], devices)
        print(f"{name}: 10 times the learning rate updates fc7 {check_rates(SIDES[name], devices):.3f} times as much; "
              f"optimizer saved at num_update 3, restored at {restored}; "
              f"next step with a schedule off by {distance:.2g}")
    amp.init()  # last, since it patches MXNet permanently
    for name in (OURS, MODULE):
        try:
            amp.init_trainer(sides[name].for_amp())
            print(f"{name}: AMP's loss scaling takes its optimizer")
        except TypeError as error:
            print(f"{name}: AMP's loss scaling refuses its optimizer ({error})")


if __name__ == "__main__":
    run_benchmark(main)

"""The network and its classification head on every device, and the optimizer over both."""
from __future__ import annotations

from typing import Callable, Mapping

import mxnet as mx
import numpy as np
from mxnet import gluon

import symbols
from common.mxnet_compat import Trainer
from symbols.float16_graph import to_float16
from symbols.gluon_net import embedding_block
from symbols.gnap import VARIANTS
from symbols.graph import fixed_gammas
from symbols.prelu_rewrite import for_training
from symbols.shapes import infer_shapes, parameter_names
from training.bound_network import BoundNetwork
from training.cluster.communicator import Communicator
from training.device_images import DeviceImages
from training.gate import Gate, GatedSGD
from training.head.fast_head import FROM_CLASSES, FastHead
from training.head.layer import Layer
from training.head.margin_head import INITIAL, MarginHead
from training.head.sharded_head import ShardedHead
from training.precision import LossScale
from training.saving.contents import LOSS_SCALE, Contents
from training.specs import HeadSpec, ModelSpec, NetworkSpec, OptimizerSpec
from training.sum_of_squares import SumOfSquares

Arrays = Mapping[str, mx.nd.NDArray]


def build_symbol(spec: NetworkSpec) -> mx.sym.Symbol:
    """The plain embedding symbol, as it is saved, with InsightFace's names and operators."""
    return symbols.build(spec.network, emb_size=spec.emb_size, version_output=spec.version_output,
                         version_input=spec.version_input, version_unit=spec.version_unit,
                         version_se=spec.version_se, version_act=spec.version_act, bn_mom=spec.bn_mom,
                         net_multiplier=spec.net_multiplier,
                         **(VARIANTS[spec.gnap_variant] if spec.version_output == "GNAP" else {}))


def build_head(spec: HeadSpec, optimizer: OptimizerSpec, num_classes: int, devices: list[mx.Context], seed: int = 0,
               communicator: Communicator | None = None) -> MarginHead | ShardedHead:
    """The classification layer, not initialised; UserError for invalid settings."""
    layer = Layer(num_classes, spec.emb_size, loss_type=spec.loss_type, margin_s=spec.margin_s,
                  margin_m=spec.margin_m, margin_a=spec.margin_a, margin_b=spec.margin_b,
                  easy_margin=bool(spec.easy_margin), no_bias=spec.fc7_no_bias, fc7_lr_mult=spec.fc7_lr_mult,
                  fc7_wd_mult=spec.fc7_wd_mult, margin_warmup=spec.margin_warmup)
    if not spec.fc7_parallel and spec.partial_fc == 1:
        return (FastHead if num_classes >= FROM_CLASSES else MarginHead)(layer)
    return ShardedHead(layer, devices, spec.fc7_parallel, spec.partial_fc, optimizer.mom, optimizer.wd, seed,
                       optimizer.accumulate > 1, communicator)


class TrainingModel:
    """An embedding network with its head, replicated over `devices`.

    symbol: what checkpoints hold. shapes: of its parameters and auxiliary states, by name. block: a Gluon block of the
    running form, which holds the parameters; network: that form, bound to them. It has PReLU in its fast form on CPUs,
    and on GPUs that give slopes a wrong gradient: exact, and with the same parameters. scale: loss scale of
    float16; the parameters are always float32. communicator: of the workers that train it together. form: the rewriting
    of the plain graph that runs. ValueError for an unknown network, or where it does not take images of image_size.
    """

    def __init__(self, spec: ModelSpec, image_size: tuple[int, int], num_classes: int,
                 devices: list[mx.Context], communicator: Communicator | None = None,
                 form: Callable[..., mx.sym.Symbol] = for_training) -> None:
        self.spec, self.communicator = spec, communicator or Communicator()
        self.devices, self.image_size, self.accumulate = devices, image_size, spec.optimizer.accumulate
        self.clip_gradient = spec.optimizer.clip_gradient
        self.symbol = build_symbol(spec.network)
        shapes = infer_shapes(self.symbol, (1, 3, *image_size))
        self.shapes = {name: shapes[name] for name in parameter_names(self.symbol)}
        self.scale = LossScale() if spec.float16 else None
        runs = form(self.symbol, (1, 3, *image_size), devices)
        runs = to_float16(runs) if self.scale else runs
        self.block = embedding_block(runs)
        self.head = build_head(spec.head, spec.optimizer, num_classes, devices, spec.seed, self.communicator)
        self.net_parameters = {parameter.name: parameter for parameter in self.block.collect_params().values()}
        self.head_parameters = dict(self.head.collect_params()) if isinstance(self.head, MarginHead) else {}
        self.network = BoundNetwork(runs, self.net_parameters, (1, 3, *image_size), spec.recompute)
        self.images, self.sum_of_squares = DeviceImages(), SumOfSquares()
        self.has_dropout = '"Dropout"' in self.symbol.tojson()
        self._set_decay(spec.optimizer.emb_wd_mult)
        if self.accumulate > 1:
            for parameter in self._trained():
                parameter.grad_req = "add"

    def _trained(self) -> list[gluon.Parameter]:
        return [parameter for parameter in (*self.net_parameters.values(), *self.head_parameters.values())
                if parameter.grad_req != "null"]

    def clear_gradients(self) -> None:
        """Set the gradients to 0 before the next step's micro-batches are accumulated."""
        for parameter in self._trained():
            parameter.zero_grad()

    def _set_decay(self, emb_wd_mult: float) -> None:
        # MXNet's rule for Module: only weights and gammas decay.
        for name, parameter in self.net_parameters.items():
            parameter.wd_mult = 1.0 if name.endswith(("_weight", "_gamma")) else 0.0
        if "pre_fc1_weight" in self.net_parameters:
            self.net_parameters["pre_fc1_weight"].wd_mult = emb_wd_mult

    def initialize(self) -> None:
        """Initialise the weights by the seed: Xavier (gaussian, out, 2) for the network, Normal(0.01) for fc7."""
        mx.random.seed(self.spec.seed)
        np.random.seed(self.spec.seed)
        for name, shape in self.shapes.items():
            self.net_parameters[name].shape = shape  # so that weights are initialised now, not at the first batch
        self.block.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2), ctx=self.devices)
        self.head.initialize(mx.init.Normal(INITIAL), ctx=self.devices)

    def make_trainer(self) -> Trainer:
        """SGD with momentum over network and head.

        Gradients are summed over the devices of all workers; each device updates its own copy of the weights.
        """
        parameters = {**self.net_parameters, **self.head_parameters}
        optimizer = self.spec.optimizer
        sgd = GatedSGD(learning_rate=optimizer.lr, momentum=optimizer.mom, wd=optimizer.wd)
        return Trainer(parameters, sgd, self.communicator.store)

    def take(self, network: Arrays, fc7: Arrays) -> None:
        """Initialise from arrays of another run with the same shapes: of the network, and of its layer."""
        fixed = fixed_gammas(self.symbol)
        for name, value in network.items():
            if name not in fixed:  # a third-party checkpoint may hold decayed values there, which count as 1
                self.net_parameters[name].set_data(value)
        self.head.set_arrays({name: value for name, value in fc7.items() if name in self.head.layer.arrays})

    def network_arrays(self) -> tuple[dict[str, mx.nd.NDArray], dict[str, mx.nd.NDArray]]:
        """Arguments and auxiliary states of the embedding, in host memory.

        Weights are the same on every device; BatchNorm's running statistics are averaged over the devices of all
        workers, which all must call this together.
        """
        statistics = self._all_statistics()
        return self._weights(), {name: mx.nd.array(copies.sum(0) / np.float32(len(copies)), ctx=mx.cpu())
                                 for name, copies in statistics.items()}

    def _weights(self) -> dict[str, mx.nd.NDArray]:
        return {name: self.net_parameters[name].list_data()[0].copyto(mx.cpu())
                for name in self.symbol.list_arguments() if name != "data"}

    def _all_statistics(self) -> dict[str, np.ndarray]:
        """Running statistics by name, (workers x devices, *shape) float32, worker by worker."""
        mx.nd.waitall()  # synchronise: MXNet does not wait for a backward pass that is still updating them
        names = self.symbol.list_auxiliary_states()
        own = np.stack([np.concatenate([self.net_parameters[name].list_data()[device].asnumpy().ravel()
                                        for name in names]) for device in range(len(self.devices))])
        everybody = self.communicator.allgather("running statistics", own).reshape(-1, own.shape[1])
        ends = np.cumsum([int(np.prod(self.shapes[name])) for name in names])
        return {name: part.reshape(-1, *self.shapes[name])
                for name, part in zip(names, np.split(everybody, ends[:-1], axis=1))}

    def state_contents(self) -> Contents:
        """The arrays of a state of this model."""
        return Contents(self.shapes, frozenset(self.symbol.list_auxiliary_states()),
                        {"fc7_weight": self.head.shape, "fc7_bias": self.head.shape[:1]})

    def head_arrays(self) -> dict[str, mx.nd.NDArray]:
        """What the head needs to resume, in host memory."""
        return self.head.arrays()

    def set_arrays(self, net: Arrays, head: Arrays) -> None:
        """Restore what `state_arrays` and `head_arrays` returned; on another number of devices the mean of the running
        statistics on all of them."""
        numbers = {name.partition("@")[2] for name in net if "@" in name}
        same_number = len(numbers) == len(self.devices) * self.communicator.size
        copies: dict[str, list[mx.nd.NDArray]] = {}
        for name, value in net.items():
            base, _, number = name.partition("@")
            if name == LOSS_SCALE:
                if self.scale:  # not where a run continues in float32
                    self.scale = LossScale(*value.asnumpy())
            elif number and not same_number:
                copies.setdefault(base, []).append(value)
            elif number:
                worker, device = divmod(int(number), len(self.devices))
                if worker == self.communicator.rank:
                    value.copyto(self.net_parameters[base].list_data()[device])
            else:
                self.net_parameters[name].set_data(value)
        for name, values in copies.items():
            self.net_parameters[name].set_data(mx.nd.add_n(*values) / len(values))
        self.head.set_arrays(head)

    def running_statistics(self) -> dict[str, list[mx.nd.NDArray]]:
        """Copies of BatchNorm's running statistics, of each device its own."""
        return {name: [value.copy() for value in self.net_parameters[name].list_data()]
                for name in self.symbol.list_auxiliary_states()}

    def choose_statistics(self, gate: Gate, before: Mapping[str, list[mx.nd.NDArray]]) -> None:
        """Where the gate is shut, put back what `running_statistics` gave. Does not wait: what writes them here comes
        after the backward pass that may still be updating them, since that reads them."""
        for name, copies in before.items():
            for value, copy in zip(self.net_parameters[name].list_data(), copies):
                gate.choose(value, copy, value)

    def state_arrays(self) -> dict[str, mx.nd.NDArray]:
        """All of the network that a resumed run needs: running statistics of each device separately; the scale of a
        float16 loss and its counters. All workers must call this together.
        """
        arrays, statistics = self._weights(), self._all_statistics()
        if self.scale:
            arrays[LOSS_SCALE] = mx.nd.array(self.scale.state(), ctx=mx.cpu())
        for name, copies in statistics.items():
            for number, value in enumerate(copies):
                arrays[f"{name}@{number}"] = mx.nd.array(value, ctx=mx.cpu())
        return arrays


"""One update of the network and its classification layer: on one device, on several, and with the flags that change how
it is computed. All must update the weights as a single CPU does, with the same split of the batch."""
from __future__ import annotations

from dataclasses import replace
from typing import Any, Iterator, Sequence

import mxnet as mx
import numpy as np

from common.devices import device_name
from common.errors import UserError
from common.settings import as_flags
from training.cluster.communicator import Communicator
from training.config import Config
from training.data.loader import Batch
from training.model import TrainingModel
from training.option import flags
from training.parts import model_spec
from training.precision import check_precision
from training.presets import preset
from training.selftest.reference import furthest
from training.selftest.report import Row, guarded
from training.specs import ModelSpec
from training.step import update

SIDE, SMALL_SIDE = 112, 32
SHARE, SMALL_SHARE = 8, 4  # images of a device at a time
CLASSES, MANY_CLASSES = 60, 1200  # many classes have a differently computed classification layer
LOSSES = {0: "softmax", 2: "CosFace", 5: "combined"}  # in addition to ArcFace
PROBLEM = ("partial_fc", "loss_type", "margin_m")  # the flags that change where the weights are stored
TOLERANCE, HALF_TOLERANCE = 0.05, 0.3  # relative to the update of all weights of a kind
HALF_SCALE = 256.0  # of the loss; the initial one may overflow, which skips the first step


def rows(devices: Sequence[mx.Context], quick: bool) -> Iterator[Row]:
    """The rows of all devices together, and of the first alone."""
    side, share = (SMALL_SIDE, SMALL_SHARE) if quick else (SIDE, SHARE)
    config = Config(**{**preset("mobilefacenet++"), "data_dir": "none", "per_batch_size": share, "lr": 0.01,
                       "margin_s": 16.0, "margin_m": 0.1})
    count, first, several = len(devices), device_name(devices[0]), ", ".join(map(device_name, devices))
    expected: dict[tuple[Any, ...], dict[str, np.ndarray]] = {}

    def against(what: str, on: Sequence[mx.Context], accumulate: int, classes: int = CLASSES, **flags: Any) -> Row:
        """A row: the weights' update on the devices `on`, and on the CPU with the same split of the batch."""
        def check() -> tuple[bool, str]:
            shares, problem = len(on) * accumulate, {name: flags[name] for name in PROBLEM if name in flags}
            key = (shares, classes, *sorted(problem.items()))
            if key not in expected:
                plain = replace(config, accumulate=shares, **problem)
                expected[key] = moved(model_spec(plain), [mx.cpu(0)], side, share * shares, classes)
            tried = replace(config, accumulate=accumulate, **flags)
            found = moved(model_spec(tried), list(on), side, share * shares, classes, tried.kvstore)
            worst, whose = furthest(found, expected[key])
            most = HALF_TOLERANCE if flags.get("dtype") == "float16" else TOLERANCE
            return worst <= most, f"off by {worst:.1e} of the way at most ({whose})"
        return guarded(what, check)

    yield against(f"one update, {first}", devices[:1], count)
    if count > 1:
        yield against(f"one update, the same on {several}", devices, 1)
        yield against(f"--kvstore local, {several}", devices, 1, kvstore="local")
    else:
        yield Row("one update on two devices", None, "name two --devices to try it")
    yield against(f"one update, {MANY_CLASSES} classes, {several}", devices, 1, MANY_CLASSES)
    for loss_type, name in {} if quick else LOSSES.items():
        yield against(f"--loss-type {loss_type} ({name}), {several}", devices, 1, loss_type=loss_type)
    yield against(f"--fc7-parallel, {several}", devices, 1, fc7_parallel=True)
    yield against(f"--partial-fc 0.5, {several}", devices, 1, partial_fc=0.5)
    yield against(f"--accumulate 2, {several}", devices, 2)
    yield against(f"--mirror-memory, {several}", devices, 1, mirror_memory=True)
    yield half(f"--dtype float16, {several}", devices, lambda what: against(what, devices, 1, dtype="float16"))


def half(what: str, devices: Sequence[mx.Context], tried: Any) -> Row:
    """The row of float16, also where the device does not support it."""
    try:
        check_precision("float16", devices)
    except UserError as error:
        message, on_cpu = as_flags(str(error), flags(Config)), devices[0].device_type == "cpu"
        return Row(what, None if on_cpu else False, f"not possible on CPUs: {message}" if on_cpu else message)
    return tried(what)


def moved(spec: ModelSpec, devices: list[mx.Context], side: int, images: int, classes: int, kvstore: str = "device"
          ) -> dict[str, np.ndarray]:
    """One update's change of the weights: those of a kind (all slopes, all gammas, ...) as one array, and fc7."""
    model = TrainingModel(spec, (side, side), classes, devices, Communicator(kvstore))
    model.initialize()
    trainer = model.make_trainer()
    if model.scale:
        model.scale.value = HALF_SCALE
    before = _weights(model)
    random = np.random.RandomState(3)
    batch = Batch(random.randint(0, 256, (images, side, side, 3)).astype(np.uint8),
                  random.randint(0, classes, images).astype(np.int32), np.arange(images))
    update(model, trainer, batch, 0)
    after = _weights(model)
    return {kind: after[kind] - before[kind] for kind in before}


def _weights(model: TrainingModel) -> dict[str, np.ndarray]:
    arguments, _ = model.network_arrays()
    kinds: dict[str, list[np.ndarray]] = {}
    for name, value in arguments.items():
        kind = "slopes" if "relu" in name and name.endswith("_gamma") else f"all {name.rsplit('_', 1)[-1]}s"
        kinds.setdefault(kind, []).append(value.asnumpy().ravel())
    return {**{kind: np.concatenate(parts) for kind, parts in kinds.items()},
            "fc7": model.head_arrays()["fc7_weight"].asnumpy()}

"""Images/s: training steps of the presets on all devices, and reading alone."""
from __future__ import annotations

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, Sequence

import mxnet as mx
import numpy as np

from common.devices import device_name
from common.environment import usable_cores
from common.errors import UserError
from common.settings import as_flags
from recordio_tools.records.dataset import open_dataset
from symbols.prelu_check import slope_gradients_hold
from symbols.prelu_rewrite import for_training
from training.config import Config
from training.data.loader import Batch, BatchLoader
from training.model import TrainingModel
from training.option import flags
from training.parts import model_spec
from training.precision import check_precision
from training.presets import PRESETS, preset
from training.selftest.pictures import make_set
from training.selftest.report import Row, guarded
from training.specs import LoaderSpec
from training.step import update

SIDE, SMALL_SIDE = 112, 32
CLASSES = 10000
WARM_UP = 2  # warm-up steps, in which cuDNN selects its fastest algorithms
BATCH = {"gpu": 64, "cpu": 8}  # images on each device
LEAST, MOST = 3, 100  # steps
SECONDS = 5.0  # seconds of a measurement after warm-up
READ_BATCH, READ_IDENTITIES, READ_IMAGES = 128, 64, 16
SMALL = ("mobilefacenet++",)


def rows(devices: Sequence[mx.Context], quick: bool) -> Iterator[Row]:
    """A row per preset, float16 where the devices support it, and reading."""
    named = ", ".join(map(device_name, devices))
    for name in SMALL if quick else PRESETS:
        yield guarded(f"{name}, {named}", partial(training, name, devices, quick))
    if devices[0].device_type == "gpu":
        for name in SMALL if quick else ("mobilefacenet++", "lresnet18e-gnap"):
            yield guarded(f"{name}, float16, {named}", partial(training, name, devices, quick, "float16"))
        if not all(slope_gradients_hold(device) for device in devices):  # the cost of not using MXNet's PReLU
            for name in SMALL if quick else ("mobilefacenet++", "lresnet18e-gnap"):
                yield guarded(f"{name}, MXNet's own PReLU (wrong slopes, never trained so), {named}",
                              partial(training, name, devices, quick, form=lambda symbol, *_: symbol))
    yield guarded(f"reading alone, {usable_cores()} cores", lambda: reading(quick))


def training(name: str, devices: Sequence[mx.Context], quick: bool, dtype: str = "float32",
             form: Callable[..., mx.sym.Symbol] = for_training) -> tuple[bool | None, str]:
    """Images/s of whole steps, data ready in memory; form: the graph's form."""
    try:
        check_precision(dtype, devices)
    except UserError as error:
        return False, as_flags(str(error), flags(Config))
    side, each = SMALL_SIDE if quick else SIDE, BATCH[devices[0].device_type]
    spec = model_spec(Config(**{**preset(name), "lr": 1e-3, "dtype": dtype}))
    model = TrainingModel(spec, (side, side), CLASSES, list(devices), form=form)
    model.initialize()
    trainer = model.make_trainer()
    random, images = np.random.RandomState(0), each * len(devices)
    batch = Batch(random.randint(0, 256, (images, side, side, 3)).astype(np.uint8),
                  random.randint(0, CLASSES, images).astype(np.int32), np.arange(images))
    made = [0]

    def step() -> None:
        result = update(model, trainer, batch, made[0])
        made[0] += 1
        if not np.isfinite(result.read()[0]).all():
            raise RuntimeError("the loss is not finite")
        mx.nd.waitall()
    seconds = _timed(step, quick)
    return None, f"{images / seconds:.1f} images/s ({each} on each device, {side}x{side}, {CLASSES} classes)"


def reading(quick: bool) -> tuple[None, str]:
    """Images/s of the loader that training uses: shuffled, mirrored batches of JPEGs, from the disk's cache."""
    with tempfile.TemporaryDirectory(prefix="selftest-") as folder:
        people = 4 if quick else READ_IDENTITIES
        dataset = open_dataset(make_set(Path(folder) / "data", people, READ_IMAGES, SIDE))
        size = (Path(folder) / "data" / "train.rec").stat().st_size / len(dataset) / 1024
        loader = BatchLoader(dataset, np.arange(len(dataset)), LoaderSpec(READ_BATCH))
        try:
            seconds = _timed(loader.next, quick)
        finally:
            loader.close()
            dataset.record_file.close()
    return None, f"{READ_BATCH / seconds:.0f} images/s ({SIDE}x{SIDE}, {size:.1f} KiB each)"


def _timed(step: Callable[[], object], quick: bool) -> float:
    """The median seconds of a step, after those of warm-up."""
    for _ in range(1 if quick else WARM_UP):
        step()
    spent: list[float] = []
    while len(spent) < (1 if quick else LEAST) or (not quick and sum(spent) < SECONDS and len(spent) < MOST):
        began = time.perf_counter()
        step()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)

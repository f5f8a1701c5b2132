"""One training run from its configuration to its last checkpoint."""
from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from common.devices import parse_devices
from common.errors import RunError, UserError
from common.mxnet_compat import set_momentum
from common.settings import as_flags, settings_as_flags
from common.signals import Signals
from recordio_tools.records.dataset import FaceDataset, open_dataset
from training.cluster.communicator import Communicator
from training.cluster.create import create_communicator
from training.config import Config
from training.data.loader import BatchLoader, TooManyBadRecords, choose_images
from training.description import describe_run
from training.image_size import check_image_size, check_last_map
from training.loop import Loop
from training.model import TrainingModel
from training.option import flags
from training.parts import loader_spec, loop_spec, model_spec, schedule_spec
from training.precision import check_precision
from training.reporting.runlog import RunLog, write_config
from training.saving.adapt_head import adapt_head
from training.saving.fingerprint import fingerprint, people
from training.saving.header import TOTAL_BATCH
from training.saving.names import STATE
from training.saving.prefix import check_prefix
from training.saving.pretrained import open_pretrained
from training.saving.run_folder import bring_back, prepare_folder
from training.saving.state import Progress, States, generations
from training.schedule import SCHEDULE, Clock, resolve_schedule
from training.shared_state import broadcast_arrays, broadcast_state, check_alike, check_weights
from training.specs import ModelSpec, NetworkSpec, PretrainedSpec, SavingSpec, VerificationSpec
from training.validation import open_targets

log = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Train as `config` says; the exit status (0 done, 130 stopped). UserError for anything wrong before it begins."""
    with settings_as_flags(flags(Config)), Signals() as signals, contextlib.ExitStack() as closing:
        try:
            return _run(config, signals, closing, closing.enter_context(create_communicator(config.kvstore)))
        except TooManyBadRecords as error:
            raise RunError(f"{error}, --repair writes the set without them") from None


def _run(config: Config, signals: Signals, closing: contextlib.ExitStack, communicator: Communicator) -> int:
    first = communicator.rank == 0  # the worker that verifies, and writes everything
    check_prefix(config.prefix)
    devices = parse_devices(config.devices)
    check_precision(config.dtype, devices)
    dataset = open_dataset(config.data_dir)
    image_size = _image_size(config, dataset)
    targets = open_targets(config.part(VerificationSpec), image_size) if first else []
    chosen = choose_images(dataset, config.images_filter)
    total_batch = config.total_batch(len(devices), communicator.size)
    schedule = resolve_schedule(schedule_spec(config), len(chosen), Clock(total_batch))
    model = _build_model(model_spec(config), image_size, dataset.num_classes, devices, communicator)
    states = States(Path(config.prefix).parent / STATE,
                    _identity(config, devices, communicator.size, image_size,
                              {"data": fingerprint(dataset, chosen), **people(dataset)}),
                    model.state_contents())
    check_alike(communicator, states.identity)
    loaded = None
    if first and not config.dry_run:
        bring_back(config.prefix)
    if config.pretrained and not (config.resume and generations(states.folder)):
        loaded = open_pretrained(config.part(PretrainedSpec), model.shapes, states.identity, model.head.shape, first)
    identities = len(np.unique(dataset.labels[chosen]))
    described = describe_run(config, dataset, len(chosen), identities, model, targets)
    if config.dry_run:
        if first:
            print(as_flags("\n".join([*described, f"schedule: {schedule.describe()}"]), flags(Config)))
        return 0

    found = prepare_folder(config.part(SavingSpec), states, closing) if first else None
    state = broadcast_state(communicator, states, found)
    model.initialize()
    trainer = model.make_trainer()
    progress, began, changes = Progress(), [], []
    if state:
        progress, arrays = state
        clock = Clock(total_batch, progress.step, progress.position)
        schedule = resolve_schedule(schedule_spec(config), len(chosen), clock)
        began = [f"resumed at step {progress.step}"]
        changes = [*states.changes, *schedule.changes(states.before.get(SCHEDULE))]
        head, momentum = adapt_head(model.head.layer, bool(model.head_parameters), arrays["head"], arrays["momentum"])
        model.set_arrays(arrays["net"], head)
        set_momentum(trainer, momentum, devices)
    elif loaded:
        fc7 = broadcast_arrays(communicator, {"head": loaded.fc7})["head"]
        model.take(loaded.taken, fc7)
        began = loaded.lines
    states.identity[SCHEDULE] = schedule.lr_summary()
    check_weights(communicator, model, progress.step)
    runlog = None
    if first:
        folder = Path(config.prefix).parent
        runlog = RunLog(folder, progress.lengths, progress.step + 1 if state else 0)
        closing.callback(runlog.close)
        for line in (*described, f"schedule: {schedule.describe()}", *began, *changes):
            log.log(logging.WARNING if line.startswith(("warning: ", "`resume`: ")) else logging.INFO, "%s", line)
        write_config(folder, config.as_dict(), {
            "devices": [str(device) for device in devices], "workers": communicator.size,
            "num_classes": dataset.num_classes, "images": len(chosen), "image_size": list(image_size),
            "total_batch": total_batch, "schedule": asdict(schedule), "targets": [str(item.path) for item in targets]})
    # All workers know the same order, and each takes its own stretch of every batch: together, what one would take.
    batches = loader_spec(config, total_batch, communicator.size)
    loader = BatchLoader(dataset, chosen, batches, progress.position + communicator.rank * batches.batch, progress.bad)
    closing.callback(loader.close)
    return Loop(loop_spec(config, total_batch), schedule, model, trainer, loader, targets, progress, runlog, states,
                signals).run()


def _image_size(config: Config, dataset: FaceDataset) -> tuple[int, int]:
    packed = (dataset.height, dataset.width)
    check_image_size(config.image_size, packed, config.data_dir)
    with contextlib.suppress(ValueError):  # there is no such network, as building it will say
        check_last_map(config.part(NetworkSpec), packed, config.data_dir)
    return packed


def _build_model(spec: ModelSpec, image_size: tuple[int, int], num_classes: int, devices: list[mx.Context],
                 communicator: Communicator) -> TrainingModel:
    try:
        return TrainingModel(spec, image_size, num_classes, devices, communicator)
    except ValueError as error:  # the builders' own checks: an unknown network, a head that does not fit the images
        network = spec.network
        raise UserError(f"`network` {network.network} `version_output` {network.version_output}: {error}") from None


def _identity(config: Config, devices: list[mx.Context], workers: int, image_size: tuple[int, int],
              data: dict[str, Any]) -> dict[str, Any]:
    """What a state must agree with to be resumed: flags as they were resolved, so that only a difference differs."""
    several = f"{workers} workers x " if workers > 1 else ""
    return {**config.as_dict(), "devices": f"{several}{len(devices)} x {devices[0].device_type}",
            TOTAL_BATCH: config.total_batch(len(devices), workers), "image_size": f"{image_size[0]},{image_size[1]}",
            **data}

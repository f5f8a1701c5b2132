"""One training run from its configuration to its last checkpoint."""
from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np
from mxnet import gluon

from common.devices import device_name, parse_devices
from common.errors import RunError, UserError
from common.mxnet_compat import set_momentum
from common.settings import as_flags, settings_as_flags
from common.signals import Signals
from eval.verification import VerificationSet
from recordio_tools.records.dataset import FaceDataset, open_dataset
from training.cluster.communicator import Communicator
from training.cluster.create import create_communicator
from training.config import Config
from training.data.loader import BatchLoader, TooManyBadRecords, choose_images
from training.description import describe_run
from training.head.margins import SOFTMAX
from training.image_size import check_image_size, check_last_map
from training.loop import Loop
from training.model import TrainingModel
from training.option import flags
from training.parts import description_spec, loader_spec, loop_spec, model_spec, schedule_spec
from training.precision import check_precision
from training.reporting.runlog import RunLog, write_config
from training.saving.adapt_head import adapt_head
from training.saving.changes import change_lines
from training.saving.fingerprint import fingerprint, people
from training.saving.header import SCHEDULE, TOTAL_BATCH
from training.saving.kept_checkpoints import chosen_otherwise, numbered_otherwise
from training.saving.names import STATE
from training.saving.prefix import check_prefix
from training.saving.pretrained import open_pretrained
from training.saving.run_folder import bring_back, folder_line, prepare_folder
from training.saving.state import Arrays, Progress, States, generations
from training.schedule import Clock, Schedule, resolve_schedule
from training.shared_state import broadcast_arrays, broadcast_state, check_alike, check_weights
from training.specs import ModelSpec, NetworkSpec, PretrainedSpec, SavingSpec, ScheduleSpec, VerificationSpec
from training.validation import open_targets

log = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Train by `config`; the exit status (0 done, 130 stopped). UserError for any error before training."""
    with settings_as_flags(flags(Config)), Signals() as signals, contextlib.ExitStack() as closing:
        try:
            return _run(config, signals, closing, closing.enter_context(create_communicator(config.kvstore)))
        except TooManyBadRecords as error:
            raise RunError(f"{error}, --repair writes the set without them") from None


class RunData(NamedTuple):
    """The data of a run, for training and verification; chosen: int64, positions in the set; image_size: (height,
    width)."""

    dataset: FaceDataset
    chosen: np.ndarray
    image_size: tuple[int, int]
    targets: list[VerificationSet]


def _run(config: Config, signals: Signals, closing: contextlib.ExitStack, communicator: Communicator) -> int:
    first = communicator.rank == 0  # the worker that verifies, and writes everything
    # Everything is opened and checked, and nothing written.
    check_prefix(config.prefix)
    devices = parse_devices(config.devices)
    check_precision(config.dtype, devices)
    data = _open_data(config, first)
    total_batch = config.total_batch(len(devices), communicator.size)
    planned = schedule_spec(config)
    model = _build_model(model_spec(config), data, devices, communicator)
    states = States(Path(config.prefix).parent / STATE, _identity(config, model, data), model.state_contents())
    check_alike(communicator, states.identity)
    if first and not config.dry_run:
        bring_back(config.prefix)
    # The first worker reads the state, which alone has the step that a resumed run is at, and not all see its folder.
    resuming, = communicator.any(first and config.resume and bool(generations(states.folder)))
    schedule = resolve_schedule(planned, len(data.chosen), Clock(total_batch), check=not resuming)
    loaded = None
    if config.pretrained and not resuming:
        loaded = open_pretrained(config.part(PretrainedSpec), model.shapes, states.identity, model.head.shape, first)
    described = [*config.as_lines(), *describe_run(description_spec(config, total_batch), planned, data.dataset,
                                                   data.chosen, model, data.targets)]
    began = loaded.lines if loaded else []
    if config.dry_run:
        if first:
            step = 0
            if config.resume and (state := states.load()):
                step = state[0].step
                schedule, began = _continued(config, planned, states, state[0], data, total_batch)
            print(as_flags("\n".join([*described, *_about(schedule, config, step), *began]), flags(Config)))
            if line := folder_line(config.part(SavingSpec), states):
                print(as_flags(line, flags(Config)))
        return 0

    # The folder is this run's; the model starts from its state, from the checkpoint's weights, or from scratch.
    found = prepare_folder(config.part(SavingSpec), states, closing) if first else None
    state = broadcast_state(communicator, states, found)
    model.initialize()
    trainer = model.make_trainer()
    progress = Progress()
    if state:
        progress, arrays = state
        schedule, began = _continued(config, planned, states, progress, data, total_batch)
        _put_back(model, trainer, arrays)
    elif loaded:
        model.take(loaded.taken, broadcast_arrays(communicator, {"head": loaded.fc7})["head"])
    states.identity[SCHEDULE] = schedule.lr_summary()
    check_weights(communicator, model, progress.step)

    # The log, and the training itself.
    runlog = None
    if first:
        folder = Path(config.prefix).parent
        runlog = RunLog(folder, progress.lengths, progress.step + 1 if state else 0)
        closing.callback(runlog.close)
        _log([*described, *_about(schedule, config, progress.step), *began])
        write_config(folder, config.as_dict(), _resolved(model, data, total_batch, schedule))
    # All workers have the same order, and each takes its own section of every batch: together, the batch of one worker.
    batches = loader_spec(config, total_batch, communicator.size)
    position = progress.position + communicator.rank * batches.batch
    loader = BatchLoader(data.dataset, data.chosen, batches, position, progress.bad)
    closing.callback(loader.close)
    return Loop(loop_spec(config, total_batch), schedule, model, trainer, loader, data.targets, progress, runlog,
                states, signals).run()


def _open_data(config: Config, first: bool) -> RunData:
    """The records, and at the first worker the verification sets; UserError where the network cannot take them."""
    dataset = open_dataset(config.data_dir)
    packed = (dataset.height, dataset.width)
    check_image_size(config.image_size, packed, config.data_dir)
    with contextlib.suppress(ValueError):  # an unknown network, which building it will report
        check_last_map(config.part(NetworkSpec), packed, config.data_dir)
    targets = open_targets(config.part(VerificationSpec), packed) if first else []
    return RunData(dataset, choose_images(dataset, config.images_filter), packed, targets)


def _build_model(spec: ModelSpec, data: RunData, devices: list[mx.Context], communicator: Communicator
                 ) -> TrainingModel:
    try:
        return TrainingModel(spec, data.image_size, data.dataset.num_classes, devices, communicator)
    except ValueError as error:  # the builders' own checks: an unknown network, a head that does not fit the images
        network = spec.network
        raise UserError(f"`network` {network.network} `version_output` {network.version_output}: {error}") from None


def _continued(config: Config, planned: ScheduleSpec, states: States, progress: Progress, data: RunData,
               total_batch: int) -> tuple[Schedule, list[str]]:
    """The schedule of a run that continues at `progress`, and what is different from there on, for the log."""
    schedule = resolve_schedule(planned, len(data.chosen), Clock(total_batch, progress.step, progress.position))
    before, step = states.before.get(SCHEDULE, ""), progress.step
    lines = [f"resumed at step {step}", *change_lines(states.changes, step, schedule.continues(before, step)),
             *schedule.changes(before, step),
             *chosen_otherwise(config.part(SavingSpec), progress, data.targets),
             *numbered_otherwise(config.part(SavingSpec), progress, states.before)]
    if config.pretrained:
        lines.append(f"pretrained: {config.pretrained} is not loaded, since the run continues from its state")
    return schedule, lines


def _put_back(model: TrainingModel, trainer: gluon.Trainer, arrays: Arrays) -> None:
    """Weights and momentum of a state."""
    head, momentum = adapt_head(model.head.layer, bool(model.head_parameters), arrays["head"], arrays["momentum"])
    model.set_arrays(arrays["net"], head)
    set_momentum(trainer, momentum, model.devices)


def _about(schedule: Schedule, config: Config, step: int) -> list[str]:
    margin_warmup = 0 if config.loss_type == SOFTMAX else config.margin_warmup
    return [f"schedule: {schedule.describe()}",
            *schedule.warnings("lr_steps" in config.chosen(), margin_warmup, step)]


def _log(lines: list[str]) -> None:
    for line in lines:
        log.log(logging.WARNING if line.startswith(("warning: ", "`resume`: ")) else logging.INFO, "%s", line)


def _resolved(model: TrainingModel, data: RunData, total_batch: int, schedule: Schedule) -> dict[str, Any]:
    """The values resolved for this machine and data, for config.json."""
    return {"devices": list(map(device_name, model.devices)), "workers": model.communicator.size,
            "num_classes": data.dataset.num_classes, "images": len(data.chosen), "image_size": list(data.image_size),
            "total_batch": total_batch, "schedule": asdict(schedule),
            "targets": [str(target.path) for target in data.targets]}


def _identity(config: Config, model: TrainingModel, data: RunData) -> dict[str, Any]:
    """The identity that a state must match to be resumed: resolved flags, so that only real differences count."""
    devices, workers = model.devices, model.communicator.size
    several = f"{workers} workers x " if workers > 1 else ""
    return {**config.as_dict(), "devices": f"{several}{len(devices)} x {devices[0].device_type}",
            TOTAL_BATCH: config.total_batch(len(devices), workers),
            "image_size": f"{data.image_size[0]},{data.image_size[1]}",
            "data": fingerprint(data.dataset, data.chosen), **people(data.dataset)}

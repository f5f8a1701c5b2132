"""One training run from its configuration to its last checkpoint."""
from __future__ import annotations

import logging
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import mxnet as mx

from common.cli import parse_checkpoint_name
from common.devices import parse_devices
from common.errors import UserError
from eval.verification import VerificationSet
from recordio_tools.dataset import FaceDataset, open_dataset
from training.arguments import parse_image_size
from training.checkpoint import load_pretrained, old_checkpoints
from training.config import SCHEDULE_BATCH, Config
from training.data import Augmentation, BatchLoader, choose_images
from training.estimate import compare_heads, estimate
from training.loop import Loop
from training.model import Model, set_momentum
from training.runlog import RunLog, write_config
from training.schedule import Schedule, resolve_schedule
from training.state import Progress, generations, load_state
from training.validation import open_targets

log = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Train as `config` says; the exit status (0 done, 130 stopped). UserError for anything wrong before it begins."""
    devices = parse_devices(config.devices)
    dataset = open_dataset(config.data_dir)
    image_size = _image_size(config, dataset)
    targets = open_targets(config, image_size)
    chosen = choose_images(dataset, config.images_filter)
    total_batch = config.total_batch(len(devices))
    schedule = resolve_schedule(config, len(chosen), total_batch)
    model = _build_model(config, image_size, dataset.num_classes, devices)
    loaded = load_pretrained(*parse_checkpoint_name(config.pretrained, "--pretrained")) if config.pretrained else None
    described = describe(config, dataset, len(chosen), model, schedule, targets)
    if config.dry_run:
        print("\n".join(described))
        return 0

    state = _prepare_folder(config)
    model.initialize(config)
    trainer = model.make_trainer(config)
    progress, began = Progress(), []
    if state:
        progress, arrays = state
        began = [f"resumed at step {progress.step}"]
        model.set_arrays(arrays["net"], arrays["head"])
        set_momentum(trainer, arrays["momentum"], devices)
    elif loaded:
        began = model.load_pretrained(loaded, config.emb_size)
    folder = Path(config.prefix).parent
    runlog = RunLog(folder, progress.metrics_bytes)
    for line in described + began:
        log.info("%s", line)
    write_config(folder, config, {"devices": [str(device) for device in devices], "num_classes": dataset.num_classes,
                                  "images": len(chosen), "image_size": list(image_size), "total_batch": total_batch,
                                  "schedule": asdict(schedule), "targets": [str(target.path) for target in targets]})
    loader = BatchLoader(dataset, chosen, total_batch,
                         Augmentation(bool(config.rand_mirror), config.cutoff, config.color), config.seed,
                         progress.position, config.workers)
    try:
        return Loop(config, schedule, model, trainer, loader, targets, progress, runlog).run()
    finally:
        loader.close()
        runlog.close()


def describe(config: Config, dataset: FaceDataset, images: int, model: Model, schedule: Schedule,
             targets: list[VerificationSet]) -> list[str]:
    """The resolved configuration, schedule, parameters, FLOPs and memory, a line each."""
    devices, image_size = model.devices, model.image_size
    cost = estimate(model.symbol, config, image_size, dataset.num_classes, len(devices))
    total_batch = config.total_batch(len(devices))
    lines = ["configuration:"] + [f"  --{name.replace('_', '-')} {value}" for name, value in config.as_dict().items()
                                  if value != ""]
    lines += [
        f"data: {images} images of {dataset.num_classes} identities, {image_size[0]}x{image_size[1]}, in "
        f"{config.data_dir}",
        f"devices: {', '.join(str(device) for device in devices)}; {config.per_batch_size} images on each"
        f"{f', {config.accumulate} times' if config.accumulate > 1 else ''}, {total_batch} a step",
        f"schedule: {schedule.describe()}",
        f"network: {config.network} {config.version_output} {config.emb_size}-d, {cost.parameters / 1e6:.2f} million "
        f"parameters, {cost.macs / 1e6:.0f} million multiply-adds ({2 * cost.macs / 1e9:.2f} GFLOPs) an image; "
        f"classification layer {cost.head_parameters / 1e6:.2f} million parameters",
        f"memory: about {(cost.network_memory + cost.head_memory) / 2 ** 30:.1f} GiB on each device, "
        f"{cost.head_memory / 2 ** 30:.2f} of it for the classification layer "
        f"({compare_heads(config, dataset.num_classes, len(devices))})",
        "verification: " + (", ".join(f"{target.name} ({len(target.same)} pairs)" for target in targets) or "none")]
    if total_batch != SCHEDULE_BATCH:
        lines.append(f"note: --lr is used as given; schedules are written for a total batch of {SCHEDULE_BATCH}, and "
                     f"the linear rule would make {config.lr:g} there {config.lr * total_batch / SCHEDULE_BATCH:.3g} "
                     "here")
    return lines


def _image_size(config: Config, dataset: FaceDataset) -> tuple[int, int]:
    packed = (dataset.height, dataset.width)
    if config.image_size and parse_image_size(config.image_size) != packed:
        raise UserError(f"--image-size {config.image_size}: the records of {config.data_dir} are "
                        f"{packed[0]},{packed[1]}; pack them at the size you want")
    return packed


def _build_model(config: Config, image_size: tuple[int, int], num_classes: int, devices: list[mx.Context]) -> Model:
    try:
        return Model(config, image_size, num_classes, devices)
    except ValueError as error:  # the builders' own checks: an unknown network, a head that does not fit the images
        raise UserError(f"--network {config.network} --version-output {config.version_output}: {error}") from None


def _prepare_folder(config: Config) -> tuple | None:
    """The state to resume, after making sure that no other run is written over."""
    folder = Path(config.prefix).parent
    if config.resume:
        state = load_state(folder / "state", config.as_dict())
        if state is None:
            log.info("--resume: no state in %s yet, so this is the beginning", folder)
        return state
    if generations(folder / "state"):
        if not config.overwrite:
            raise UserError(f"--prefix {config.prefix}: {folder} holds another run; --resume goes on with it, "
                            "--overwrite discards it, another --prefix leaves it alone")
        shutil.rmtree(folder / "state")
        for path in old_checkpoints(config.prefix):
            path.unlink()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--prefix {config.prefix}: the folder {folder} cannot be made ({error.strerror})") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"--prefix {config.prefix}: the folder {folder} is not writable")
    for name in [*folder.glob("events.out.tfevents.*"), *folder.glob("metrics.jsonl"), *folder.glob("log.txt")]:
        name.unlink()
    return None

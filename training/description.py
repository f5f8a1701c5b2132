"""Describes a run before it begins: its data, network, cost, and warnings about its settings."""
from __future__ import annotations

import logging
import math
from typing import Sequence

import numpy as np

from common.devices import device_name
from eval.verification import VerificationSet
from recordio_tools.records.dataset import FaceDataset
from training.config import LINEAR_RATE, SCHEDULE_BATCH
from training.estimate import compare_heads, estimate
from training.head.margins import ARCFACE, COMBINED, COSFACE, SOFTMAX
from training.model import TrainingModel
from training.specs import DescriptionSpec, ScheduleSpec

log = logging.getLogger(__name__)
LOSSES = {SOFTMAX: "softmax", COSFACE: "CosFace", ARCFACE: "ArcFace", COMBINED: "the combined loss"}
# The settings that each loss ignores, by `loss_type`.
UNUSED_BY_LOSS = {SOFTMAX: ("margin_m", "margin_s", "margin_a", "margin_b", "easy_margin", "margin_warmup"),
                  COSFACE: ("margin_a", "margin_b", "easy_margin", "fc7_no_bias"),
                  ARCFACE: ("margin_a", "margin_b", "fc7_no_bias"), COMBINED: ("easy_margin", "fc7_no_bias")}
# Values that turn a setting off, so that it is right that they have no effect.
OFF = {"version_se": 0, "margin_a": 1, "margin_b": 0, "easy_margin": 0, "margin_warmup": 0, "emb_wd_mult": 1,
       "fc7_wd_mult": 1}


def describe_run(spec: DescriptionSpec, schedule: ScheduleSpec, dataset: FaceDataset, chosen: np.ndarray,
                 model: TrainingModel, targets: Sequence[VerificationSet]) -> list[str]:
    """Data, parameters, FLOPs and memory, a line each, and warnings; chosen: positions of the images to train on."""
    devices, image_size, workers = model.devices, model.image_size, model.communicator.size
    identities, accumulate = len(np.unique(dataset.labels[chosen])), model.spec.optimizer.accumulate
    left_out = "" if identities == dataset.num_classes else (
        f" (the classification layer has {dataset.num_classes} classes; the others have no images, or less than "
        f"`images_filter` {spec.images_filter})")
    return [
        f"data: {len(chosen)} images of {identities} identities{left_out}, {image_size[0]}x{image_size[1]}, in "
        f"{spec.data_dir}",
        f"devices: {', '.join(map(device_name, devices))}; {spec.per_batch_size} images on each"
        f"{f', {accumulate} times' if accumulate > 1 else ''}"
        f"{f', at each of {workers} workers' if workers > 1 else ''}, {spec.total_batch} per step",
        *_cost(model, spec.per_batch_size, dataset.num_classes),
        "verification: " + (", ".join(f"{target.name} ({len(target.same)} pairs)" for target in targets) or "none"),
        *_notes(spec, schedule, model), *_without_effect(spec, schedule, model, bool(targets))]


def _cost(model: TrainingModel, samples: int, num_classes: int) -> list[str]:
    """Parameters, FLOPs and memory; where the estimate fails a line says so, and training continues.

    samples: images on a device at a time.
    """
    built = model.spec.network
    network = f"network: {built.network} {built.version_output} {built.emb_size}-d"
    try:
        devices, head = len(model.devices), model.spec.head
        cost = estimate(model.symbol, model.spec, samples, model.image_size, num_classes, devices)
        return [f"{network}, {cost.parameters / 1e6:.2f} million parameters, {cost.macs / 1e6:.0f} million "
                f"multiply-adds ({2 * cost.macs / 1e9:.2f} GFLOPs) an image; classification layer "
                f"{cost.head_parameters / 1e6:.2f} million parameters",
                f"memory: about {(cost.network_memory + cost.head_memory) / 2 ** 30:.1f} GiB on each device, "
                f"{cost.head_memory / 2 ** 30:.2f} of it for the classification layer "
                f"({compare_heads(head, samples, num_classes, devices)}); on the host "
                f"{cost.state_memory / 2 ** 30:.2f} GiB for a copy of the state while it is written"]
    except Exception as error:  # any error: a failed estimate must not stop training
        log.debug("no estimate", exc_info=True)
        reason = " ".join(str(error).split("Stack trace")[0].split())[:120]
        return [network, f"memory: could not be estimated ({type(error).__name__}: {reason})"]


def _notes(spec: DescriptionSpec, schedule: ScheduleSpec, model: TrainingModel) -> list[str]:
    """Warnings about valid but unusual settings."""
    lines, linear, head = [], spec.linear_lr, model.spec.head
    if abs(schedule.lr / linear - 1) > 0.01:
        lines.append(f"note: `lr` is used as given: {schedule.lr:g} is {schedule.lr / linear:.3g} times the "
                     f"{linear:.3g} that the linear rule gives for a total batch of {spec.total_batch} "
                     f"({LINEAR_RATE:g} for {SCHEDULE_BATCH})")
    if spec.per_batch_size == 1:
        lines.append("warning: with a `per_batch_size` of 1 the last BatchNorm makes every embedding its beta, so "
                     "nothing before it is trained; give at least 2")
    if schedule.lr_mode != "step" and not (schedule.end_given or schedule.total_steps):
        lines.append(f"warning: `lr_mode` {schedule.lr_mode} decays over the whole training, and its length was not "
                     f"given ({schedule.end_epoch} epochs); give `max_steps` or `end_epoch`")
    if spec.chosen.get("ce_loss"):
        lines.append("note: `ce_loss` is always on: the loss in the log is the cross-entropy")
    if head.margin_warmup and head.loss_type != SOFTMAX:
        lines.append(f"note: margin and scale grow over the first {head.margin_warmup} steps")
    if head.loss_type == COMBINED and head.margin_a * math.pi + head.margin_m > math.pi:
        turn = math.degrees((math.pi - head.margin_m) / head.margin_a)
        lines.append(f"warning: `margin_a` {head.margin_a:g} times the angle to the target class plus `margin_m` "
                     f"{head.margin_m:g} passes pi for angles above {turn:.0f} degrees: there the loss pushes in the "
                     f"wrong direction{' (a training from scratch begins at 90)' if turn < 90 else ''}")
    return lines


def _without_effect(spec: DescriptionSpec, schedule: ScheduleSpec, model: TrainingModel, verified: bool) -> list[str]:
    """A line for the given settings that have no effect for this network, loss and schedule."""
    found: dict[str, list[str]] = {}
    network, loss_type = model.spec.network, model.spec.head.loss_type

    def unused(because: str, *names: str) -> None:
        for name in names:
            if name in spec.chosen and spec.chosen[name] != OFF.get(name):
                found.setdefault(because, []).append(f"`{name}` {spec.chosen[name]}")
    if network.network.startswith("y"):
        unused(f"`network` {network.network}", "version_input", "version_unit", "version_se")
    if network.version_output != "GNAP":
        unused(f"`version_output` {network.version_output}", "gnap_variant")
    if "pre_fc1_weight" not in model.shapes:
        unused(f"`version_output` {network.version_output} with this `emb_size`", "emb_wd_mult")
    unused(f"{LOSSES[loss_type]}, `loss_type` {loss_type}", *UNUSED_BY_LOSS[loss_type])
    if not model.spec.optimizer.wd:
        unused("`wd` 0", "emb_wd_mult", "fc7_wd_mult")
    if schedule.lr_mode != "step":
        unused(f"`lr_mode` {schedule.lr_mode}", "lr_steps")
    if len(model.devices) == 1:
        unused("a single device", "fc7_parallel")
    if not verified:
        unused("a run without verification sets", "best_metric")
    elif spec.chosen.get("ckpt") == 0:
        unused("`ckpt` 0", "best_metric")
    if spec.chosen.get("cutoff") == 1:
        unused("a square of less than 2 pixels", "cutoff")
    if not spec.pretrained:
        unused("a run without `pretrained`", "pretrained_partial")
    return [f"warning: without effect for {because}: {', '.join(flags)}" for because, flags in found.items()]

"""What a run is, line by line, before it begins: its configuration, data, network, cost, and what to mind."""
from __future__ import annotations

import logging
import math

from eval.verification import VerificationSet
from recordio_tools.records.dataset import FaceDataset
from training.config import LINEAR_RATE, SCHEDULE_BATCH, Config
from training.estimate import compare_heads, estimate
from training.head.margins import ARCFACE, COMBINED, COSFACE, SOFTMAX
from training.model import TrainingModel

log = logging.getLogger(__name__)
LOSSES = {SOFTMAX: "softmax", COSFACE: "CosFace", ARCFACE: "ArcFace", COMBINED: "the combined loss"}
# What each loss does not look at, by `loss_type`.
UNUSED_BY_LOSS = {SOFTMAX: ("margin_m", "margin_s", "margin_a", "margin_b", "easy_margin", "margin_warmup"),
                  COSFACE: ("margin_a", "margin_b", "easy_margin", "fc7_no_bias"),
                  ARCFACE: ("margin_a", "margin_b", "fc7_no_bias"), COMBINED: ("easy_margin", "fc7_no_bias")}


def describe_run(config: Config, dataset: FaceDataset, images: int, identities: int, model: TrainingModel,
             targets: list[VerificationSet]) -> list[str]:
    """The resolved configuration, parameters, FLOPs and memory, a line each; images, identities: those chosen."""
    devices, image_size, workers = model.devices, model.image_size, model.communicator.size
    total_batch = config.total_batch(len(devices), workers)
    left_out = "" if identities == dataset.num_classes else (
        f" (the classification layer has {dataset.num_classes} classes; the others have no images, or less than "
        f"`images_filter` {config.images_filter})")
    return [
        "configuration:",
        *(f"  --{name.replace('_', '-')} {value}" for name, value in config.as_dict().items()
          if value != "" and name != "from_preset"),
        f"data: {images} images of {identities} identities{left_out}, {image_size[0]}x{image_size[1]}, in "
        f"{config.data_dir}",
        f"devices: {', '.join(str(device) for device in devices)}; {config.per_batch_size} images on each"
        f"{f', {config.accumulate} times' if config.accumulate > 1 else ''}"
        f"{f', at each of {workers} workers' if workers > 1 else ''}, {total_batch} a step",
        *_cost(config, dataset.num_classes, model),
        "verification: " + (", ".join(f"{target.name} ({len(target.same)} pairs)" for target in targets) or "none"),
        *_notes(config, total_batch), *without_effect(config, model, bool(targets))]


def _cost(config: Config, num_classes: int, model: TrainingModel) -> list[str]:
    """Parameters, FLOPs and memory; a line that they could not be told where the estimate fails, which ends nothing."""
    network = f"network: {config.network} {config.version_output} {config.emb_size}-d"
    try:
        devices = len(model.devices)
        samples, head = config.per_batch_size, model.spec.head
        cost = estimate(model.symbol, model.spec, samples, model.image_size, num_classes, devices)
        return [f"{network}, {cost.parameters / 1e6:.2f} million parameters, {cost.macs / 1e6:.0f} million "
                f"multiply-adds ({2 * cost.macs / 1e9:.2f} GFLOPs) an image; classification layer "
                f"{cost.head_parameters / 1e6:.2f} million parameters",
                f"memory: about {(cost.network_memory + cost.head_memory) / 2 ** 30:.1f} GiB on each device, "
                f"{cost.head_memory / 2 ** 30:.2f} of it for the classification layer "
                f"({compare_heads(head, samples, num_classes, devices)}); on the host "
                f"{cost.state_memory / 2 ** 30:.2f} GiB for a copy of the state while it is written"]
    except Exception as error:  # whatever it is: an estimate is no reason not to train
        log.debug("no estimate", exc_info=True)
        reason = " ".join(str(error).split("Stack trace")[0].split())[:120]
        return [network, f"memory: could not be estimated ({type(error).__name__}: {reason})"]


def _notes(config: Config, total_batch: int) -> list[str]:
    """What to mind of settings that are allowed."""
    lines, linear = [], config.linear_rate(total_batch)
    if abs(config.lr / linear - 1) > 0.01:
        lines.append(f"note: `lr` is used as given: {config.lr:g} is {config.lr / linear:.3g} times the {linear:.3g} "
                     f"that the linear rule gives for a total batch of {total_batch} ({LINEAR_RATE:g} for "
                     f"{SCHEDULE_BATCH})")
    if config.lr_mode != "step" and not (config.max_steps or config.total_steps) and (
            config.end_epoch == Config.end_epoch):
        lines.append(f"warning: `lr_mode` {config.lr_mode} decays over the whole training, and its length was not "
                     f"given ({config.end_epoch} epochs); give `max_steps` or `end_epoch`")
    if config.ce_loss:
        lines.append("note: `ce_loss` is always on: the loss in the log is the cross-entropy")
    if config.margin_warmup and config.loss_type != SOFTMAX:
        lines.append(f"note: margin and scale grow over the first {config.margin_warmup} steps")
    if config.loss_type == COMBINED and config.margin_a * math.pi + config.margin_m > math.pi:
        turn = math.degrees((math.pi - config.margin_m) / config.margin_a)
        lines.append(f"warning: `margin_a` {config.margin_a:g} times the angle to the target class plus `margin_m` "
                     f"{config.margin_m:g} passes pi for angles above {turn:.0f} degrees: there the loss pushes the "
                     f"wrong way{' (a training from nothing begins at 90)' if turn < 90 else ''}")
    return lines


def without_effect(config: Config, model: TrainingModel, verified: bool) -> list[str]:
    """A line for the flags that have been changed and do nothing for this network, loss and schedule."""
    found: dict[str, list[str]] = {}

    def unused(because: str, *names: str) -> None:
        for name in names:
            if getattr(config, name) != getattr(Config, name) and name not in config.from_preset.split(","):
                found.setdefault(because, []).append(f"--{name.replace('_', '-')} {getattr(config, name)}")
    if config.network.startswith("y"):
        unused(f"`network` {config.network}", "version_input", "version_unit", "version_se")
    if config.version_output != "GNAP":
        unused(f"`version_output` {config.version_output}", "gnap_variant")
    if "pre_fc1_weight" not in model.shapes:
        unused(f"`version_output` {config.version_output} with this `emb_size`", "emb_wd_mult")
    unused(f"{LOSSES[config.loss_type]}, `loss_type` {config.loss_type}", *UNUSED_BY_LOSS[config.loss_type])
    if config.lr_mode != "step":
        unused(f"`lr_mode` {config.lr_mode}", "lr_steps")
    if len(model.devices) == 1:
        unused("a single device", "fc7_parallel")
    if not verified:
        unused("a run without verification sets", "best_metric")
    if not config.pretrained:
        unused("a run without `pretrained`", "pretrained_partial")
    return [f"warning: without effect for {because}: {', '.join(flags)}" for because, flags in found.items()]

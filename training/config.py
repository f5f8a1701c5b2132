"""The one configuration of a training run.

A frozen dataclass: the command line is made from its fields, the presets set some of them, the run folder
keeps it as `config.json`. Names are the flags of InsightFace's MXNet scripts wherever they have one.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from training.option import ELSEWHERE, HARMLESS, REFUSED, SAME, TRUNK, flags, option

SCHEDULE_BATCH = 512  # the total batch that the schedules of presets and defaults are written for
LINEAR_RATE = 0.1  # the learning rate at that batch, for the linear scaling rule: that of all presets
Spec = TypeVar("Spec")


@dataclass(frozen=True)
class Config:
    """Settings of a run; every field is a flag (`per_batch_size` is `--per-batch-size`), and its range, and whether it
    may differ on --resume or at another worker, are defined with it."""

    preset: str = option("", "one of the paper's seven systems; flags given override it", on_resume=ELSEWHERE)
    # where
    data_dir: str = option("", "folder with train.rec, train.idx, property and the .bin sets", group="data",
                           on_resume=ELSEWHERE)
    prefix: str = option("runs/model/model", "checkpoints are PREFIX-symbol.json and PREFIX-NNNN.params; "
                         "logs and state are in the folder of PREFIX", group="data", on_resume=ELSEWHERE)
    pretrained: str = option("", "PREFIX,EPOCH of a checkpoint to start from: parameters that match in name and "
                             "shape are loaded, the others are listed", metavar="PREFIX,EPOCH", group="data",
                             on_resume=ELSEWHERE)
    pretrained_partial: bool = option(False, "continue even where most of the network is not in the checkpoint of "
                                      "--pretrained", group="data", on_resume=ELSEWHERE)
    target: str = option("", "verification sets: NAME for NAME.bin in --data-dir, or paths; default: those of "
                         "lfw,cfp_fp,agedb_30 that exist; none: no verification", group="data", on_resume=HARMLESS)
    image_size: str = option("", "H,W of the network's input; default: that of `property`", metavar="H,W",
                             group="data", on_resume=REFUSED)
    images_filter: int = option(0, "leave out identities with fewer images than this", group="data",
                                least=0, on_resume=REFUSED)
    rand_mirror: int = option(1, "1: mirror half of the images, at random", choices=(0, 1), group="data")
    cutoff: int = option(0, "grey out a square of this side (an odd one is one less), in half of the images",
                         group="data", least=0)
    color: int = option(0, "1: jitter brightness, contrast, saturation by 0.125; 2: JPEG artefacts as well",
                        choices=(0, 1, 2), group="data")
    workers: int = option(0, "threads that decode images; 0: one per core", group="data", least=0, most=1024,
                          on_resume=HARMLESS)
    # the network
    network: str = option("r50", "r18 r34 r50 r100 r152 ...: LResNet; y1 y2: MobileFaceNet", group="network",
                          on_resume=TRUNK)
    emb_size: int = option(512, "dimensions of the embedding", group="network", above=0, most=2 ** 16,
                           on_resume=REFUSED)
    version_output: str = option("E", "head: how the last feature map becomes the embedding",
                                 choices=("E", "FC", "GDC", "GAP", "GNAP"), group="network", on_resume=REFUSED)
    gnap_variant: str = option("paper", "GNAP with one part removed or changed (ablation): no BatchNorm before it, no "
                               "reweighting of the local features, the gammas of its BatchNorms learned, or the mean "
                               "norm taken over the batch, as in InsightFace's script",
                               choices=("paper", "no-first-bn", "no-reweighting", "learned-gamma", "batch-mean"),
                               group="network", on_resume=REFUSED)
    net_multiplier: float = option(1.0, "times the channels of every layer: 0.5 for half the width, in multiples of "
                                   "16", also="--version-multiplier", group="network", above=0, most=16,
                                   on_resume=TRUNK)
    version_input: int = option(1, "LResNet: 0 7x7 stride 2 and pooling, 1 3x3 stride 1", choices=(0, 1),
                                group="network", on_resume=TRUNK)
    version_unit: int = option(3, "LResNet: the residual unit", choices=(1, 2, 3), group="network", on_resume=TRUNK)
    version_se: int = option(0, "LResNet: 1 adds squeeze-and-excitation", choices=(0, 1), group="network",
                             on_resume=TRUNK)
    version_act: str = option("prelu", "activation", choices=("prelu", "relu"), group="network", on_resume=TRUNK)
    bn_mom: float = option(0.9, "momentum of BatchNorm's running statistics", group="network", above=0, below=1)
    # the loss
    loss_type: int = option(4, "0 softmax, 2 CosFace, 4 ArcFace, 5 combined: cos(a*theta + m) - b",
                            choices=(0, 2, 4, 5), group="loss")
    margin_s: float = option(64.0, "scale of the cosines", group="loss", above=0)
    margin_m: float = option(0.5, "the margin: radians for ArcFace, a cosine for CosFace", group="loss", least=0)
    margin_a: float = option(1.0, "combined: factor of the angle", group="loss", above=0)
    margin_b: float = option(0.0, "combined: subtracted from the cosine", group="loss", least=0)
    easy_margin: int = option(0, "ArcFace: 1 applies no margin to target-class cosines below 0", choices=(0, 1),
                              group="loss")
    margin_warmup: int = option(0, "increase the margin from 0, and the scale from sqrt(2) ln(classes - 1), to the "
                                "values of the flags, over the first N steps; 0: off", group="loss", least=0)
    ce_loss: bool = option(False, "for InsightFace's scripts: the cross-entropy is always in the log", group="loss",
                           on_resume=ELSEWHERE)
    # the optimizer
    lr: float = option(0.1, "learning rate, used as given: not scaled with the batch", group="optimizer", above=0)
    lr_mode: str = option("step", "decay of the learning rate: step, to a tenth at each of --lr-steps; cosine or poly "
                          "(a parabola), to 0 at the end of the training", choices=("step", "cosine", "poly"),
                          group="optimizer")
    lr_steps: str = option("", "where the learning rate drops to a tenth, comma-separated, in steps of this run; "
                           "default: the preset's, else 100000,140000,160000 (softmax 40000,60000,80000), for a "
                           "total batch of 512, rescaled to the actual one", metavar="N,N,...", group="optimizer")
    warmup: int = option(0, "linear warm-up, in steps of this run", group="optimizer", least=0)
    clip_gradient: float = option(0.0, "clip the norm of the whole gradient, network and classification layer "
                                  "together, to this value; of the mean loss, over all devices and workers, before "
                                  "weight decay; 0: off", group="optimizer", least=0)
    wd: float = option(5e-4, "weight decay of weights, BatchNorm's gammas and PReLU's slopes", group="optimizer",
                       least=0)
    mom: float = option(0.9, "momentum", group="optimizer", least=0, below=1)
    emb_wd_mult: float = option(1.0, "factor on --wd for the layer after the global operator (pre_fc1)",
                                group="optimizer", least=0)
    fc7_wd_mult: float = option(1.0, "factor on --wd for the classification layer", group="optimizer", least=0)
    fc7_lr_mult: float = option(1.0, "factor on --lr for the classification layer's weight (FasterFC: 10); its bias, "
                                "with softmax, has 2", group="optimizer", least=0)
    fc7_no_bias: bool = option(False, "softmax: a classification layer without bias", group="optimizer")
    per_batch_size: int = option(128, "batch size on each device", group="optimizer", above=0, most=2 ** 16)
    accumulate: int = option(1, "gradient accumulation: micro-batches whose gradients are summed before an update: a "
                             "step then takes per-batch-size x devices x N images, in the memory of one micro-batch. "
                             "BatchNorm sees one micro-batch at a time", group="optimizer", above=0, most=2 ** 16)
    fc7_parallel: bool = option(False, "shard the classes over --devices: each holds its shard of the layer and "
                                "sees the embeddings of the whole batch; the same result, in a fraction of the memory",
                                group="optimizer")
    partial_fc: float = option(1.0, "fraction of the classes sampled for a step: those of the batch, and others at "
                               "random (Partial FC); 0.1 suits a hundred thousand classes or more. Accuracy in the log "
                               "is then among these; other rows are not updated: no momentum, no decay", metavar="RATE",
                               group="optimizer", above=0, most=1)
    # the length
    max_steps: int = option(0, "end after this many steps of this run; 0: no limit",
                            group="length", least=0, on_resume=HARMLESS, workers=SAME)
    total_steps: int = option(0, "the same; a preset's value is for a total batch of 512 and "
                              "is rescaled to the actual one, unless one of these three is given", group="length",
                              least=0, on_resume=HARMLESS, workers=SAME)
    end_epoch: int = option(100000, "end after this many epochs", group="length",
                            above=0, on_resume=HARMLESS, workers=SAME)
    # verifying and saving
    verbose: int = option(2000, "verify every so many steps; 0: at the end only", group="saving",
                          least=0, on_resume=HARMLESS, workers=SAME)
    frequent: int = option(20, "log every so many steps", group="saving", above=0, on_resume=HARMLESS, workers=SAME)
    ckpt: int = option(1, "0 keep no checkpoint, 1 save when the target is best so far, 2 save at every "
                       "verification, 3 save when best, always as number 1, so that only the best is kept; the end of "
                       "training is saved as well, unless 0 or 3 (3: unless there is no target)",
                       choices=(0, 1, 2, 3), group="saving", on_resume=HARMLESS)
    best_metric: str = option("accuracy", "metric that selects the best checkpoint, on the last of the targets",
                              choices=("accuracy", "tpr", "eer", "auc"), group="saving", on_resume=HARMLESS)
    save_every: float = option(600.0, "save the state for --resume every so many seconds, and at every "
                               "verification; 0: only at verifications", group="saving", least=0, on_resume=HARMLESS)
    on_nan: str = option("stop", "when a loss or a gradient is not finite: stop, or skip that step and continue",
                         choices=("stop", "skip"), group="saving", on_resume=HARMLESS, workers=SAME)
    # the machine
    devices: str = option("", "cpu:0,cpu:1 or gpu:0,gpu:1; default: all visible GPUs, else the CPU",
                          group="machine")
    kvstore: str = option("device", "where gradients are summed: on a device or the host (local); over several "
                          "processes, dist_sync (python -m training.launch starts them) or horovod (horovodrun does)",
                          choices=("local", "device", "dist_sync", "dist_device_sync", "horovod"), group="machine",
                          on_resume=HARMLESS, workers=SAME)
    dtype: str = option("float32", "float16: mixed precision, convolutions in float16, on GPUs that support it, in "
                        "half of the memory; weights, momentum, norms, the classification layer and checkpoints stay "
                        "float32, the loss is scaled, and a step that overflows is skipped",
                        choices=("float32", "float16"), group="machine")
    mirror_memory: bool = option(False, "gradient checkpointing: keep few maps of the network for the backward pass "
                                 "and recompute the others: three quarters of MobileFaceNet's memory, little less "
                                 "than LResNet's, for 1.3 times the time",
                                 group="machine")
    seed: int = option(0, "seed of weights, order, mirroring and dropout", group="machine", least=0, most=2 ** 31 - 1)
    resume: bool = option(False, "resume from the newest state in the folder of PREFIX; without one, start a new run",
                          group="machine", on_resume=ELSEWHERE)
    overwrite: bool = option(False, "start over in a folder that holds another run, discarding that run",
                             group="machine", on_resume=ELSEWHERE)
    dry_run: bool = option(False, "print the resolved configuration, schedule, parameters, FLOPs and memory, "
                           "and stop", group="machine", on_resume=ELSEWHERE, workers=SAME)
    # not flags: names of the fields that the preset has set, and of those given on the command line
    from_preset: str = ""
    given: str = ""

    def is_stretched(self, name: str) -> bool:
        """Whether the steps of a field are for a total batch of 512: a preset's or a default, not given by the user."""
        return name in self.from_preset.split(",") or (name == "lr_steps" and not self.lr_steps)

    def lr_step_list(self) -> list[int]:
        """`lr_steps` as integers."""
        if self.lr_steps:
            return [int(part) for part in self.lr_steps.split(",")]
        return [40000, 60000, 80000] if self.loss_type == 0 else [100000, 140000, 160000]

    @staticmethod
    def linear_rate(total_batch: int) -> float:
        """The presets' learning rate scaled linearly to another total batch."""
        return LINEAR_RATE * total_batch / SCHEDULE_BATCH

    def total_batch(self, devices: int, workers: int = 1) -> int:
        """The images of one update over all devices and workers."""
        return self.per_batch_size * devices * self.accumulate * workers

    def chosen(self) -> dict[str, Any]:
        """The fields set by the user, not by a preset, with their values: given, or of another value than the
        default."""
        of_preset, given = self.from_preset.split(","), self.given.split(",")
        return {name: getattr(self, name) for name in flags(self)
                if name in given or (getattr(self, name) != getattr(Config, name) and name not in of_preset)}

    def as_lines(self) -> list[str]:
        """What is set, as flags, a line each."""
        return ["configuration:", *(f"  --{name.replace('_', '-')} {value}" for name, value in self.as_dict().items()
                                    if value != "" and name in flags(self))]

    def as_dict(self) -> dict[str, Any]:
        """Every field by name, for `config.json`."""
        return dataclasses.asdict(self)

    def part(self, spec: type[Spec]) -> Spec:
        """An instance of a dataclass whose fields are a subset of this one's, with their values."""
        return spec(**{item.name: getattr(self, item.name) for item in dataclasses.fields(spec)})  # type: ignore

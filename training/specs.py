"""Specs: the settings of each part of a training, small and frozen, with the command's defaults.

Names are those of the flags where a setting is one (`training.parts` makes these of a configuration).

    >>> NetworkSpec(network="y1", emb_size=128, version_output="GNAP").version_act
    'prelu'
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from training.data.augmentation import Augmentation


@dataclass(frozen=True)
class NetworkSpec:
    """The embedding network, as `symbols.build` takes it."""

    network: str = "r50"
    emb_size: int = 512
    version_output: str = "E"
    gnap_variant: str = "paper"
    net_multiplier: float = 1.0
    version_input: int = 1
    version_unit: int = 3
    version_se: int = 0
    version_act: str = "prelu"
    bn_mom: float = 0.9


@dataclass(frozen=True)
class HeadSpec:
    """The classification layer: its loss, its parameters' multipliers, and their placement.

    fc7_parallel: the classes are sharded over the devices; partial_fc: the fraction of them sampled in a step.
    """

    emb_size: int = 512
    loss_type: int = 4
    margin_s: float = 64.0
    margin_m: float = 0.5
    margin_a: float = 1.0
    margin_b: float = 0.0
    easy_margin: int = 0
    margin_warmup: int = 0
    fc7_no_bias: bool = False
    fc7_lr_mult: float = 1.0
    fc7_wd_mult: float = 1.0
    fc7_parallel: bool = False
    partial_fc: float = 1.0


@dataclass(frozen=True)
class OptimizerSpec:
    """SGD with momentum. clip_gradient: largest norm of the mean loss's gradient, 0 for none; accumulate:
    micro-batches."""

    lr: float = 0.1
    mom: float = 0.9
    wd: float = 5e-4
    emb_wd_mult: float = 1.0
    clip_gradient: float = 0.0
    accumulate: int = 1


@dataclass(frozen=True)
class ModelSpec:
    """A network with its head and optimizer. recompute: most maps are recomputed in the backward pass."""

    network: NetworkSpec = field(default_factory=NetworkSpec)
    head: HeadSpec = field(default_factory=HeadSpec)
    optimizer: OptimizerSpec = field(default_factory=OptimizerSpec)
    float16: bool = False
    recompute: bool = False
    seed: int = 0


@dataclass(frozen=True)
class ScheduleSpec:
    """The learning rate and the length of a training, in steps.

    lr_steps: where the learning rate drops to a tenth (lr_mode step). stretched: the settings among lr_steps, warmup,
    max_steps and total_steps that are written for a total batch of 512. end_given: whether the user gave max_steps or
    end_epoch, which then override a rescaled total_steps.
    """

    lr: float = 0.1
    lr_mode: str = "step"
    lr_steps: tuple[int, ...] = ()
    warmup: int = 0
    max_steps: int = 0
    total_steps: int = 0
    end_epoch: int = 100000
    stretched: frozenset[str] = frozenset()
    end_given: bool = False


@dataclass(frozen=True)
class LoaderSpec:
    """Batches: their size, augmentation, number of threads (0: one per core), and prefetched batches.

    stride: how far in the order of the images the next batch is (0: the batch itself; more where other workers take
    what lies between).
    """

    batch: int
    augmentation: Augmentation = Augmentation()
    seed: int = 0
    threads: int = 0
    ahead: int = 3
    stride: int = 0


@dataclass(frozen=True)
class VerificationSpec:
    """data_dir: the folder of the sets, or records beside them; target: NAME,NAME or paths, "" or none."""

    data_dir: str
    target: str = ""


@dataclass(frozen=True)
class PretrainedSpec:
    """pretrained: PREFIX,EPOCH; pretrained_partial: load what fits, however little; emb_size: of the new network."""

    pretrained: str
    pretrained_partial: bool = False
    emb_size: int = 512


@dataclass(frozen=True)
class SavingSpec:
    """prefix: FOLDER/NAME of the checkpoints; ckpt: which are kept; best_metric: of the last set; save_every: seconds
    between states, 0 for none but those at verifications."""

    prefix: str
    resume: bool = False
    overwrite: bool = False
    ckpt: int = 1
    best_metric: str = "accuracy"
    save_every: float = 600.0


@dataclass(frozen=True)
class DescriptionSpec:
    """Settings for the description of a run, in addition to its parts'.

    chosen: the settings, by name, that somebody gave. linear_lr: the rate that the linear rule gives for the batch.
    """

    data_dir: str
    images_filter: int = 0
    per_batch_size: int = 128
    total_batch: int = 128
    linear_lr: float = 0.1
    pretrained: str = ""
    chosen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoopSpec:
    """verify_every: steps, 0 for never before the end; log_every: steps, from 1; skip_non_finite: continue where a step
    was not finite.

    verification_batch: images on a device at a time; seed: of the dropout; margin_loss, linear_lr: for the warnings,
    whether the loss has a margin, and the linear rule's learning rate for the batch.
    """

    saving: SavingSpec
    verify_every: int = 2000
    log_every: int = 20
    skip_non_finite: bool = False
    verification_batch: int = 64
    seed: int = 0
    margin_loss: bool = True
    linear_lr: float = 0.1

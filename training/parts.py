"""Makes the specs of a run's parts from its Config: the only place that maps flags to parts."""
from __future__ import annotations

from training.config import Config
from training.data.augmentation import Augmentation
from training.head.margins import SOFTMAX
from training.specs import (
    DescriptionSpec,
    HeadSpec,
    LoaderSpec,
    LoopSpec,
    ModelSpec,
    NetworkSpec,
    OptimizerSpec,
    SavingSpec,
    ScheduleSpec,
)

VERIFICATION_BATCH = 64  # images per device are enough


def model_spec(config: Config) -> ModelSpec:
    """The network, its head and optimizer."""
    return ModelSpec(config.part(NetworkSpec), config.part(HeadSpec), config.part(OptimizerSpec),
                     config.dtype == "float16", config.mirror_memory, config.seed)


def schedule_spec(config: Config) -> ScheduleSpec:
    """The learning rate and the length."""
    given = config.chosen()
    stretched = [name for name in ("lr_steps", "warmup", "max_steps", "total_steps") if config.is_stretched(name)]
    return ScheduleSpec(config.lr, config.lr_mode, tuple(config.lr_step_list()), config.warmup, config.max_steps,
                        config.total_steps, config.end_epoch, frozenset(stretched),
                        bool(config.max_steps) or "end_epoch" in given)


def loader_spec(config: Config, total_batch: int, size: int) -> LoaderSpec:
    """The batches of one of `size` workers, which together take total_batch images a step."""
    augmentation = Augmentation(bool(config.rand_mirror), config.cutoff, config.color)
    return LoaderSpec(total_batch // size, augmentation, config.seed, config.workers, stride=total_batch)


def description_spec(config: Config, total_batch: int) -> DescriptionSpec:
    """The description of the run before it begins."""
    return DescriptionSpec(config.data_dir, config.images_filter, config.per_batch_size, total_batch,
                           config.linear_rate(total_batch), config.pretrained, config.chosen())


def loop_spec(config: Config, total_batch: int) -> LoopSpec:
    """When the loop logs, verifies and saves."""
    return LoopSpec(config.part(SavingSpec), config.verbose, config.frequent, config.on_nan == "skip",
                    min(config.per_batch_size, VERIFICATION_BATCH), config.seed, config.loss_type != SOFTMAX,
                    config.linear_rate(total_batch))

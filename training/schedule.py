"""The learning rate as a pure function of the step, and where training ends.

Schedules are given in steps of a total batch of 512 and stretched to the real batch, so the same numbers of images pass
between two falls of the rate whatever the devices.
"""
from __future__ import annotations

from dataclasses import dataclass

from gluoncv.utils import LRScheduler, LRSequential

from training.config import SCHEDULE_BATCH, Config

ENDLESS = 2 ** 62


def scale_steps(steps: int, total_batch: int) -> int:
    """`steps` of a total batch of 512, in steps of `total_batch` (rounded down, at least 1 where steps is not 0)."""
    return max(1, int(steps * SCHEDULE_BATCH / total_batch)) if steps else 0


@dataclass(frozen=True)
class Schedule:
    """A resolved schedule, in real steps.

    base_lr: the rate after warm-up; falls: steps at which it becomes a tenth; warmup: steps of linear warm-up;
    end: the number of steps of the whole training; steps_per_epoch: images / total batch, not rounded.
    """

    base_lr: float
    falls: tuple[int, ...]
    warmup: int
    end: int
    steps_per_epoch: float

    def scheduler(self) -> LRSequential:
        """gluoncv's scheduler: calling it with a step (from 0) gives the rate of that step."""
        parts = []
        if self.warmup:
            parts.append(LRScheduler("linear", base_lr=self.base_lr / self.warmup, target_lr=self.base_lr,
                                     niters=self.warmup))
        parts.append(LRScheduler("step", base_lr=self.base_lr, target_lr=0, niters=ENDLESS,
                                 step_iter=[fall - self.warmup for fall in self.falls], step_factor=0.1))
        return LRSequential(parts)

    def describe(self) -> str:
        """One line for the log."""
        start = f"warm-up over {self.warmup} steps to {self.base_lr:g}" if self.warmup else f"{self.base_lr:g}"
        falls = "".join(f", {self.base_lr * 0.1 ** (i + 1):.3g} from step {fall}"
                        for i, fall in enumerate(self.falls) if fall < self.end)
        return f"learning rate {start}{falls}; end at step {self.end} ({self.end / self.steps_per_epoch:.1f} epochs)"


def resolve_schedule(config: Config, images: int, total_batch: int) -> Schedule:
    """The schedule of a run over `images` images with `total_batch` images a step.

    The earliest of --max-steps, --total-steps and --end-epoch ends the training.
    """
    steps_per_epoch = images / total_batch
    ends = [max(1, int(config.end_epoch * steps_per_epoch))]
    if config.max_steps:
        ends.append(config.max_steps)
    if config.total_steps:
        ends.append(scale_steps(config.total_steps, total_batch))
    return Schedule(config.lr, tuple(scale_steps(step, total_batch) for step in config.lr_step_list()),
                    scale_steps(config.warmup, total_batch), min(ends), steps_per_epoch)

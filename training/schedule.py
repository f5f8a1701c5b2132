"""The learning rate as a pure function of the step, and where training ends.

Values given by the user (`lr_steps`, `warmup`, `max_steps`) are in steps of the run. Those of presets and defaults are
for a total batch of 512 and are rescaled to the actual batch, so that the same number of images passes between two
milestones whatever the devices.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from common.deferred_imports import deferred_imports
from common.errors import UserError
from training.config import SCHEDULE_BATCH
from training.specs import ScheduleSpec

with deferred_imports():
    from gluoncv.utils import LRScheduler, LRSequential

ENDLESS = 2 ** 62
DECAY = 0.1


@dataclass(frozen=True)
class Clock:
    """The progress of a run: steps made, images consumed, and the images of a step from here on.

    A run that resumes with another total batch keeps counting steps; images are comparable across both parts.
    """

    total_batch: int
    step: int = 0
    position: int = 0

    def step_at(self, images: int) -> int:
        """The number of whole steps after which so many images were consumed, rounded down."""
        return self.step + (images - self.position) // self.total_batch

    def stretch(self, steps: int) -> int:
        """`steps` of a total batch of 512, in steps of the run; at least 1 where steps is not 0."""
        return max(1, self.step_at(steps * SCHEDULE_BATCH)) if steps else 0


@dataclass(frozen=True)
class Schedule:
    """A resolved schedule, in steps of the run.

    base_lr: the learning rate after warm-up; milestones: steps at which it drops to a tenth (mode step); warmup: steps
    of linear warm-up; end: the number of steps of the whole training, and epochs what it has then seen; images: in an
    epoch; mode: step, cosine or poly.
    """

    base_lr: float
    milestones: tuple[int, ...]
    warmup: int
    end: int
    epochs: float
    images: int
    mode: str = "step"

    def scheduler(self) -> LRSequential:
        """gluoncv's scheduler: calling it with a step (from 0) gives its learning rate."""
        parts, left = [], self.end - self.warmup
        if self.warmup == 1:  # gluoncv's own warm-up of one step divides by 0
            parts.append(LRScheduler("constant", base_lr=self.base_lr, niters=1))
        elif self.warmup:
            parts.append(LRScheduler("linear", base_lr=self.base_lr / self.warmup, target_lr=self.base_lr,
                                     niters=self.warmup))
        # a single remaining step keeps the learning rate: there is no interval to decay over
        if self.mode != "step" and left > 1:
            parts.append(LRScheduler(self.mode, base_lr=self.base_lr, target_lr=0, niters=left))
        else:
            milestones = [step - self.warmup for step in self.milestones]
            parts.append(LRScheduler("step", base_lr=self.base_lr, target_lr=0, niters=ENDLESS, step_iter=milestones,
                                     step_factor=DECAY))
        return LRSequential(parts)

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.lr_summary()}; end at step {self.end} ({self.epochs:.1f} epochs)"

    def warnings(self, lr_steps_given: bool, margin_warmup: int = 0, step: int = 0) -> list[str]:
        """A log line for all that the training, from `step` on, ends too early for: itself, a warm-up of the learning
        rate or the margin that does not end, drops that were given."""
        if step >= self.end:
            return [f"note: no step is left to train, at step {step} of {self.end}; a later end (`max_steps`, "
                    "`end_epoch`) continues the training"]
        found = []
        if margin_warmup >= self.end:
            found.append(f"warning: `margin_warmup` {margin_warmup} does not end before the training, at step "
                         f"{self.end}: margin and scale never reach the values of the flags")
        if self.warmup >= self.end:
            return [*found, f"warning: `warmup` {self.warmup} does not end before the training, at step {self.end}: "
                    f"the learning rate never reaches `lr` {self.base_lr:g}"]
        late = [str(milestone) for milestone in self.milestones if milestone >= self.end]
        return [*found, f"warning: without effect for a training that ends at step {self.end}: `lr_steps` "
                f"{','.join(late)}"] if late and lr_steps_given else found

    def continues(self, before: str, step: int) -> bool:
        """Whether the learning rates from `step` on are those of the summary `before`."""
        return _ahead(before, step) == _ahead(self.lr_summary(), step)

    def changes(self, before: str, step: int) -> list[str]:
        """A log line on resume at `step` where the state's learning rates, `before`, differ from these from there."""
        if not before or self.continues(before, step):
            return []
        return [f"`resume`: {before} before, {self.lr_summary()} from there"]

    def lr_summary(self) -> str:
        """The learning rates alone, without the end of the training."""
        start = f"warm-up over {self.warmup} steps to {self.base_lr:g}" if self.warmup else f"{self.base_lr:g}"
        if self.mode != "step":
            return f"learning rate {start}, {self.mode} to 0 at step {self.end}"
        return f"learning rate {start}" + "".join(f", {self.base_lr * DECAY ** (i + 1):.3g} from step {milestone}"
                                                  for i, milestone in enumerate(self.milestones))


def resolve_schedule(spec: ScheduleSpec, images: int, clock: Clock, check: bool = True) -> Schedule:
    """The schedule of a run over `images` images.

    The earliest of max_steps, total_steps and end_epoch ends the training; a preset's length counts only where
    a person gives none of them. UserError where the warm-up does not end before the learning rate drops, unless it is
    over by the clock, or without `check`: for a clock that is not the run's yet.
    """
    warmup = _steps(spec, "warmup", (spec.warmup,), clock)[0]
    milestones = _steps(spec, "lr_steps", spec.lr_steps, clock) if spec.lr_mode == "step" else []
    check = check and clock.step < warmup
    if check and milestones and warmup >= milestones[0]:
        raise UserError(f"`warmup` {warmup}: must end before the learning rate drops for the first time, at step "
                        f"{milestones[0]} (`lr_steps`)")
    ends = [max(1, clock.step_at(spec.end_epoch * images))]
    if spec.max_steps:
        ends += _steps(spec, "max_steps", (spec.max_steps,), clock)
    if spec.total_steps and not ("total_steps" in spec.stretched and spec.end_given):
        ends += _steps(spec, "total_steps", (spec.total_steps,), clock)
    if check and spec.lr_mode != "step" and warmup >= min(ends):
        raise UserError(f"`warmup` {warmup}: must end before the training does, at step {min(ends)}")
    epochs = (clock.position + (min(ends) - clock.step) * clock.total_batch) / images
    return Schedule(spec.lr, tuple(milestones), warmup, min(ends), epochs, images, spec.lr_mode)


def _ahead(summary: str, step: int) -> str:
    """An `lr_summary`, without a warm-up that is over at `step` and without the steps of drops before it; a decay to
    the end begins behind the warm-up, and keeps it."""
    def unless_past(found: re.Match[str]) -> str:
        return "" if int(found[1]) <= step else found[0]
    if " to 0 at step " in summary:
        return summary
    summary = re.sub("warm-up over ([0-9]{1,18}) steps to ", unless_past, summary)
    return re.sub(" from step ([0-9]{1,18})", unless_past, summary)


def _steps(spec: ScheduleSpec, name: str, values: tuple[int, ...], clock: Clock) -> list[int]:
    return [clock.stretch(value) if name in spec.stretched else value for value in values]

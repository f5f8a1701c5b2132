"""The plans of the study: systems, seeds and schedule, as data.

All systems of one network share data, batch, schedule and loss, so that they differ only in what the paper compares:
the global operator, FasterFC, and the parts of GNAP.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Mapping


@dataclass(frozen=True)
class System:
    """flags: of train_softmax.py, after the plan's. seeds: how many runs, with the seeds 1, 2, ... dream: whether DREAM
    is trained on its embeddings as well. reference: the system of the same network that it is compared with."""

    name: str
    flags: tuple[str, ...]
    seeds: int
    dream: bool = False
    reference: str = "gnap-fasterfc"


@dataclass(frozen=True)
class Plan:
    """systems: in the order of their rows. flags: of every run. first: flags of a training before it, from whose
    checkpoint it continues; none where it starts from scratch. data: `real` (../shared/data) or `drawn`. sets: the plan
    whose sets it uses; its own where empty.

    people, images: of a synthetic training set. image_size: of a synthetic set, in pixels. shifts, rotations: of the
    misalignment curve, in pixels and degrees. dream_steps: of DREAM's training. fpr: FPRs of the TPRs, the first also
    on resamples and the curve.
    """

    name: str
    systems: tuple[System, ...]
    flags: tuple[str, ...]
    first: tuple[str, ...] = ()
    data: str = "real"
    sets: str = ""
    people: int = 0
    images: int = 0
    tested: int = 0
    image_size: int = 112
    shifts: tuple[float, ...] = (4, 8)
    rotations: tuple[float, ...] = (15,)
    fpr: tuple[float, ...] = (1e-2, 1e-3, 1e-4)
    resamples: int = 1000
    dream_steps: int = 10000

    def runs(self) -> list[Run]:
        """Every run, all systems' first seeds before the second ones, so that an interrupted study is balanced."""
        most = max(system.seeds for system in self.systems)
        return [Run(self, system, seed) for seed in range(1, most + 1) for system in self.systems
                if seed <= system.seeds]


@dataclass(frozen=True)
class Run:
    """One training of the plan."""

    plan: Plan
    system: System
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder and its file of scores."""
        return f"{self.plan.name}-{self.system.name}-{self.seed}"

    def flags(self) -> list[str]:
        """Flags of train_softmax.py: the system's override the plan's."""
        return [*self.plan.flags, *self.system.flags, "--seed", str(self.seed)]

    def first_flags(self) -> list[str]:
        """Flags of the training before it, which override the system's; [] where there is none."""
        return [*self.system.flags, *self.plan.first, "--seed", str(self.seed)] if self.plan.first else []


def _mobilefacenet(name: str, head: str, seeds: int, *more: str, dream: bool = False) -> System:
    return System(name, ("--preset", "mobilefacenet++", "--version-output", head, *more), seeds, dream)


# Chosen by pilots on a part of the identities: docs/convergence.md.
BATCH = ("--per-batch-size", "64", "--lr-mode", "cosine")
SOFTMAX = (*BATCH, "--loss-type", "0", "--fc7-lr-mult", "1", "--lr", "0.05", "--warmup", "40", "--max-steps", "500")
ARCFACE = (*BATCH, "--margin-s", "16", "--margin-m", "0.2", "--lr", "0.01", "--warmup", "20", "--max-steps", "1000")
MAIN = (_mobilefacenet("gdc-fasterfc", "GDC", 3), _mobilefacenet("fc-fasterfc", "FC", 3),
        _mobilefacenet("gap-fasterfc", "GAP", 3, dream=True), _mobilefacenet("gnap-fasterfc", "GNAP", 3))
PLAIN = (System("gdc", ("--preset", "mobilefacenet"), 2), System("gnap", ("--preset", "mobilefacenet+"), 2))
PARTS = tuple(_mobilefacenet(f"gnap-{variant}", "GNAP", 2, "--gnap-variant", variant)
              for variant in ("no-first-bn", "no-reweighting", "learned-gamma", "batch-mean"))
# At half the width and two thirds of the length; the embedding has as many dimensions as the last map has channels, so
# that GAP and GNAP have no FC.
LRESNET = tuple(System(preset, ("--preset", preset, "--net-multiplier", "0.5", "--emb-size", "256", "--max-steps",
                                "500"), 2, reference="lresnet18e-gnap")
                for preset in ("lresnet18e", "lresnet18e-fasterfc", "lresnet18e-gap", "lresnet18e-gnap"))

# At half the width and height, a quarter of the time; GDC wants the map of 112 pixels.
DRAWN = Plan("drawn", MAIN[1:], ARCFACE, SOFTMAX, data="drawn", people=2000, images=12, tested=200, image_size=56,
             shifts=(2, 4))

PLANS: Mapping[str, Plan] = MappingProxyType({
    "real": Plan("real", (*MAIN, *PLAIN, *PARTS, *LRESNET), ARCFACE, SOFTMAX),
    "drawn": DRAWN,
    "drawn-long": replace(DRAWN, name="drawn-long", sets="drawn", flags=(*ARCFACE, "--max-steps", "2000"),
                          systems=tuple(replace(system, seeds=1) for system in DRAWN.systems)),
    "fast": Plan("fast", tuple(replace(system, flags=(*system.flags, "--emb-size", "32"), seeds=1)
                               for system in MAIN[1:]),
                 ("--per-batch-size", "8", "--margin-s", "16", "--margin-m", "0.1", "--lr", "0.02", "--max-steps", "12",
                  "--frequent", "4"), ("--per-batch-size", "8", "--loss-type", "0", "--lr", "0.02", "--max-steps", "4"),
                 data="drawn", people=6, images=8, tested=20, image_size=32, shifts=(2,), rotations=(),
                 fpr=(1e-1, 1e-2), resamples=50, dream_steps=20),
})

"""Trains for thousands of steps and watches the process's memory: it must not grow with time."""
from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from common.cli import Parser, at_least, run
from common.errors import RunError, UserError
from stress.endurance import small_run

DESCRIPTION = """Train for --steps steps, verifying and saving as often as in days of a long run, and watch the memory.

  python -m stress.endurance.soak                  some 10 minutes
  python -m stress.endurance.soak --steps 20000    longer

The memory is read at every row of metrics.jsonl. The samples after the warm-up, the first --warm-up steps, are split
into parts, and the rise from part to part is averaged without the greatest change: a single step of the curve, as of an
allocator, does not count as growth, but growth in many steps does. Exit 0 where it is below --bound, 1 otherwise."""

FLAGS = ("--verbose", "50", "--save-every", "1", "--frequent", "10", "--ckpt", "3")
PARTS = 12
MIB = 2.0 ** 20


def growth(samples: np.ndarray, warm_up: int) -> tuple[float, float]:
    """Bytes a step after `warm_up` steps of samples (n, 2) of steps and resident bytes, and its standard error.

    The medians of PARTS parts are joined by PARTS - 1 rises; the one of the greatest size is left out, and the others
    are averaged. RunError where a part would have fewer than 3 samples.
    """
    late = samples[samples[:, 0] > warm_up]
    if len(late) < 3 * PARTS:
        raise RunError(f"only {len(late)} samples after {warm_up} steps; more --steps are needed")
    middles = np.array([np.median(part, axis=0) for part in np.array_split(late, PARTS)])
    steps, rises = np.diff(middles, axis=0).T
    kept = np.arange(len(rises)) != np.abs(rises).argmax()
    slopes = rises[kept] / steps[kept]
    return float(slopes.mean()), float(slopes.std(ddof=1) / np.sqrt(len(slopes)))


def build_parser() -> Parser:
    """The parser of this command."""
    parser = Parser(prog="python -m stress.endurance.soak", description=DESCRIPTION)
    parser.add_argument("--steps", type=at_least(1), default=6000, help="steps to train")
    parser.add_argument("--warm-up", type=at_least(1), default=1500, help="steps that do not count")
    parser.add_argument("--bound", type=float, default=0.2, help="MiB in 1000 steps that are too many")
    parser.add_argument("--devices", default="cpu:0", help="as for train_softmax.py")
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="behind --: more flags for train_softmax.py")
    return parser


def soak(options: argparse.Namespace, folder: Path) -> tuple[np.ndarray, int]:
    """Train; (n, 2) steps and resident bytes, and how many verifications there were. RunError where training fails."""
    target, memory = folder / "run", folder / "memory.txt"
    process = small_run.start(small_run.make_data(folder / "data"), target, [
        *FLAGS, "--max-steps", str(options.steps), "--devices", options.devices, *options.flags],
        ["--memory", str(memory)])
    try:
        process.wait()
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        told = small_run.stderr_of(target).read_text(encoding="utf-8", errors="replace").strip()
        raise RunError(f"the training ended with exit status {process.returncode}: {told[-600:]}")
    samples = np.loadtxt(memory, ndmin=2)
    return samples, (target / "metrics.jsonl").read_text(encoding="utf-8").count('"kind": "verification"')


def main(argv: list[str]) -> int:
    """Train, and print the memory by parts and its growth; the exit status."""
    options = build_parser().parse_args(argv)
    if options.warm_up >= options.steps:
        raise UserError(f"--warm-up {options.warm_up}: must be below --steps {options.steps}")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        samples, verifications = soak(options, Path(folder))
    for part in np.array_split(samples, 12):
        print(f"steps {part[0, 0]:6.0f} to {part[-1, 0]:6.0f}: {part[:, 1].mean() / MIB:7.1f} MiB resident")
    rise, error = (value * 1000 / MIB for value in growth(samples, options.warm_up))
    good = rise < options.bound
    print(f"after step {options.warm_up} the memory rises by {rise:+.3f} +- {error:.3f} MiB in 1000 steps, over "
          f"{verifications} verifications: {'below' if good else 'not below'} the bound of {options.bound:g}")
    return 0 if good else 1


if __name__ == "__main__":
    run(main, "python -m stress.endurance.soak")

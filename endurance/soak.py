"""Trains for thousands of steps and watches the process's memory: it must not grow with time."""
from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from common.cli import Parser, at_least, run
from common.errors import RunError, UserError
from endurance import small_run

DESCRIPTION = """Train for --steps steps, verifying and saving as often as in days of a long run, and watch the memory.

  python -m endurance.soak                  some 5 minutes
  python -m endurance.soak --steps 20000    longer

A straight line is laid through the resident memory after the warm-up, the first --warm-up steps. Exit 0 where it rises
by less than --bound, 1 otherwise. Linux only."""

FLAGS = ("--verbose", "50", "--save-every", "1", "--frequent", "10", "--ckpt", "3")
PAUSE = 0.25
MIB = 2.0 ** 20


def watch(process: subprocess.Popen, run_folder: Path) -> np.ndarray:
    """(n, 2): steps made and resident bytes, four times a second until the process ends."""
    samples: list[tuple[int, int]] = []
    while process.poll() is None:
        step, memory = _last_step(run_folder / "metrics.jsonl"), _resident(process.pid)
        if step and memory:
            samples.append((step, memory))
        time.sleep(PAUSE)
    return np.array(samples, np.float64).reshape(-1, 2)


def slope(samples: np.ndarray, warm_up: int) -> tuple[float, float]:
    """Bytes a step by least squares over the samples after `warm_up` steps, and its standard error."""
    steps, memory = samples[samples[:, 0] > warm_up].T
    if len(np.unique(steps)) < 10:
        raise RunError(f"only {len(np.unique(steps))} samples after {warm_up} steps; more --steps are needed")
    centred = steps - steps.mean()
    rise = float(centred @ memory / (centred @ centred))
    rest = memory - memory.mean() - rise * centred
    return rise, float(np.sqrt(rest @ rest / (len(rest) - 2) / (centred @ centred)))


def _last_step(path: Path) -> int:
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, path.stat().st_size - 2000))
            return int(json.loads(stream.read().splitlines()[-1])["step"])
    except (OSError, ValueError, IndexError):
        return 0


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def build_parser() -> Parser:
    """The parser of this command."""
    parser = Parser(prog="python -m endurance.soak", description=DESCRIPTION)
    parser.add_argument("--steps", type=at_least(1), default=6000, help="steps to train")
    parser.add_argument("--warm-up", type=at_least(1), default=1500, help="steps before the line begins")
    parser.add_argument("--bound", type=float, default=0.2, help="MiB in 1000 steps that are too many")
    parser.add_argument("--devices", default="cpu:0", help="as for train_softmax.py")
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="behind --: more flags for train_softmax.py")
    return parser


def soak(options: argparse.Namespace, folder: Path) -> tuple[np.ndarray, int]:
    """Train; what `watch` saw, and how many verifications there were. RunError where training fails."""
    target = folder / "run"
    process = small_run.start(small_run.make_data(folder / "data"), target, [
        *FLAGS, "--max-steps", str(options.steps), "--devices", options.devices, *options.flags])
    try:
        samples = watch(process, target)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        told = small_run.stderr_of(target).read_text(encoding="utf-8", errors="replace").strip()
        raise RunError(f"the training ended with exit status {process.returncode}: {told[-600:]}")
    return samples, (target / "metrics.jsonl").read_text(encoding="utf-8").count('"kind": "verification"')


def main(argv: list[str]) -> int:
    """Train, watch, and print the line through the samples; the exit status."""
    options = build_parser().parse_args(argv)
    if options.warm_up >= options.steps:
        raise UserError(f"--warm-up {options.warm_up}: must be below --steps {options.steps}")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        samples, verifications = soak(options, Path(folder))
    for part in np.array_split(samples, 12):
        print(f"steps {part[0, 0]:6.0f} to {part[-1, 0]:6.0f}: {part[:, 1].mean() / MIB:7.1f} MiB resident")
    rise, error = (value * 1000 / MIB for value in slope(samples, options.warm_up))
    good = rise < options.bound
    print(f"after step {options.warm_up} the memory rises by {rise:+.3f} +- {error:.3f} MiB in 1000 steps, over "
          f"{verifications} verifications: {'below' if good else 'not below'} the bound of {options.bound:g}")
    return 0 if good else 1


if __name__ == "__main__":
    run(main, "python -m endurance.soak")

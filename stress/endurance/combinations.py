"""Kills runs with random combinations of flags, resumes them, and compares their ends with uninterrupted runs."""
from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from common.cli import Parser, at_least, run
from stress.endurance.torture import Torture

PROG = "python -m stress.endurance.combinations"
DESCRIPTION = f"""Draw combinations of train_softmax.py's flags; end a run of each once, resume it, and compare its end
with an uninterrupted run's: whatever flags meet, both must be equal bit for bit.

  {PROG}                        20 combinations; some 8 minutes
  {PROG} --runs 1 --first 13    the combination of number 13 again

Ways to end, the comparison and the exit status are those of stress.endurance.torture, at rows that the seed chooses."""

DEVICES = ("cpu:0", "cpu:0,cpu:1", "cpu:0,cpu:1,cpu:2")
# One of each line is drawn; the empty one is small_run's own.
ALTERNATIVES = tuple(tuple(alternative.split() for alternative in line) for line in (
    ("", "--net-multiplier 0.5", "--network r18 --net-multiplier 0.25",
     "--network r18 --net-multiplier 0.25 --version-se 1 --version-unit 2",
     "--network r18 --net-multiplier 0.25 --version-input 0 --version-unit 1"),
    ("", "--version-output FC", "--version-output GAP",
     *(f"--version-output GNAP --gnap-variant {variant}"
       for variant in ("paper", "no-first-bn", "no-reweighting", "learned-gamma", "batch-mean"))),
    ("", "--version-act relu"),
    ("", "--emb-size 1", "--emb-size 8"),
    ("", "--loss-type 0 --fc7-no-bias", "--loss-type 0", "--loss-type 2 --margin-m 0.1",
     "--loss-type 5 --margin-a 0.9 --margin-b 0.1 --margin-m 0.2", "--easy-margin 1"),
    ("", "--margin-s 16"),
    ("", "--margin-warmup 5"),
    ("", "--lr-mode cosine", "--lr-mode poly", "--lr-steps 5"),
    ("", "--warmup 3"),
    ("", "--clip-gradient 1"),
    ("", "--fc7-lr-mult 10", "--fc7-wd-mult 10"),
    ("", "--mom 0", "--wd 0"),
    ("", "--per-batch-size 1", "--per-batch-size 3"),
    ("", "--accumulate 2"),
    ("", "--fc7-parallel"),
    ("", "--partial-fc 0.5", "--partial-fc 0.9"),
    ("", "--mirror-memory"),
    ("", "--on-nan skip"),
    ("", "--kvstore local"),
    ("", "--color 0", "--cutoff 0", "--rand-mirror 0"),
    ("", "--verbose 0", "--verbose 4"),
    ("", "--ckpt 1", "--ckpt 3", "--ckpt 0"),
    ("", "--best-metric tpr", "--best-metric eer")))


def draw(seed: int, number: int) -> tuple[str, list[str]]:
    """Devices and flags of a combination; of the seed and the number alone."""
    chosen = random.Random(f"{seed} {number}")
    return chosen.choice(DEVICES), [flag for line in ALTERNATIVES for flag in chosen.choice(line)]


def main(argv: list[str]) -> int:
    """Try each combination and print a line for what happened to it."""
    parser = Parser(prog=PROG, description=DESCRIPTION)
    parser.add_argument("--runs", type=at_least(1), default=20, metavar="N", help="how many combinations")
    parser.add_argument("--first", type=at_least(0), default=0, metavar="NUMBER", help="the number of the first")
    parser.add_argument("--steps", type=at_least(4), default=9, metavar="N", help="steps of each run")
    parser.add_argument("--seed", type=int, default=0, help="of the combinations, the ways to end and their moments")
    options = parser.parse_args(argv)
    began = time.monotonic()
    for number in range(options.first, options.first + options.runs):
        devices, flags = draw(options.seed, number)
        print(f"[{time.monotonic() - began:4.0f} s] {number}: --devices {devices} {' '.join(flags)}", flush=True)
        with tempfile.TemporaryDirectory(prefix="combinations-") as folder:
            trial = Torture(Path(folder), devices, _say, seed=f"{options.seed} {number}", steps=options.steps,
                            at_rows=True, flags=flags)
            trial.leave_alone()
            trial.kill(1, "end of")
    print(f"{options.runs} combinations: the resumed runs are the uninterrupted ones, bit for bit")
    return 0


def _say(line: str) -> None:
    print(f"         {line}", flush=True)


if __name__ == "__main__":
    run(main, PROG)

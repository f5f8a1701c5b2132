"""Kills a real run at random moments, many times, resumes it, and compares its end with an uninterrupted run."""
from __future__ import annotations

import collections
import functools
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, Sequence

from common.cli import Parser, at_least, run
from common.errors import RunError, UserError
from stress.endurance import fault_injection, small_run

DESCRIPTION = """Kill a real run fifty times, resume it each time, and compare it with an uninterrupted run.

  python -m stress.endurance.torture                       50 kills: half on one device, half on two; some 9 minutes
  python -m stress.endurance.torture --kills 4 --devices cpu:0
  python -m stress.endurance.torture -- --fc7-parallel     flags behind -- go to train_softmax.py

Ways to end: kill -9 at any moment, while a state and while a checkpoint is written; SIGTERM; Ctrl-C once and twice; a
full disk. At the end of each run checkpoints, states, rows and events must be equal bit for bit, except times.
Exit 0 where they are, 1 where something differs or a run ended with a wrong status."""

SIGNALLED = 130
ROW = 3  # steps to a row, by small_run.FLAGS: a run held that long before its end is held
FULL_DISK = "a full disk"
# Weights of the ways to end, and the correct exit statuses of each. Python itself is killed by a signal (a negative
# status) before its first line runs.
WAYS = {
    "kill -9": (4, {-signal.SIGKILL}),
    "kill -9 while a state is written": (4, {-signal.SIGKILL}),
    "kill -9 while a checkpoint is written": (2, {-signal.SIGKILL}),
    "SIGTERM": (3, {SIGNALLED, -signal.SIGTERM}),
    "Ctrl-C": (2, {SIGNALLED, -signal.SIGINT}),
    "Ctrl-C twice": (2, {SIGNALLED, -signal.SIGINT}),
    FULL_DISK: (3, {1}),
}


class Torture:
    """The runs on one choice of devices, and what happened to them."""

    def __init__(self, folder: Path, devices: str, say: Callable[[str], None], *, seed: object, steps: int,
                 at_rows: bool, flags: Sequence[str]) -> None:
        self.folder, self.devices, self.say = folder, devices, say
        self.random = random.Random(f"{seed} {devices}")
        self.steps, self.at_rows = steps, at_rows
        self.data = small_run.make_data(folder / "data")
        self.flags = ["--devices", devices, "--max-steps", str(steps), *flags]
        self.whole = folder / "whole"
        self.ends: collections.Counter = collections.Counter()
        self.compared = 0

    def leave_alone(self) -> None:
        """The uninterrupted run."""
        began = time.monotonic()
        self._expect(small_run.start(self.data, self.whole, self.flags), self.whole, {0}, "the uninterrupted run")
        self.say(f"{self.devices}: the uninterrupted run took {time.monotonic() - began:.0f} s")

    def kill(self, times: int, title: str) -> None:
        """End runs `times` times in all, whole runs one after the other, and compare each at its end."""
        done = 0
        while done < times:
            with fault_injection.disk(self.folder / "disk") as disk:
                done += self._one_run(disk, times - done, done, f"{title} {self.devices}")

    def _one_run(self, disk: fault_injection.Disk, most: int, before: int, title: str) -> int:
        """One run to its end; how often it was killed. After `most` times it is not interrupted."""
        target, ended = disk.folder / "run", 0
        while True:
            hold = ["--hold", str(self.random.randint(1, self.steps - ROW))] if self.at_rows and ended < most else []
            process = small_run.start(self.data, target, [*self.flags, "--resume", "--save-every", "0.4"], hold)
            try:
                if ended == most:
                    process.wait()
                    break
                way = self.random.choices(list(WAYS), [weight for weight, _ in WAYS.values()])[0]
                self._end(process, target, disk, way)
            finally:
                process.kill()
                process.wait()
            if process.returncode == 0:  # it finished before
                break
            self._expect(process, target, WAYS[way][1], way)
            ended += 1
            self.ends[way] += 1
            self.say(f"{before + ended:3d} {title}: {way}; {self._where(target)}")
        self._expect(process, target, {0}, "a resumed run")
        self._compare(target)
        shutil.rmtree(target)
        return ended

    def _end(self, process: subprocess.Popen, target: Path, disk: fault_injection.Disk, way: str) -> None:
        if self.at_rows:
            fault_injection.until_held(process)
        else:
            self._await_moment(process, target, way)
        if way == FULL_DISK:
            disk.fill(process)
            fault_injection.release(process)
            process.wait()
            disk.free()
        elif way.startswith("kill -9"):
            fault_injection.end_by(process, [signal.SIGKILL])
        else:
            number = signal.SIGTERM if way == "SIGTERM" else signal.SIGINT
            fault_injection.end_by(process, [number] * (2 if "twice" in way else 1))

    def _await_moment(self, process: subprocess.Popen, target: Path, way: str) -> None:
        rows = target / "metrics.jsonl"
        if self.random.random() < 0.8:  # else at any moment, including the start
            size = _size(rows)
            fault_injection.until(process, lambda: _size(rows) > size)
        pause = time.monotonic() + self.random.uniform(0, 3)
        fault_injection.until(process, lambda: time.monotonic() > pause)
        moments = {"state": fault_injection.a_state_is_written, "checkpoint": fault_injection.a_checkpoint_is_written}
        for word, come in moments.items():
            if word in way:
                fault_injection.until(process, functools.partial(come, target))

    def _expect(self, process: subprocess.Popen, target: Path, right: set[int], way: str) -> None:
        status = process.wait()
        told = small_run.stderr_of(target).read_text(encoding="utf-8", errors="replace")
        if status not in right or ("Traceback" in told and status >= 0):
            raise RunError(f"{self.devices}: {way}: exit status {status}, not {' or '.join(map(str, sorted(right)))}: "
                           f"{told.strip()[-600:]}")

    def _where(self, target: Path) -> str:
        """The run's last output, shortened."""
        lines = small_run.stderr_of(target).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        resumed = next((line for line in lines if line.startswith("resumed at")), "began")
        return f"{resumed}, {lines[-1][-90:] if lines else 'no output'}"

    def _compare(self, target: Path) -> None:
        from stress.endurance.compare import differences
        found = differences(self.whole, target)
        if found:
            raise RunError(f"{self.devices}: the resumed run differs from the uninterrupted one: {'; '.join(found)}")
        self.compared += 1
        self.say(f"    {self.devices}: finished, and equal bit for bit")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def build_parser() -> Parser:
    """The parser of this command."""
    parser = Parser(prog="python -m stress.endurance.torture", description=DESCRIPTION)
    parser.add_argument("--kills", type=at_least(1), default=50, help="how often to end runs, over all --devices")
    parser.add_argument("--steps", type=at_least(1), default=150, help="steps of each run")
    parser.add_argument("--at-rows", action="store_true", help="end runs at rows of metrics.jsonl that the seed "
                        "chooses, not at moments of the clock: the same trial each time, however busy the machine is")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the ways")
    parser.add_argument("--devices", nargs="+", default=["cpu:0", "cpu:0,cpu:1"], help="each is tried on its own "
                        "(default: cpu:0 and cpu:0,cpu:1)")
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="behind --: more flags for train_softmax.py")
    return parser


def main(argv: list[str]) -> int:
    """Run the trials and print a line for each end and a verdict."""
    options = build_parser().parse_args(argv)
    ends: collections.Counter[str] = collections.Counter()
    began, compared = time.monotonic(), 0

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {line}", flush=True)

    if options.at_rows and options.steps <= ROW:
        raise UserError(f"--steps {options.steps}: with --at-rows a run of more than {ROW} steps is needed")
    shares = [len(range(number, options.kills, len(options.devices))) for number in range(len(options.devices))]
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        for devices, kills in zip(options.devices, shares):
            trial = Torture(Path(folder) / devices.replace(":", "").replace(",", "-"), devices, say, seed=options.seed,
                            steps=options.steps, at_rows=options.at_rows, flags=options.flags)
            trial.leave_alone()
            trial.kill(kills, f"of {kills}")
            ends.update(trial.ends)
            compared += trial.compared
    print(f"{sum(ends.values())} ends ({', '.join(f'{count} {way}' for way, count in sorted(ends.items()))}); "
          f"{compared} runs resumed to their end: parameters, momentum, running statistics, checkpoints, rows and "
          "events are those of the uninterrupted run, bit for bit")
    return 0


if __name__ == "__main__":
    run(main, "python -m stress.endurance.torture")

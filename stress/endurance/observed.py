"""`train_softmax.py` in this process, with a hook at each train row of metrics.jsonl.

  python -m stress.endurance.observed --memory FILE -- FLAG ...    a line a row to FILE: step, resident bytes
  python -m stress.endurance.observed --hold STEP -- FLAG ...      stop once (SIGSTOP), at the first row from STEP on
"""
from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any, Iterator
from unittest import mock

import train_softmax
from common.cli import Parser, at_least, run
from common.environment import set_threads


def resident() -> int:
    """The resident memory of this process in bytes. Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@contextlib.contextmanager
def observed(memory: Path | None, hold: int) -> Iterator[None]:
    """Inside the block, call the hook of the flags after every row that a RunLog of this process writes."""
    from training.reporting.runlog import RunLog
    write = RunLog.train
    held: list[int] = []

    def train(self: RunLog, row: dict[str, Any], *rest: Any) -> None:
        write(self, row, *rest)
        if memory:
            with open(memory, "a", encoding="ascii") as stream:
                stream.write(f"{row['step']} {resident()}\n")
        if hold and row["step"] >= hold and not held:
            held.append(row["step"])
            os.kill(os.getpid(), signal.SIGSTOP)

    with mock.patch.object(RunLog, "train", train):
        yield


def main(argv: list[str]) -> int:
    """Train under observation; the exit status of the training."""
    parser = Parser(prog="python -m stress.endurance.observed", description=__doc__)
    parser.add_argument("--memory", type=Path, help="file for the lines")
    parser.add_argument("--hold", type=at_least(0), default=0, metavar="STEP", help="where to stop; 0: nowhere")
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="behind --: flags for train_softmax.py")
    options = parser.parse_args(argv)
    set_threads()  # before `observed` loads MXNet
    with observed(options.memory, options.hold):
        return train_softmax.main(options.flags)


if __name__ == "__main__":
    run(main, "train_softmax.py")

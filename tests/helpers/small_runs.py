"""Whole runs of train_softmax.py on pictures so small that a step takes a few hundredths of a second."""
from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

from repository import REPO

from training.arguments import parse_config
from training.run import run

SIZE = 32
SMALL = ["--preset", "mobilefacenet++", "--per-batch-size", "8", "--lr", "0.02", "--frequent", "2", "--workers", "1",
         "--devices", "cpu:0"]


def flags(data, folder, *more):
    return [*SMALL, "--data-dir", str(data), "--prefix", str(folder / "model"), *map(str, more)]


def train(data, folder, *more):
    """The exit status of a run in this process."""
    return run(parse_config(flags(data, folder, *more)))


@contextlib.contextmanager
def start(data, folder, *more, program="tests/helpers/short_run.py"):
    """A run in a process of its own, which does not outlive the block."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    process = subprocess.Popen([sys.executable, str(REPO / program), *flags(data, folder, *more)],
                               stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def rows(folder, kind):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]

"""Whole runs over two workers on this machine, small enough for tests, and what they leave behind."""
from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import mxnet as mx
from repository import REPO
from waiting import HANG, wait_until

SMALL = ["--preset", "mobilefacenet++", "--emb-size", "32", "--per-batch-size", "4", "--lr", "0.02", "--frequent", "2",
         "--workers", "1", "--devices", "cpu:0", "--ckpt", "2"]
LAUNCH = [sys.executable, "-m", "training.launch", "-n", "2", "--"]


def flags(data, folder, *more):
    return [*SMALL, "--data-dir", str(data), "--prefix", str(folder / "model"), *map(str, more)]


class Launched:
    """A run over two workers; every process of it carries a mark in its environment."""

    def __init__(self, command, start=LAUNCH, program="train_softmax.py", **variables):
        self.mark = f"DIST_TEST={uuid.uuid4()}".encode()
        name, _, value = self.mark.decode().partition("=")
        environment = {**os.environ, name: value, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO), **variables}
        self.process = subprocess.Popen([*start, sys.executable, program, *command], cwd=REPO, text=True,
                                        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self):
        stdout, stderr = self.process.communicate(timeout=HANG)
        return self.process.returncode, stdout + stderr

    def all_gone(self):
        return wait_until(lambda: not self.processes())

    def processes(self):
        """Command line and environment of every process with the mark that still runs."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (folder / "environ").read_bytes().split(b"\0")
                if self.mark in environment:
                    found[int(folder.name)] = ((folder / "cmdline").read_bytes(), environment)
        return found


def rows(folder, kind):
    return [row for row in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if row["kind"] == kind]


def state(folder, step):
    return {f"{part}/{name}": value.asnumpy() for part in ("net", "head", "momentum")
            for name, value in mx.nd.load(str(folder / "state" / f"{step:09d}" / f"{part}.params")).items()}

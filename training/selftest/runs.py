"""A small run that is stopped and resumed, with a verification at its end, against one that is not stopped."""
from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Iterator, Sequence

import mxnet as mx
import numpy as np

from common.cli import INTERRUPTED
from common.devices import device_name
from common.run_files import METRICS
from training.arguments import parse_config
from training.run import run
from training.saving.names import STATE
from training.saving.state import generations
from training.selftest.pictures import make_set
from training.selftest.reference import furthest
from training.selftest.report import Row, guarded

SIDE, IDENTITIES, IMAGES = 32, 8, 6
STEPS, STOPPED_AT = 6, 3
TOLERANCE = 0.05
FILES = ("net", "head", "momentum")


def rows(devices: Sequence[mx.Context], quick: bool) -> Iterator[Row]:
    """Stop and resume on all devices; bitwise equality is required on CPUs only."""
    named = ",".join(map(device_name, devices))

    def check() -> tuple[bool, str]:
        with tempfile.TemporaryDirectory(prefix="selftest-") as folder:
            return stop_and_resume(Path(folder), named, devices[0].device_type == "cpu")
    yield guarded(f"stop and resume, with a verification, {named}", check)


def stop_and_resume(folder: Path, devices: str, exact: bool) -> tuple[bool, str]:
    """Whether the resumed run ends as the uninterrupted one, and the difference."""
    data = make_set(folder / "data", IDENTITIES, IMAGES, SIDE)
    _train(data, folder / "whole", devices, STEPS)
    _train(data, folder / "parts", devices, STOPPED_AT)
    _train(data, folder / "parts", devices, STEPS, "--resume")
    verified = [json.loads(line) for line in (folder / "parts" / METRICS).read_text("utf-8").splitlines()]
    if not any(row["kind"] == "verification" and row["step"] == STEPS for row in verified):
        return False, "no verification at the end"
    worst = 0.0
    for name in FILES:
        whole, parts = (mx.nd.load(str(generations(folder / kind / STATE)[-1] / f"{name}.params"))
                        for kind in ("whole", "parts"))
        found, expected = ({key: value.asnumpy() for key, value in side.items()} for side in (parts, whole))
        if found.keys() != expected.keys():
            return False, f"{name} holds other arrays"
        same = all(np.array_equal(found[key], expected[key]) for key in found)
        worst = max(worst, 0.0 if same else max(furthest(found, expected)[0], 1e-12))
    if worst == 0:
        return True, "bit for bit"
    what = f"not bit for bit, off by {worst:.1e}"
    return (worst <= TOLERANCE and not exact), what if exact else f"{what}: GPUs may sum in another order each time"


def _train(data: Path, folder: Path, devices: str, steps: int, *more: str) -> None:
    status = run(parse_config([
        "--preset", "mobilefacenet++", "--data-dir", str(data), "--prefix", str(folder / "model"), "--devices", devices,
        "--per-batch-size", "4", "--lr", "0.01", "--margin-s", "16", "--margin-m", "0.1", "--workers", "1",
        "--target", "pairs", "--max-steps", str(steps), "--frequent", "2", *more]))
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status:
        raise RuntimeError(f"the run ended with status {status}")

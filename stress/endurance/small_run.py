"""A run of MobileFaceNet on images so small that a step takes some hundredths of a second, and its data."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Sequence

import cv2
import numpy as np

from recordio_tools.bins.binfile import write_bin
from recordio_tools.records import framing
from recordio_tools.records.writer import RecordWriter

REPO = Path(__file__).resolve().parent.parent.parent
SIZE = 32
IDENTITIES, IMAGES, PAIRS = 12, 10, 40
# Dropout, every augmentation, and rows, verifications and states at different steps.
FLAGS = ("--network", "y1", "--version-output", "E", "--emb-size", "64", "--per-batch-size", "4", "--lr", "0.02",
         "--color", "2", "--cutoff", "9", "--ckpt", "2", "--frequent", "3", "--verbose", "20", "--target", "pairs")


def make_data(folder: Path) -> Path:
    """train.rec with its property, one record of which does not decode, and pairs.bin."""
    random = np.random.RandomState(0)
    with RecordWriter(folder / "train.rec") as writer:
        key = 1
        for identity in range(IDENTITIES):
            for number in range(IMAGES):
                image = b"no picture" if (identity, number) == (1, 1) else _picture(identity, random)
                writer.write(key, framing.pack(float(identity), key, image))
                key += 1
    (folder / "property").write_text(f"{IDENTITIES},{SIZE},{SIZE}", encoding="utf-8")
    images, same = [], []
    for pair in range(PAIRS):
        images += [_picture(100 + pair, random), _picture(100 + pair + pair % 2, random)]
        same.append(pair % 2 == 0)
    write_bin(folder / "pairs.bin", images, same)
    return folder


def start(data: Path, run: Path, flags: Sequence[str], observed: Sequence[str] = ()) -> subprocess.Popen:
    """`train_softmax.py` with FLAGS and `flags` in a process of its own; its stderr goes to `run`.stderr.

    observed: flags of `stress.endurance.observed`, which then runs it.
    """
    program = ["-m", "stress.endurance.observed", *observed, "--"] if observed else [str(REPO / "train_softmax.py")]
    command = [sys.executable, *program, *FLAGS, "--data-dir", str(data), "--prefix", str(run / "model"), *flags]
    with open(stderr_of(run), "wb") as stream:
        return subprocess.Popen(command, stderr=stream, cwd=REPO, env={**os.environ, "OMP_NUM_THREADS": "1"})


def stderr_of(run: Path) -> Path:
    """The stderr file of a run's newest process; beside its folder, which may be a full disk."""
    return run.with_name(f"{run.name}.stderr")


def _picture(identity: int, random: np.random.RandomState) -> bytes:
    drawn = np.random.RandomState(identity)
    image = np.full((SIZE, SIZE, 3), drawn.randint(40, 200, 3), np.uint8)
    for _ in range(4):
        centre = tuple(int(value) for value in drawn.randint(4, SIZE - 4, 2) + random.randint(-1, 2, 2))
        cv2.circle(image, centre, int(drawn.randint(3, 8)), [int(value) for value in drawn.randint(0, 256, 3)], -1)
    noisy = np.clip(image + random.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", noisy)[1].tobytes()

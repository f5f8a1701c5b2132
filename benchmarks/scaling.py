"""The overhead of several devices and workers: the same training with the same global batch, in images/s.

    python -m benchmarks.scaling               # MobileFaceNet, 32 images a step; some 4 minutes
    python -m benchmarks.scaling --batch 64 --steps 24

The sides are whole runs of train_softmax.py that take turns: one device with one thread and with two; cpu:0,cpu:1 with
one thread each; two workers on this machine with one thread each, with a parameter server. On two cores twice the
images of one thread is the maximum, and the difference to it is the overhead of the mechanism, or of whatever else the
machine does. The first steps of a run do not count.
"""
from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import machine, network_name, run_benchmark, speed_ratio
from common import cli
from recordio_tools.records import framing
from recordio_tools.records.writer import RecordWriter

REPO = Path(__file__).resolve().parent.parent
SIDE, IDENTITIES, IMAGES = 112, 100, 10
EVERY = 4  # steps between two rows; those before the first row are the warm-up
ONE, THREADS, DEVICES, WORKERS = "one device, one thread", "one device, two threads", "cpu:0,cpu:1", "2 workers"
# Threads of each process, its launcher, its flags, and into how many parts a batch is divided.
SIDES = {ONE: ("1", [], ["--devices", "cpu:0"], 1),
         THREADS: ("2", [], ["--devices", "cpu:0"], 1),
         DEVICES: ("1", [], ["--devices", "cpu:0,cpu:1"], 2),
         WORKERS: ("1", ["-m", "training.launch", "-n", "2", "-s", "1", "--", sys.executable],
                   ["--devices", "cpu:0", "--kvstore", "dist_sync"], 2)}


def write_data(folder):
    """A packed set of coloured noise: the content does not matter for the time."""
    random = np.random.RandomState(0)
    with RecordWriter(folder / "train.rec") as writer:
        for number in range(IDENTITIES * IMAGES):
            blocks = cv2.resize(random.randint(0, 256, (14, 14, 3)).astype(np.uint8), (SIDE, SIDE))
            content = cv2.imencode(".jpg", blocks)[1].tobytes()
            writer.write(number + 1, framing.pack(float(number // IMAGES), number + 1, content))
    (folder / "property").write_text(f"{IDENTITIES},{SIDE},{SIDE}")


def seconds_per_image(name, data, run, arguments):
    """The time of one run of a side, between its first and its last row."""
    threads, start, flags, parts = SIDES[name]
    command = [sys.executable, *start, "train_softmax.py", "--network", arguments.network, "--version-output", "GNAP",
               "--emb-size", "128", "--data-dir", str(data), "--prefix", str(run / "model"), "--per-batch-size",
               str(arguments.batch // parts), "--max-steps", str(arguments.steps), "--frequent", str(EVERY), "--ckpt",
               "0", "--target", "none", "--verbose", "0", *flags]
    done = subprocess.run(command, cwd=REPO, env={**os.environ, "OMP_NUM_THREADS": threads}, text=True,
                          capture_output=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["kind"] == "train"]
    return (rows[-1]["time"] - rows[0]["time"]) / ((rows[-1]["step"] - rows[0]["step"]) * arguments.batch)


def main(argv: list[str]) -> None:
    parser = cli.Parser(prog="python -m benchmarks.scaling", description=__doc__)
    for flag, default, text in (("network", "y1", "y1, r18 and so on"), ("batch", 32, "images of a step, over all"),
                                ("steps", 16, "steps of a run"), ("repeats", 3, "runs of each side")):
        kind = network_name if flag == "network" else cli.at_least(1)
        parser.add_argument(f"--{flag}", type=kind, default=default, help=f"{text} ({default})")
    arguments = parser.parse_args(argv)
    if arguments.batch % 2 or arguments.steps < 2 * EVERY:
        parser.error(f"--batch is even, --steps are {2 * EVERY} or more")
    print(machine(), f"load {os.getloadavg()[0]:.1f}", sep=", ")
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").mkdir()
        write_data(Path(folder) / "data")
        for repeat in range(arguments.repeats):
            for number, name in enumerate(SIDES):
                run = Path(folder) / f"{repeat}-{number}"
                seconds[name].append(seconds_per_image(name, Path(folder) / "data", run, arguments))
    for name, spent in seconds.items():
        print(f"{name:23s} {1 / statistics.median(spent):6.1f} images/s, {speed_ratio(seconds, ONE, name):.2f} times "
              "as many as by one thread")


if __name__ == "__main__":
    run_benchmark(main)
